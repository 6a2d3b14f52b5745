"""The page that says how networks of photographs read a set of portraits."""

from collections.abc import Callable, Mapping
from math import inf, isnan
from typing import NamedTuple

from benchmarks.agreement.measure import Agreement
from benchmarks.agreement.sets import FRONTAL

HELD = 0  # the seed of the people at whom a test holds what is owed
ROWS = {  # what a field is called, and the digits after its point
    "pictures": ("pictures", 0),
    "frontal": ("of them frontal, with a face that was found", 0),
    "native": ("HOG detector: share found at this size", 3),
    "found": ("HOG detector: share found, enlarged to 256 px", 3),
    "cnn": ("CNN detector: share found, enlarged to 256 px", 3),
    "true_jaw": ("jaw, points 4 to 12, over the outer eye corners: truth", 3),
    "jaw": ("jaw, points 4 to 12, over the outer eye corners: as read", 3),
    "jaw_gap": ("jaw: how far the truth is off what is read, %", 2),
    "true_brows": ("brows, points 17 to 26, over the outer eye corners: truth", 3),
    "brows": ("brows, points 17 to 26, over the outer eye corners: as read", 3),
    "brows_gap": ("brows: how far the truth is off what is read, %", 2),
    "inner": ("landmark error, inner 51 points, %", 2),
    "contour": ("landmark error, 17 points of the jaw, %", 2),
    "brow": ("landmark error, 10 points of the brows, %", 2),
    "others": ("identity: mean distance of different people", 3),
    "passing": ("identity: share of different pairs under 0.6", 3),
    "same": ("identity: mean distance of one person's pictures", 3),
    "auc": ("identity: AUC of same or different", 3),
}
# The least and the most that the world's stills owe, and at which side, as the study that world 14 answers set them.
OWED: dict[str, tuple[int, float | None, float | None]] = {
    "native": (128, 0.93, None),
    "true_jaw": (256, 1.30, 1.45),
    "jaw_gap": (256, None, 6.0),
    "brows_gap": (256, None, 6.0),
    "true_brows": (256, 1.22, 1.36),
    "inner": (256, None, 4.0),
    "contour": (256, None, 12.0),
    "brow": (256, None, 5.0),
    "others": (256, 0.62, None),
    "passing": (256, None, 0.35),
    "auc": (256, 0.96, None),
}
# What the same networks read on photographs, as that study found it; this command does not measure it.
PHOTOGRAPHS = {
    "jaw": "1.35 to 1.40",
    "brows": "1.28 to 1.33",
    "inner": "3.2 between two networks",
    "contour": "9.4 between two networks",
    "brow": "5.0 between two networks",
    "others": "0.80",
    "passing": "0.04",
}

_TEXT = """# How networks of photographs read {what}

Written by `{command}`.

{tables}

Boxes are of dlib's HOG detector, landmarks of dlib's 68 points (not for commercial products), identity of dlib's ResNet
and its Euclidean distance, under 0.6 for one person as it was trained. Proportions and errors are means over {which};
errors are distances in % of the true distance of the outer eye corners. What is read has errors of its own.
{photographs}"""
_OWING = (
    f"People of seed {{seed}}. What is owed is held by a test for people of seed {HELD} alone, on whom the world was "
    "tuned.\n\n"
)
_OTHERS = """

Other people, on whom nothing was tuned and for whom nothing is held, beside them:

"""
_NOTE = "The column of photographs is what a study of such networks found; this command does not measure it.\n"


class Read(NamedTuple):
    """What was read of a set.

    Args:
        measured: By the side of the pictures.
        seed: Of the world's people; None if the pictures are not the world's: then nothing is owed.
    """

    measured: Mapping[int, Agreement]
    seed: int | None = None


def page(what: str, command: str, read: Read, others: Read | None = None) -> str:
    """The page.

    Args:
        what: The set, in words.
        command: That writes it.
        read: What was read of it.
        others: What was read of other people of the world, of sides that are among those of the set.
    """
    owing = read.seed is not None
    which = f"pictures whose head is turned by at most {FRONTAL:g} degrees" if owing else "all pictures"
    tables = _OWING.format(seed=read.seed) * owing + table(read)
    tables += _OTHERS + beside(read, others) if others else ""
    return _TEXT.format(what=what, command=command, tables=tables, which=which, photographs=_NOTE * owing)


def table(read: Read) -> str:
    """A row a measure, a column a side."""
    columns = {f"{side} px": (side, agreement) for side, agreement in read.measured.items()}
    owing: Words = {"on photographs": lambda name: PHOTOGRAPHS.get(name, ""), "owed": owed}
    return _grid(columns, {} if read.seed is None else owing)


def beside(read: Read, others: Read) -> str:
    """A row a measure; of each side of the others a column of either people."""
    columns = {
        f"seed {people.seed}, {side} px": (side, people.measured[side])
        for side in others.measured
        for people in (read, others)
    }
    return _grid(columns, {"owed": owed})


Words = Mapping[str, Callable[[str], str]]  # what the columns of words are called, and what they say of a measure


def _grid(columns: Mapping[str, tuple[int, Agreement]], words: Words) -> str:
    """Rows of which nothing is known are left out."""
    heads = ["", *columns, *words]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, (label, digits) in ROWS.items():
        values = [(side, float(getattr(agreement, name))) for side, agreement in columns.values()]
        if not all(isnan(value) for _, value in values):
            missed = ["" if not words or meets(name, *value) else " (not met)" for value in values]
            cells = [f"{value:.{digits}f}{told}" for (_, value), told in zip(values, missed, strict=True)]
            lines.append(f"| {' | '.join([label, *cells, *(say(name) for say in words.values())])} |")
    return "\n".join(lines)


def owed(name: str) -> str:
    """What the world owes of a measure, in words; empty if nothing."""
    if name not in OWED:
        return ""
    side, least, most = OWED[name]
    bounds = f"≥ {least:g}" if most is None else f"≤ {most:g}" if least is None else f"{least:g} to {most:g}"
    return f"{bounds} at {side} px"


def meets(name: str, side: int, value: float) -> bool:
    """Whether a measure at that side is what the world owes; where nothing is owed, it is."""
    where, least, most = OWED.get(name, (None, None, None))
    return where != side or (-inf if least is None else least) <= value <= (inf if most is None else most)


def unmet(measured: Mapping[int, Agreement]) -> list[str]:
    """The measures that are not what the world owes, each with its value; of sides that were not measured, nothing."""
    values = [
        (name, side, float(getattr(measured[side], name))) for name, (side, *_) in OWED.items() if side in measured
    ]
    return [f"{name} {value:.3f}, owed {owed(name)}" for name, side, value in values if not meets(name, side, value)]
