"""The page that says how networks of photographs read a set of portraits."""

from collections.abc import Mapping
from math import inf, isnan

from benchmarks.agreement.measure import Agreement
from benchmarks.agreement.sets import FRONTAL

ROWS = {  # what a field is called, and the digits after its point
    "pictures": ("pictures", 0),
    "frontal": ("of them frontal, with a face that was found", 0),
    "native": ("HOG detector: share found at this size", 3),
    "found": ("HOG detector: share found, enlarged to 256 px", 3),
    "cnn": ("CNN detector: share found, enlarged to 256 px", 3),
    "true_jaw": ("jaw, points 4 to 12, over the outer eye corners: truth", 2),
    "jaw": ("jaw, points 4 to 12, over the outer eye corners: as read", 2),
    "jaw_gap": ("jaw: how far the truth is off what is read, %", 0),
    "true_brows": ("brows, points 17 to 26, over the outer eye corners: truth", 2),
    "brows": ("brows, points 17 to 26, over the outer eye corners: as read", 2),
    "brows_gap": ("brows: how far the truth is off what is read, %", 0),
    "inner": ("landmark error, inner 51 points, %", 1),
    "contour": ("landmark error, 17 points of the jaw, %", 1),
    "brow": ("landmark error, 10 points of the brows, %", 1),
    "others": ("identity: mean distance of different people", 2),
    "passing": ("identity: share of different pairs under 0.6", 3),
    "same": ("identity: mean distance of one person's pictures", 2),
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

{table}

Boxes are of dlib's HOG detector, landmarks of dlib's 68 points (not for commercial products), identity of dlib's ResNet
and its Euclidean distance, under 0.6 for one person as it was trained. Proportions and errors are means over {which};
errors are distances in % of the true distance of the outer eye corners. What is read has errors of its own.
{photographs}"""
_NOTE = "The column of photographs is what a study of such networks found; this command does not measure it.\n"


def page(what: str, command: str, measured: Mapping[int, Agreement], owing: bool) -> str:
    """The page.

    Args:
        what: The set, in words.
        command: That writes it.
        measured: By the side of the pictures.
        owing: Whether what the portrait world owes stands beside the values, and which pictures are frontal is known.
    """
    which = f"pictures whose head is turned by at most {FRONTAL:g} degrees" if owing else "all pictures"
    notes = _NOTE if owing else ""
    return _TEXT.format(what=what, command=command, table=table(measured, owing), which=which, photographs=notes)


def table(measured: Mapping[int, Agreement], owing: bool) -> str:
    """A row a measure, a column a side; rows of which nothing is known are left out."""
    heads = ["", *(f"{side} px" for side in measured), *(["on photographs", "owed"] if owing else [])]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, (label, digits) in ROWS.items():
        values = [float(getattr(agreement, name)) for agreement in measured.values()]
        if all(isnan(value) for value in values):
            continue
        beside = [PHOTOGRAPHS.get(name, ""), owed(name)] if owing else []
        cells = [label, *(f"{value:.{digits}f}" for value in values), *beside]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def owed(name: str) -> str:
    """What the world owes of a measure, in words; empty if nothing."""
    if name not in OWED:
        return ""
    side, least, most = OWED[name]
    bounds = f"≥ {least:g}" if most is None else f"≤ {most:g}" if least is None else f"{least:g} to {most:g}"
    return f"{bounds} at {side} px"


def unmet(measured: Mapping[int, Agreement]) -> list[str]:
    """The measures that are not what the world owes, each with its value; of sides that were not measured, nothing."""
    missed = []
    for name, (side, least, most) in OWED.items():
        if side in measured:
            value = float(getattr(measured[side], name))
            if not (-inf if least is None else least) <= value <= (inf if most is None else most):
                missed.append(f"{name} {value:.3f}, owed {owed(name)}")
    return missed
