"""Outputs that somebody saved, matched with their truth: folders of frames, videos, single pictures, depth maps."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datamodules.clips import FRAME_SUFFIXES, VIDEO_SUFFIXES, Clip, Framing, clip_name, frame_files, read_frame
from datamodules.protocols import chunks, spread
from datamodules.samples import to_float
from datamodules.truth import read_depth
from models.base import UserError
from models.tasks import DEPTH, Batch, DepthEstimate, DepthKind

MAP_SUFFIXES = frozenset({".npy", ".png"})
STRIP = ".strip.png"  # what `lightning predict` leaves beside a folder of frames, to look at


@dataclass(frozen=True)
class Entry:
    """One video of a folder: a sub-folder of frames or maps, a video file, a single picture or map, a truth ``.npz``.

    Args:
        path: The sub-folder or file.
    """

    path: Path

    @property
    def name(self) -> str:
        """The ``video_id``: the name without a suffix of video, picture or map."""
        name = clip_name(self.path.name)
        known = FRAME_SUFFIXES | MAP_SUFFIXES | {".npz"}
        return Path(name).stem if self.path.is_file() and Path(name).suffix.lower() in known else name

    @property
    def files(self) -> list[Path]:
        """The files of the frames in the order of their numbers; the file itself unless it is a folder."""
        if not self.path.is_dir():
            return [self.path]
        if frames := frame_files(self.path):
            return [self.path / name for name in frames]
        return sorted(self.path.glob("*.npy"), key=lambda path: (_number(path), path.name))

    @property
    def is_video(self) -> bool:
        """Whether it is a video file."""
        return self.path.is_file() and self.path.suffix.lower() in VIDEO_SUFFIXES

    @property
    def numbers(self) -> list[int]:
        """The numbers that the frames bear, in order; those of a video or a single picture are counted from 0."""
        if self.is_video:
            return list(range(len(Clip(self.path))))
        if self.path.suffix == ".npz" and self.path.is_file():
            with np.load(self.path) as truth:
                return list(range(len(truth["depth"])))
        return [_number(path) for path in self.files] if self.path.is_dir() else [0]

    @property
    def rate(self) -> Fraction | None:
        """Frames a second of a video; None of anything else."""
        if not self.is_video:
            return None
        with av.open(self.path) as container:
            return container.streams.video[0].average_rate

    def sizes(self) -> Iterator[tuple[int, int]]:
        """Height and width of every frame, from headers where they have them."""
        if self.is_video:
            with av.open(self.path) as container:
                stream = container.streams.video[0]
                yield stream.height, stream.width
            return
        for path in self.files:
            if path.suffix == ".npy":
                yield np.load(path, mmap_mode="r").shape[-2:]
            else:
                with Image.open(path) as picture:
                    yield picture.height, picture.width

    def pictures(self, indices: Sequence[int]) -> Tensor:
        """Frames as uint8 ``N 3 H W``."""
        if self.is_video:
            return torch.stack(Clip(self.path).read(indices))
        files = self.files
        return torch.stack([read_frame(files[i]) for i in indices])

    def maps(self, indices: Sequence[int]) -> Tensor:
        """Maps as float32 ``N 1 H W``, in the files' own unit.

        Raises:
            UserError: If a file holds no single map.
        """
        files = self.files
        return torch.stack([_read_map(files[i]) for i in indices])


@dataclass(frozen=True)
class Match:
    """A video's saved outputs and its truth.

    Args:
        saved: The outputs.
        truth: What they are scored against.
        frames: Indices of the truth's frames that are scored.
        positions: Where the outputs hold them.
    """

    saved: Entry
    truth: Entry
    frames: list[int]
    positions: list[int]


@dataclass(frozen=True)
class Protocol:
    """How saved outputs are matched and scored.

    Args:
        task: The task (`models.tasks`).
        motion: Of reenactment: ``absolute`` or ``relative``; empty for depth.
        source_frame: The index of the source frame, which self-reenactment does not score.
        max_frames: Frames scored of a video, evenly spaced; None for all.
        image_size: Side that the truth is brought to, as the data module does it; None leaves it alone.
        kind: What depth maps are.
        masks: Folder of the masks of depth (white is scored); None where the truth has its own.
    """

    task: str
    motion: str = ""
    source_frame: int = 0
    max_frames: int | None = None
    image_size: int | None = None
    kind: DepthKind = "depth"
    masks: Path | None = None

    def scored(self, count: int) -> list[int]:
        """The indices of the frames of a video of ``count`` frames that are scored."""
        skip = {self.source_frame} if self.task == "self_reenactment" and count > 1 else set()
        return spread([i for i in range(count) if i not in skip], self.max_frames)


def entries(folder: Path, task: str) -> dict[str, Entry]:
    """The videos of a folder by name.

    Raises:
        UserError: If it is missing or empty, or two entries have one name.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder '{folder}'; name the one that holds a folder or file for each video.")
    single = (MAP_SUFFIXES | {".npz"}) if task == DEPTH else (FRAME_SUFFIXES | VIDEO_SUFFIXES)
    found: dict[str, Entry] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith(STRIP):
            continue
        if path.is_dir() or path.suffix.lower() in single:
            entry = Entry(path)
            if entry.name in found:
                raise UserError(f"'{path}' and '{found[entry.name].path}' are one video; remove one of them.")
            found[entry.name] = entry
    if not found:
        raise UserError(f"'{folder}' holds no outputs; put a folder or file for each video there.")
    return found


def match(predictions: Path, truth: Path, protocol: Protocol) -> list[Match]:
    """Checks the manifest: identifiers, frames, sizes and rates; what is scored is complete.

    Raises:
        UserError: In one sentence that says what is missing, extra or of another size.
    """
    saved, true = entries(predictions, protocol.task), entries(truth, protocol.task)
    missing, extra = sorted(true.keys() - saved.keys()), sorted(saved.keys() - true.keys())
    if missing or extra:
        told = [f"{len(missing)} of {len(true)} videos are missing ({_some(missing)})"] if missing else []
        told += [f"{len(extra)} are not in '{truth}' ({_some(extra)})"] if extra else []
        raise UserError(f"'{predictions}': {', and '.join(told)}; save one folder or file for each video of the truth.")
    return [_matched(saved[name], true[name], protocol) for name in sorted(true)]


def batches(matches: Iterable[Match], protocol: Protocol) -> Iterator[tuple[Tensor | DepthEstimate, Batch]]:
    """Outputs and test batches, with the identifiers that a test run gives them."""
    for found in matches:
        for piece in chunks(list(zip(found.frames, found.positions, strict=True))):
            frames, positions = [frame for frame, _ in piece], [position for _, position in piece]
            other = f"@{protocol.source_frame:07d}" if protocol.source_frame else ""
            names = [f"{found.truth.name}/{frame:07d}{other}" for frame in frames]
            batch = {"task": protocol.task, "motion": protocol.motion, "sample_id": names, "frame": frames}
            if protocol.task == DEPTH:
                maps = DepthEstimate(found.saved.maps(positions), protocol.kind)
                truth = _true_depth(found, frames, maps.map.shape[-1], protocol)
                yield maps, batch | truth | {"video_id": [found.truth.name] * len(frames)}
            else:
                target = _framed(found.truth.pictures(frames), protocol.image_size)
                pictures = to_float(found.saved.pictures(positions))[None]
                yield pictures, batch | {"target": to_float(target)[None], "video_id": [found.truth.name]}


def files_hash(matches: Iterable[Match]) -> str:
    """12 hex digits of names and contents of the outputs' files."""
    whole = sha256()
    for found in matches:
        for path in found.saved.files:
            whole.update(f"{found.saved.name}/{path.name}\n".encode())
            whole.update(sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:12]


def has_camera(matches: Sequence[Match]) -> bool:
    """Whether the truth of depth knows the camera, without which there is no angle of normals."""
    return all(found.truth.path.suffix == ".npz" for found in matches)


def _matched(saved: Entry, truth: Entry, protocol: Protocol) -> Match:
    there, true = saved.numbers, truth.numbers
    frames = protocol.scored(len(true))
    by_order = saved.is_video and len(there) == len(frames)
    named = {
        "number": [true[i] for i in frames],
        "index": frames,
        "order": there if by_order else [-1],
    }
    allowed = {"number": set(true), "index": set(range(len(true))), "order": set(there)}
    fits = [way for way in named if set(named[way]) <= set(there) <= allowed[way]]
    if not fits:
        raise UserError(_difference(saved, truth, named["number"], allowed["number"]))
    position = {number: i for i, number in enumerate(there)}
    found = Match(saved, truth, frames, [position[number] for number in named[fits[0]]])
    _check_sizes(found, protocol)
    return found


def _difference(saved: Entry, truth: Entry, asked: list[int], allowed: set[int]) -> str:
    there = set(saved.numbers)
    missing, extra = sorted(set(asked) - there), sorted(there - allowed)
    if saved.is_video:
        counts = f"{len(there)} frames, but '{truth.path}' has {len(allowed)}"
        return f"'{saved.path}' has {counts}, of which {len(asked)} are scored; save either all or those, in order."
    told = [f"lacks {len(missing)} of {len(asked)} frames ({_some(missing)})"] if missing else []
    told += [f"has {len(extra)} that '{truth.path}' lacks ({_some(extra)})"] if extra else []
    return f"'{saved.path}' {' and '.join(told)}; name each frame by its number in the truth."


def _check_sizes(found: Match, protocol: Protocol) -> None:
    asked = protocol.image_size
    true = (asked, asked) if asked else next(iter(_truth_sizes(found.truth)))
    for height, width in found.saved.sizes():
        if (height, width) != tuple(true):
            sizes = f"frames of {width} x {height}, the truth has {true[1]} x {true[0]}"
            remedy = "save them at that size, or give --image-size to bring the truth to theirs"
            raise UserError(f"'{found.saved.path}' has {sizes}; {remedy}.")
    rates = found.saved.rate, found.truth.rate
    if None not in rates and rates[0] != rates[1]:
        raise UserError(
            f"'{found.saved.path}' has {float(rates[0] or 0):g} frames a second, '{found.truth.path}' "
            f"{float(rates[1] or 0):g}; save it at the truth's rate, or the frames as pictures."
        )


def _truth_sizes(truth: Entry) -> Iterator[tuple[int, int]]:
    if truth.path.suffix == ".npz" and truth.path.is_file():
        with np.load(truth.path) as arrays:
            yield arrays["depth"].shape[-2:]
    else:
        yield from truth.sizes()


def _framed(pictures: Tensor, size: int | None) -> Tensor:
    return pictures if size is None else Framing(size).image(pictures)


def _true_depth(found: Match, frames: list[int], size: int, protocol: Protocol) -> dict[str, Tensor]:
    """``depth`` in metres, ``mask`` and ``K`` of some frames."""
    if found.truth.path.suffix == ".npz":
        return read_depth(found.truth.path, frames, Framing(size))
    if protocol.masks is None:
        raise UserError("The truth has no masks of its own; name their folder with --masks.")
    depth = torch.stack([_in_metres(found.truth.files[i]) for i in frames])
    masks = entries(protocol.masks, DEPTH).get(found.truth.name)
    if masks is None or len(masks.files) < len(found.truth.files):
        raise UserError(f"'{protocol.masks}' lacks masks of '{found.truth.name}'; put one there for each depth map.")
    mask = torch.stack([read_frame(masks.files[i])[:1] > 127 for i in frames])
    return {"depth": depth, "mask": mask & (depth > 0), "K": torch.eye(3).expand(len(frames), 3, 3)}


def _in_metres(path: Path) -> Tensor:
    """A true depth map: metres in an ``.npy``, millimetres in a 16-bit PNG."""
    return _read_map(path) / (1 if path.suffix == ".npy" else 1000)


def _read_map(path: Path) -> Tensor:
    try:
        values = np.load(path) if path.suffix == ".npy" else np.array(Image.open(path))
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' is not a readable map ({error}); save it as .npy or 16-bit PNG.") from error
    plane = values.squeeze()
    if plane.ndim != 2 or values.dtype == np.uint8:
        what = f"{values.dtype} of shape {values.shape}"
        raise UserError(f"'{path}' holds {what}; save one map H x W as .npy of floats or 16-bit PNG.")
    return torch.from_numpy(plane.astype(np.float32))[None]


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", os.path.splitext(path.name)[0])
    return int(digits[-1]) if digits else -1


def _some(names: Sequence[Any]) -> str:
    return f"{names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def without(matches: Sequence[Match], protocol: Protocol) -> Mapping[str, str]:
    """The metrics that this truth cannot have."""
    return {"NormalError": "no camera"} if protocol.task == DEPTH and not has_camera(matches) else {}
