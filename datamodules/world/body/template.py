"""All parts as one mesh of fixed topology, with its texture atlas and its landmarks."""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from datamodules.world.body import parts
from datamodules.world.body.accessories import glasses, hat, light_faces
from datamodules.world.body.brows import INNER, LENGTH, brow_line
from datamodules.world.body.geometry import BROW_LEVEL, EYE_LEVEL, MOUTH_LEVEL, Array, loft
from datamodules.world.body.hair import HairStyle, bun, hair, light_hair_faces
from datamodules.world.body.head import (
    EYE,
    EYE_HALF_WIDTH,
    EYE_RADIUS,
    MOUTH_HALF_WIDTH,
    Index,
    columns,
    head_grid,
    light_lines,
    row_of,
    rows,
    sculpt,
)

Detail = Literal["light", "full"]
ATLAS = 512
_BROW_EDGE = 0.0035  # metres from a brow's middle to its upper edge, along which the field marks it
# Texture regions x, y, width, height in texels of the atlas.
REGIONS = {
    "head": (0, 0, 320, 320),
    "torso": (0, 320, 320, 192),
    "hair": (320, 0, 192, 192),
    "eyes": (320, 192, 96, 96),
    "teeth": (416, 192, 96, 96),
    "ears": (320, 288, 96, 96),
    "mouth": (416, 288, 96, 96),
    "hat": (320, 384, 192, 104),
    "glasses": (320, 488, 192, 24),
}
_REGION_OF = {
    "head": "head", "eye_right": "eyes", "eye_left": "eyes", "teeth_upper": "teeth", "teeth_lower": "teeth",
    "tongue": "mouth", "cavity": "mouth", "ear_right": "ears", "ear_left": "ears", "torso": "torso",
    "hair": "hair", "bun": "hair", "glasses": "glasses", "hat": "hat",
}  # fmt: skip
PARTS = tuple(_REGION_OF)


# Rows and columns of the parts' grids that the light mesh keeps; a part that is not named keeps all.
_EYE_LINES = ([0, 2, 4, 6, 7, 8], slice(None, None, 2))
_EVERY_OTHER = (slice(None, None, 2), slice(None, None, 2))
_LIGHT_LINES: dict[str, tuple[parts.Lines, parts.Lines]] = {
    "eye_right": _EYE_LINES, "eye_left": _EYE_LINES, "teeth_upper": _EVERY_OTHER, "teeth_lower": _EVERY_OTHER,
    "tongue": _EVERY_OTHER, "cavity": _EVERY_OTHER, "ear_right": _EVERY_OTHER, "ear_left": _EVERY_OTHER,
    "torso": (slice(None, None, 2), slice(None, None, 3)),
    "bun": _EVERY_OTHER,
}  # fmt: skip


@dataclass(frozen=True, eq=False)  # compared and hashed as the object that it is: arrays are neither
class Template:
    """The neutral mesh: ``position`` N 3, ``uv`` N 2 in the atlas, ``faces`` F 3, ``spans`` part -> vertex slice.

    ``drawn`` holds the faces and after them those of hair and hat once more, turned over: they are seen from within.
    ``landmarks`` are 68 vertices in iBUG order. ``origin`` N is each vertex's number in the full mesh.
    """

    position: Array
    uv: Array
    faces: Index
    drawn: Index
    spans: dict[str, slice]
    landmarks: Index
    origin: Index


def atlas_uv(uv: Array, part: str) -> Array:
    """Grid positions in [0, 1] to atlas coordinates, kept half a texel inside the part's region."""
    x, y, width, height = REGIONS[_REGION_OF[part]]
    inside = np.clip(uv, 0, 1) * (np.array([width, height]) - 2) + 1
    return (inside + np.array([x, y])) / ATLAS


@cache
def template(detail: Detail = "full") -> Template:
    """The neutral mesh, built once a process; the light one's vertices are some of the full one's.

    Raises:
        ValueError: A detail that is neither "light" nor "full".
    """
    if detail not in ("light", "full"):
        raise ValueError(f"template: detail is 'light' or 'full', not {detail!r}.")
    full, light_faces = _full()
    return full if detail == "full" else _light(full, light_faces)


@lru_cache(maxsize=32)
def tensor_of(mesh: Template, name: str, device: torch.device) -> Tensor:
    """An array of a mesh, by its name in `Template`, as a tensor that is moved to the device once."""
    return torch.from_numpy(getattr(mesh, name)).to(device)


def _grids() -> dict[str, parts.Grid]:
    head = head_grid()
    every = (np.arange(size) for size in head.grid.shape)
    return {
        "head": (head.position, head.uv, head.faces(*every)),
        "eye_right": _moved(parts.eyeball(EYE_RADIUS), EYE * np.array([-1, 1, 1])),
        "eye_left": _moved(parts.eyeball(EYE_RADIUS), EYE),
        "teeth_upper": parts.teeth(True),
        "teeth_lower": parts.teeth(False),
        "tongue": parts.tongue(),
        "cavity": parts.cavity(),
        "ear_right": parts.ear(-1),
        "ear_left": parts.ear(1),
        "torso": parts.torso(),
        "hair": hair(HairStyle(), np.random.default_rng(0)),
        "bun": bun(0.0),
        "glasses": glasses("none"),
        "hat": hat("none", HairStyle()),
    }


@cache
def _full() -> tuple[Template, dict[str, Index]]:
    """The full mesh, and by part the faces of the light one in the full one's numbering."""
    grids = _grids()
    starts = np.cumsum([0, *(len(grid[0]) for grid in grids.values())]).tolist()
    spans = {name: slice(a, b) for name, a, b in zip(grids, starts[:-1], starts[1:], strict=True)}
    faces = {name: grid[2] + spans[name].start for name, grid in grids.items()}
    light = {"head": head_grid().faces(*light_lines())}
    for name, grid in grids.items():
        if name == "hair":
            light[name] = spans[name].start + light_hair_faces()
        elif name in ("glasses", "hat"):
            light[name] = spans[name].start + light_faces(name)
        elif name != "head":
            lines = _LIGHT_LINES.get(name)
            light[name] = spans[name].start + (parts.thinned(grid, *lines) if lines else grid[2])
    position = np.concatenate([grid[0] for grid in grids.values()])
    uv = np.concatenate([atlas_uv(grid[1], name) for name, grid in grids.items()])
    origin = np.arange(len(position))
    return Template(position, uv, *_joined(faces), spans, _landmarks(), origin), light


def _joined(faces: dict[str, Index]) -> tuple[Index, Index]:
    every = np.concatenate(list(faces.values()))
    return every, np.concatenate([every, faces["hair"][:, ::-1], faces["hat"][:, ::-1]])


def _light(full: Template, faces: dict[str, Index]) -> Template:
    origin = np.unique(_joined(faces)[0])
    spans = {
        name: slice(*np.searchsorted(origin, (span.start, span.stop)).tolist()) for name, span in full.spans.items()
    }
    renumbered = {name: np.searchsorted(origin, part) for name, part in faces.items()}
    landmarks = _nearest_kept(full.landmarks, origin[spans["head"]])
    return Template(full.position[origin], full.uv[origin], *_joined(renumbered), spans, landmarks, origin)


def _nearest_kept(landmarks: Index, kept: Index) -> Index:
    """For landmarks of the full head the nearest vertices of the light one, on the same side of the slits."""
    head = head_grid()
    place = np.column_stack([head.position, head.eye_side, head.mouth_side])
    return np.array([int(((place[kept] - place[mark]) ** 2).sum(1).argmin()) for mark in landmarks])


def _moved(grid: parts.Grid, offset: Array) -> parts.Grid:
    return grid[0] + offset, grid[1], grid[2]


def _landmarks() -> Index:
    """The 68 landmarks as vertices of the head, in iBUG order (the jaw from the picture's left)."""
    span = INNER + LENGTH * np.array([0.925, 0.66, 0.43, 0.20, 0.0])
    along, middle = brow_line(span)
    edge = _BROW_EDGE * np.sin(np.pi * along) ** 0.5
    edge[0] = -0.001  # the outer end is read at its tip
    brows = list(zip(span, middle + edge, strict=True))
    bridge = [(0.0, 0.0015), (0.0, -0.0125), (0.0, -0.0245), (0.0, -0.0372)]
    base = [(-0.0130, -0.0460), (-0.0070, -0.0475), (0.0, -0.0500), (0.0070, -0.0475), (0.0130, -0.0460)]
    points = [(-x, y) for x, y in brows] + brows[::-1] + bridge + base
    return np.array([*_jaw(), *(_nearest(x, y) for x, y in points), *_eyes(), *_mouth()])


def _nearest(x: float, y: float) -> int:
    head = head_grid()
    position = np.where(head.position[:, 2:] > 0.02, head.position, 1e3)[: head.grid.size]
    return int(np.argmin(((position[:, :2] - [x, y]) ** 2).sum(1)))


# The jaw's edge on the left side, from beside the eye down to the chin: level and azimuth.
_BESIDE, _THROAT_LEVEL = 1.45, 11.1
_JAW_EDGE = np.array([(4.85, 1.40), (9.0, 1.40), (10.0, 1.30), (10.7, 1.05), (11.0, 0.70), (11.0, 0.0)])


def _jaw() -> list[int]:
    """From ear to ear along the jaw's edge, evenly as it is seen from ahead."""
    knots = np.linspace(0, len(_JAW_EDGE) - 1, 400)
    path = np.stack([np.interp(knots, np.arange(len(_JAW_EDGE)), axis) for axis in _JAW_EDGE.T])
    outline = sculpt(loft(*path))[:, :2]
    walked = np.append(0, np.linalg.norm(np.diff(outline, axis=0), axis=1).cumsum())
    x, y = (np.interp(np.linspace(0, walked[-1], 9), walked, axis) for axis in outline.T)
    x[-1] = 0.0
    return [_on_jaw(*point) for point in [*zip(-x, y, strict=True), *zip(x[-2::-1], y[-2::-1], strict=True)]]


def _on_jaw(x: float, y: float) -> int:
    """The vertex nearest to a point as seen from ahead, of those between brows and throat that both tiers have."""
    head, (kept_rows, kept_columns) = head_grid(), light_lines()
    kept_rows = kept_rows[(rows()[kept_rows] > BROW_LEVEL) & (rows()[kept_rows] < _THROAT_LEVEL)]
    index = head.grid[np.ix_(kept_rows, kept_columns[np.abs(columns()[kept_columns]) < _BESIDE])].ravel()
    return int(index[((head.position[index, :2] - [x, y]) ** 2).sum(1).argmin()])


def _edge(row: int, x: float, upper: bool) -> int:
    """The vertex of a slit's edge (its shared corner beyond the slit) nearest to x."""
    head = head_grid()
    front = np.where(head.position[head.grid[row], 2] > 0.02, head.position[head.grid[row], 0], 1e3)
    column = int(np.abs(front - x).argmin())
    return int((head.grid if upper else head.lower_grid)[row, column])


def _eyes() -> list[int]:
    row, outer, inner = row_of(EYE_LEVEL), (1.03, 1), (0.89, 0)  # the inner corner is read a little inside the slit's
    indices = []
    for sign, first, last in ((-1, outer, inner), (1, inner, outer)):
        outline = [(-first[0], first[1]), (-0.4, 1), (0.4, 1), last, (0.4, 0), (-0.4, 0)]
        indices += [_edge(row, sign * EYE[0] + share * EYE_HALF_WIDTH, bool(upper)) for share, upper in outline]
    return indices


def _mouth() -> list[int]:
    row, half = row_of(MOUTH_LEVEL), MOUTH_HALF_WIDTH
    shares, y = np.array([-0.70, -0.28, 0, 0.28, 0.70]), -0.0685
    above, below = np.array([0.0030, 0.0085, 0.0056, 0.0085, 0.0030]), np.array([0.007, 0.0106, 0.0094, 0.0106, 0.007])
    upper = [_nearest(s * half, y + dy) for s, dy in zip(shares, above, strict=True)]
    lower = [_nearest(s * half, y - dy) for s, dy in zip(shares[::-1], below, strict=True)]
    corners = [_edge(row + 1, s * half, True) for s in (-0.98, 0.98, -0.87, 0.87)]  # read a little below the slit
    inner = [_edge(row, s * half, True) for s in (-0.28, 0.0, 0.28)]
    inner_lower = [_edge(row, s * half, False) for s in (0.28, 0.0, -0.28)]
    return [corners[0], *upper, corners[1], *lower, corners[2], *inner, corners[3], *inner_lower]
