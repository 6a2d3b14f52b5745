"""The validity card of the suite's own face network: floors and ladders on people it has never seen."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.procface.data import Arrays, FaceSet, open_set
from benchmarks.procface.scores import Floor, analyse, floors, ladders, refused
from datamodules.world.export.media import Pixels, write_picture
from datamodules.world.sets.portraits import WORLD_VERSION
from metrics.procface import SHA256, SIDE, Faces, ProcFace
from models.files import write_text

SIZES = (64, 128)
LADDER_PEOPLE = 16
# What each error may be at most (or at least, where higher is better) at each size; a dash if nothing is promised.
OWED = {"landmarks": ("≤ 5", "≤ 3"), "pose": ("≤ 4", "≤ 4"), "AUC": ("≥ 0.95", "≥ 0.95")}
ROWS = {
    "landmarks": ("visible landmarks, % of the outer eye-corner distance", 2),
    "AKD": ("all landmarks, mean of abs. dx and dy, px", 2),
    "pose": ("head pose, geodesic degrees", 2),
    "expression": ("expression, mean absolute error of 25 strengths", 3),
    "correlation": ("expression, mean correlation over the 25", 3),
    "AUC": ("same or another person, AUC", 4),
    "seen": ("faces seen, share", 3),
}
_COLUMNS, _ENLARGED = 8, 2

_TEXT = """# The suite's own face network: validity card

![Unseen people]({picture})

*Unseen people at {sizes}; green is the truth of the visible landmarks, red what the network sees. The numbers are
computed by `python -m benchmarks.procface card`.*

`procface` ({parameters:,} parameters, weights {digest}...) is trained by `python -m benchmarks.procface train` on the
portrait world alone (its version {version} draws what is measured here). **What rests on it is not comparable with
published numbers**, and what it says of real faces is not known.

## Error floors

{people} people whom it has never seen, {pictures} pictures of each, drawn anew at each size with the suite's own
framing and motion. 95 % intervals are over people (BCa bootstrap; jackknife for the AUC) and, for the correlation, over
expressions. A generated picture cannot be told from its truth by less than these errors.

{floors}

Faceless pictures (corners, scrambled tiles, noise, flat colours) of which no face is claimed: {refused}.

## Degradation ladders

Spearman's rho between the level of a degradation (six levels from none to {worst}) and each score against the
undegraded picture, at {ladder_size} px, over {ladder_people} other unseen people; of proxy-FD over the six levels. 1 is
a score that only gets worse. The identity ladder changes shape and paint of the face, not hair and clothes.

{ladders}

## Limits

- One face a picture, framed as portraits are; there is no detector. Turns beyond 60 degrees are untaught.
- Landmarks that hair, hats or the head itself hide are guesses.
- Pictures are looked at with {side} pixels: what is finer is not scored.
- It was taught with blur, noise and JPEG so that its readings survive them; proxy-FD is the one that should notice.
"""


def write_card(path: Path, people: int, pictures: int, root: Path, seed: int = 0) -> None:
    """Measures the shipped network and writes the card and, beside it, its picture."""
    spec = FaceSet(people, pictures, "test", detail="full", seed=seed, native=True)
    sets = {size: open_set(FaceSet(**{**asdict(spec), "image_size": size}), root) for size in SIZES}
    faces = {size: analyse(torch.from_numpy(arrays["image"]).float() / 255) for size, arrays in sets.items()}
    measured = [floors(sets[size], faces[size]) for size in SIZES]
    write_picture(path.with_suffix(".png"), sheet(sets, faces))
    text = _TEXT.format(
        picture=path.with_suffix(".png").name, digest=SHA256[:12], version=WORLD_VERSION, side=SIDE,
        sizes=" and ".join(f"{size} px" for size in SIZES), people=people, pictures=pictures,
        parameters=sum(value.numel() for value in ProcFace().parameters()), floors=floor_table(measured),
        refused=", ".join(f"{refused(sets[size], seed):.1%} at {size} px" for size in SIZES),
        worst="a blur of 4 px, noise of 0.15, JPEG 5, a turn of 25 degrees, another expression, another face",
        ladder_size=SIZES[0], ladder_people=LADDER_PEOPLE, ladders=ladder_table(ladders(LADDER_PEOPLE, SIZES[0], seed)),
    )  # fmt: skip
    write_text(path, text)


def floor_table(measured: list[dict[str, Floor]]) -> str:
    """The errors at each size, with what is owed."""
    heads = "".join(f" {size} px | owed |" for size in SIZES)
    lines = [f"| error |{heads}", "|---" * (1 + 2 * len(SIZES)) + "|"]
    for name, (label, digits) in ROWS.items():
        cells = [f"{_cell(m[name], digits)} | {OWED.get(name, '––')[i]}" for i, m in enumerate(measured)]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ladder_table(measured: dict[str, dict[str, float]]) -> str:
    """Rho of every score over every ladder."""
    scores = list(next(iter(measured.values())))
    lines = [f"| ladder | {' | '.join(scores)} |", "|---" * (1 + len(scores)) + "|"]
    lines += [f"| {name} | {' | '.join(f'{row[score]:.2f}' for score in scores)} |" for name, row in measured.items()]
    return "\n".join(lines)


def sheet(sets: dict[int, Arrays], faces: dict[int, Faces]) -> Pixels:
    """A row of unseen people at each size, enlarged to one, with true and seen landmarks."""
    rows = [np.concatenate([_marked(sets[size], faces[size], i) for i in _shown(sets[size])], 1) for size in sets]
    return np.concatenate(rows)


def _cell(floor: Floor, digits: int) -> str:
    return f"{floor.value:.{digits}f} [{floor.low:.{digits}f}, {floor.high:.{digits}f}]"


def _shown(arrays: Arrays) -> list[int]:
    """The first picture of each of the first people."""
    return np.unique(arrays["person"], return_index=True)[1][:_COLUMNS].tolist()


def _marked(arrays: Arrays, faces: Faces, index: int) -> Pixels:
    side = arrays["image"].shape[-1]
    factor = _ENLARGED * SIZES[-1] / side
    picture = Image.fromarray(arrays["image"][index].transpose(1, 2, 0)).resize((int(factor * side),) * 2)
    pen = ImageDraw.Draw(picture)
    for points, colour in ((arrays["landmarks"][index], (0, 220, 0)), (faces.landmarks[index].numpy(), (240, 0, 0))):
        for x, y in factor * (points[arrays["visible"][index]] + 0.5) - 0.5:
            pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=colour)
    return np.asarray(picture)
