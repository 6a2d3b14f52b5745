"""Outputs that somebody saved, read beside their truth as test batches; every file is checked as it is read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from datamodules.outputs.matching import Match, Protocol, manifest
from datamodules.video.clips import Framing
from datamodules.video.frame_numbers import same_form
from datamodules.video.protocols import chunks
from datamodules.video.samples import to_float
from datamodules.video.truth import has_depth, read_depth
from models.errors import UserError
from models.tasks import DEPTH, Batch, DepthEstimate

__all__ = ["Match", "Protocol", "batches", "files_hash", "has_camera", "match", "without"]


def match(predictions: Path, truth: Path, protocol: Protocol) -> list[Match]:
    """Checks all that is to be scored: videos, frames, sizes, rates and values.

    Raises:
        UserError: In one sentence that says what is missing, extra, broken, of another size or no number.
    """
    found = manifest(predictions, truth, protocol)
    for _ in batches(found, protocol):  # every file is read once before hours are spent on the first
        pass
    return found


def batches(matches: Iterable[Match], protocol: Protocol) -> Iterator[tuple[Tensor | DepthEstimate, Batch]]:
    """Outputs and test batches, with the identifiers that a test run gives them.

    Raises:
        UserError: If a file is broken, or a size or value does not fit.
    """
    for found in matches:
        sizes: set[tuple[int, int]] = set()
        for number, piece in enumerate(chunks(range(len(found.frames)))):
            frames = [found.frames[i] for i in piece]
            batch = {"task": protocol.task, "motion": protocol.motion, "frame": frames, "piece": number}
            batch["sample_id"] = _sample_ids(found.truth.name, frames, protocol)
            if protocol.task == DEPTH:
                maps, truth = _depth_piece(found, piece, protocol, sizes)
                yield maps, batch | truth | {"video_id": [found.truth.name] * len(frames)}
            else:
                pictures, target = _picture_piece(found, piece, protocol, sizes)
                yield pictures, batch | {"target": target, "video_id": [found.truth.name]}


def files_hash(matches: Iterable[Match]) -> str:
    """12 hex digits of names and contents of the outputs' files."""
    whole = sha256()
    for found in matches:
        for path in dict.fromkeys(found.saved.files):
            whole.update(f"{found.saved.name}/{same_form(path.name)}\n".encode())
            whole.update(sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:12]


def has_camera(matches: Sequence[Match]) -> bool:
    """Whether the truth of depth knows the camera, without which there is no angle of normals."""
    return all(found.truth.is_exact for found in matches)


def without(matches: Sequence[Match], protocol: Protocol) -> Mapping[str, str]:
    """The metrics that this truth cannot have."""
    return {"NormalError": "no camera"} if protocol.task == DEPTH and not has_camera(matches) else {}


def _sample_ids(video: str, frames: Sequence[int], protocol: Protocol) -> list[str]:
    other = f"@{protocol.source_frame:07d}" if protocol.source_frame and protocol.task != DEPTH else ""
    return [f"{video}/{frame:07d}{other}" for frame in frames]


def _picture_piece(
    found: Match, piece: Sequence[int], protocol: Protocol, sizes: set[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Outputs and truth ``1 T 3 H W`` of some of the frames that are scored."""
    framing = Framing(protocol.image_size) if protocol.image_size else None
    true = found.truth.pictures([found.frames[i] for i in piece])
    true = true if framing is None else [framing.image(picture) for picture in true]
    ours = found.saved.pictures([found.positions[i] for i in piece])
    _check_sizes(found, piece, ours, true, protocol, sizes)
    return to_float(torch.stack(ours))[None], to_float(torch.stack(true))[None]


def _depth_piece(
    found: Match, piece: Sequence[int], protocol: Protocol, sizes: set[tuple[int, int]]
) -> tuple[DepthEstimate, dict[str, Tensor]]:
    """Maps ``B 1 H W``, and ``depth`` in metres, ``mask`` and ``K`` of some of the frames that are scored."""
    framing = Framing(protocol.image_size) if protocol.image_size else None
    frames, positions = ([where[i] for i in piece] for where in (found.frames, found.positions))
    maps = found.saved.maps(positions)
    if found.truth.is_exact:
        truth = read_depth(found.truth.path, frames, framing)
        _check_sizes(found, piece, maps, list(truth["depth"]), protocol, sizes)
    else:
        depth, masks = _true_maps(found, piece, framing)
        _check_sizes(found, piece, maps, depth, protocol, sizes)
        truth = {"depth": torch.stack(depth), "mask": torch.stack(masks), "K": torch.eye(3).expand(len(piece), 3, 3)}
    for position, values, mask in zip(positions, maps, truth["mask"], strict=True):
        if not values[mask].isfinite().all():
            file = found.saved.files[position]
            raise UserError(f"'{file}' holds nan or inf where it is scored; save a finite number for each pixel there.")
    return DepthEstimate(torch.stack(maps), protocol.kind), truth


def _true_maps(found: Match, piece: Sequence[int], framing: Framing | None) -> tuple[list[Tensor], list[Tensor]]:
    """True maps ``1 H W``, 0 where they are absent, and their masks, whose sizes are those of the maps or asked for."""
    assert found.masks is not None
    assert found.inside is not None
    depths, masks = [], []
    for i in piece:
        depth, mask = found.truth.depth([found.frames[i]])[0], found.masks.masks([found.inside[i]])[0]
        files = found.truth.files[found.frames[i]], found.masks.files[found.inside[i]]
        asked = None if framing is None else (framing.size, framing.size)
        if mask.shape[-2:] not in (depth.shape[-2:], asked):
            shapes = f"is {_by(mask)}, its map '{files[0]}' {_by(depth)}"
            raise UserError(f"The mask '{files[1]}' {shapes}; save the mask at the size of its map.")
        if framing is not None:
            depth, mask = framing.map(depth), framing.map(mask)
        known = has_depth(depth)
        if not (mask & known).any():
            raise UserError(f"'{files[0]}' has no depth inside its mask '{files[1]}'; mend one, or take the frame out.")
        depths.append(torch.where(known, depth, 0.0))
        masks.append(mask & known)
    return depths, masks


def _check_sizes(
    found: Match,
    piece: Sequence[int],
    ours: Sequence[Tensor],
    true: Sequence[Tensor],
    protocol: Protocol,
    sizes: set[tuple[int, int]],
) -> None:
    """Refuses a truth of several sizes, and outputs of another than the truth's; keeps in ``sizes`` what was seen."""
    asked = _square([picture for picture in ours])
    for picture in true:
        sizes.add((picture.shape[-2], picture.shape[-1]))
        if len(sizes) > 1:
            told = " and ".join(f"{width} x {height}" for height, width in sorted(sizes))
            raise UserError(f"'{found.truth.path}' has frames of {told}; bring them to one size with --image-size.")
    for i, picture, goal in zip(piece, ours, true, strict=True):
        if picture.shape[-2:] != goal.shape[-2:]:
            file = found.saved.files[found.positions[i]].name
            wanted = f"--image-size asks for {_by(goal)}" if protocol.image_size else f"the truth has {_by(goal)}"
            other = f", or give --image-size {asked} to bring the truth to theirs" if asked else ""
            told = f"has frames of {_by(picture)}, {wanted}; save them at that size{other}"
            raise UserError(f"'{found.saved.path}' {told} (the first is '{file}').")


def _square(pictures: Sequence[Tensor]) -> int | None:
    """The side of pictures that all are squares of one size."""
    shapes = {tuple(picture.shape[-2:]) for picture in pictures}
    height, width = next(iter(shapes))
    return height if len(shapes) == 1 and height == width else None


def _by(picture: Tensor) -> str:
    return f"{picture.shape[-1]} x {picture.shape[-2]}"
