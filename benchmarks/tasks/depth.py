"""Depth: maps of any affine scale against exact depth, inside the skin."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from benchmarks.evaluation.figures import Write, evenly
from benchmarks.evaluation.saved import Piece, Saved, matched
from benchmarks.tasks import Fed, as_bytes
from benchmarks.tasks import plain_samples as samples
from datamodules.outputs.matching import Match, Selection, manifest, with_masks
from datamodules.outputs.sizes import by, check_sizes
from datamodules.video.clips import Framing
from datamodules.video.truth import check_unit, has_depth, read_depth
from metrics.alignment import KINDS
from metrics.depth import RMSE, AbsRel, Delta1, NormalError
from models.errors import UserError
from models.tasks.depth import DepthEstimate, DepthFrames, DepthKind

__all__ = ["samples"]
HEADING = "Depth"
STRIP = "pictures, estimates, and the truth where it is known; nearer is brighter"
METRICS = (
    *(metric.scored() for metric in (AbsRel, Delta1, RMSE, NormalError)),
    *(metric.by("closeness") for metric in (AbsRel, Delta1, RMSE)),  # as papers on portraits print them
)
FLAGS_ALL_METRICS = True  # whether a status is of the sample, not of one metric
FLAGGED = "Depth maps that no positive scale fits, scored as a constant map"
KIND_FILE = "kind.txt"  # beside saved maps: what they are


def facts(test: Mapping[str, Any]) -> dict[str, str]:
    """What decides the column of a table's test: nothing."""
    return {}


def truth(batch: DepthFrames) -> list[bytes]:
    """The depth inside its mask, and the mask."""
    inside = torch.where(batch.mask, batch.depth.float(), 0.0)
    return [as_bytes(parts) for parts in zip(inside, batch.mask, strict=True)]


def side(batch: DepthFrames) -> int:
    """The smaller side of the maps in pixels."""
    return min(batch.depth.shape[-2:])


def feed(estimate: DepthEstimate, batch: DepthFrames) -> dict[str, Fed]:
    """Maps with their kind, and the truth with its mask and camera."""
    arguments = estimate.map, estimate.kind, batch.depth, batch.mask, batch.K
    return {"depth": Fed(arguments, batch.sample_id)}


def lines(estimate: DepthEstimate, batch: DepthFrames, columns: int) -> list[Tensor]:
    """Picture, estimate and truth, where it is known; nearer is brighter."""
    assert batch.image is not None
    nearness = estimate.map if estimate.kind != "depth" else -estimate.map
    chosen = evenly(len(batch.image), columns)
    rows = [batch.image, grey(nearness, batch.mask)]
    rows += [grey(-batch.depth, batch.mask)] if batch.depth.any() else []
    return [row[chosen] for row in rows]


def save(estimate: DepthEstimate, batch: DepthFrames, folder: Path, write: Write) -> None:
    """A map a frame as ``.npy`` in float32, and what the maps are."""
    (folder / KIND_FILE).write_text(f"{estimate.kind}\n")
    for depth, video, index in zip(estimate.map, batch.video_id, batch.frame, strict=True):
        (folder / video).mkdir(exist_ok=True)
        np.save(folder / video / f"{int(index):07d}.npy", depth[0].float().cpu().numpy())


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the maps are, and masks where the truth has none."""
    parser.add_argument("--kind", choices=KINDS, help="what the maps are")
    parser.add_argument("--masks", type=Path, help="masks, where the truth has none; white (or 1) is scored")


def saved(options: argparse.Namespace) -> Saved:
    """Maps that somebody saved.

    Raises:
        UserError: If it is not said what the maps are, or the folders do not match.
    """
    kind: DepthKind = options.kind or _kind_beside(options.predictions)
    matches = manifest(options.predictions, options.truth, ("maps", "truth"), Selection(options.max_frames))
    matches = with_masks(matches, options.masks, options.truth)
    framing = Framing(options.image_size) if options.image_size else None

    def read(piece: Piece) -> tuple[DepthEstimate, DepthFrames]:
        maps = piece.match.saved.maps(piece.positions)
        true = _truth(piece, maps, framing)
        _check_finite(piece, maps, true["mask"])
        named = piece.named(options.task, [f"{piece.match.truth.name}/{frame:07d}" for frame in piece.frames])
        batch = DepthFrames(**named, image=None, depth=true["depth"], mask=true["mask"], K=true["K"])
        return DepthEstimate(torch.stack(maps), kind), batch

    exact = all(match.truth.is_exact for match in matches)  # without a camera there is no angle of normals
    return matched(matches, read, without={} if exact else {"NormalError": "no camera"})


def _kind_beside(predictions: Path) -> DepthKind:
    """What the maps are, as ``lightning predict`` leaves it beside them."""
    file = predictions / KIND_FILE
    kind = file.read_text(errors="replace").strip() if file.is_file() else ""
    for known in get_args(DepthKind):
        if kind == known:
            return known
    start = f"'{file}' does not say what the maps are; say it" if file.exists() else "Say what the maps are"
    raise UserError(f"{start} with --kind: {', '.join(KINDS)}.")


def _truth(piece: Piece, maps: list[Tensor], framing: Framing | None) -> dict[str, Tensor]:
    """``depth`` in metres, ``mask`` and ``K`` of a piece, of the maps' size."""
    size = framing.size if framing else None
    if piece.match.truth.is_exact:
        true = read_depth(piece.match.truth.path, piece.frames, framing)
        check_sizes(piece.match, piece.positions, maps, list(true["depth"]), size, piece.sizes)
        return true
    parts = [_masked(piece.match, i, framing) for i in piece.places]
    depth, mask = map(list, zip(*parts, strict=True))
    check_sizes(piece.match, piece.positions, maps, depth, size, piece.sizes)
    return {"depth": torch.stack(depth), "mask": torch.stack(mask), "K": torch.eye(3).expand(len(parts), 3, 3)}


def _masked(match: Match, place: int, framing: Framing | None) -> tuple[Tensor, Tensor]:
    """A true map ``1 H W``, 0 where it is absent, and its mask, whose size is that of the map or asked for."""
    assert match.masks is not None
    assert match.inside is not None
    frame, inside = match.frames[place], match.inside[place]
    depth, mask = match.truth.depth([frame])[0], match.masks.masks([inside])[0]
    files = match.truth.files[frame], match.masks.files[inside]
    if mask.shape[-2:] not in (depth.shape[-2:], framing and (framing.size, framing.size)):
        shapes = f"is {by(mask)}, its map '{files[0]}' {by(depth)}"
        raise UserError(f"The mask '{files[1]}' {shapes}; save the mask at the size of its map.")
    if framing is not None:
        depth, mask = framing.map(depth), framing.map(mask)
    known = has_depth(depth)
    check_unit(depth, mask, files[0])
    if not (mask & known).any():
        raise UserError(f"'{files[0]}' has no depth inside its mask '{files[1]}'; mend one, or take the frame out.")
    return torch.where(known, depth, 0.0), mask & known


def _check_finite(piece: Piece, maps: list[Tensor], masks: Tensor) -> None:
    for position, values, mask in zip(piece.positions, maps, masks, strict=True):
        if not values[mask].isfinite().all():
            file = piece.match.saved.files[position]
            raise UserError(f"'{file}' holds nan or inf where it is scored; save a finite number for each pixel there.")


def grey(nearness: Tensor, mask: Tensor) -> Tensor:
    """A map ``B 1 H W`` as pictures ``B 3 H W``: nearer is brighter, over each face's own range; white elsewhere."""
    low = nearness.masked_fill(~mask, float("inf")).amin((1, 2, 3), keepdim=True)
    high = nearness.masked_fill(~mask, -float("inf")).amax((1, 2, 3), keepdim=True)
    grey = (nearness - low) / (high - low).clamp(min=1e-9)
    return grey.where(mask, torch.ones_like(grey)).expand(-1, 3, -1, -1)
