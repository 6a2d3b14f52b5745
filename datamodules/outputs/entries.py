"""The videos of a folder that somebody saved: folders of frames or maps, video files, single pictures, truths."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal

from torch import Tensor

from datamodules.outputs.maps import read_map, read_mask
from datamodules.video.clips import FRAME_SUFFIXES, VIDEO_SUFFIXES, Clip, clip_name, read_frame
from datamodules.video.frame_numbers import number_frames, what_is_there
from datamodules.video.truth import depth_frames
from models.errors import UserError

EntryKind = Literal["pictures", "maps", "truth", "masks"]
STRIP = ".strip.png"  # what `lightning predict` leaves beside a folder of frames, to look at
MAP_SUFFIXES = frozenset({".npy", ".png"})
FRAMES: dict[EntryKind, frozenset[str]] = {  # what a frame's file may be
    "pictures": FRAME_SUFFIXES,
    "maps": MAP_SUFFIXES,
    "truth": MAP_SUFFIXES,
    "masks": FRAME_SUFFIXES | {".npy"},
}
WHOLE: dict[EntryKind, frozenset[str]] = {  # what a file may be that is a video by itself
    "pictures": FRAME_SUFFIXES | VIDEO_SUFFIXES,
    "maps": MAP_SUFFIXES,
    "truth": MAP_SUFFIXES | {".npz"},
    "masks": FRAMES["masks"],
}


@dataclass(frozen=True)
class Entry:
    """One video of a folder: a sub-folder of frames or maps, a video file, a single picture or map, a truth ``.npz``.

    Args:
        path: The sub-folder or file.
        kind: What is read of it.
    """

    path: Path
    kind: EntryKind = "pictures"

    @property
    def name(self) -> str:
        """The ``video_id``: the name without a suffix of video, picture or map, in Unicode's composed form."""
        name = clip_name(self.path.name)
        is_file = self.path.is_file() and Path(name).suffix.lower() in WHOLE[self.kind]
        return Path(name).stem if is_file else name

    @property
    def is_video(self) -> bool:
        """Whether it is a video file."""
        return self.path.is_file() and self.path.suffix.lower() in VIDEO_SUFFIXES

    @property
    def is_exact(self) -> bool:
        """Whether it is a truth ``.npz``, which has masks and a camera of its own."""
        return self.path.suffix.lower() == ".npz" and self.path.is_file()

    @cached_property
    def by_number(self) -> dict[int, Path]:
        """The file of each frame by the number that it bears, in order; those of a single file are counted from 0.

        Raises:
            UserError: If the numbers are not told apart, two files are one frame, or a file is broken.
        """
        if not self.path.is_dir():
            return dict.fromkeys(range(self._length), self.path)
        names = [path.name for path in self.path.iterdir() if path.suffix.lower() in FRAMES[self.kind]]
        shown = [name for name in names if not name.startswith(".")]
        return {number: self.path / name for number, name in number_frames(shown, self.path).items()}

    @property
    def _length(self) -> int:
        if self.is_video:
            return len(Clip(self.path))
        return depth_frames(self.path) if self.is_exact else 1

    @property
    def numbers(self) -> list[int]:
        """The numbers of the frames, in order."""
        return list(self.by_number)

    @property
    def files(self) -> list[Path]:
        """The file of each frame, in order; of a video the one file for all."""
        return list(self.by_number.values())

    @property
    def rate(self) -> Fraction | None:
        """Frames a second of a video; None of anything else."""
        return Clip(self.path).rate if self.is_video else None

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        """Frames as uint8 ``3 H W`` each, as a player shows them."""
        return Clip(self.path).read(indices) if self.is_video else [read_frame(self.files[i]) for i in indices]

    def maps(self, indices: Sequence[int]) -> list[Tensor]:
        """Maps as float32 ``1 H W`` each, in the files' own unit."""
        return [read_map(self.files[i]) for i in indices]

    def depth(self, indices: Sequence[int]) -> list[Tensor]:
        """True maps ``1 H W`` in metres: an ``.npy`` holds metres, a 16-bit PNG millimetres."""
        return [read_map(self.files[i]) / (1 if self.files[i].suffix.lower() == ".npy" else 1000) for i in indices]

    def masks(self, indices: Sequence[int]) -> list[Tensor]:
        """Masks as bool ``1 H W`` each, True inside."""
        return [read_mask(self.files[i]) for i in indices]

    def unread(self) -> str:
        """What lies in a folder that holds nothing to read, with what is read; empty if there is something."""
        if not self.path.is_dir() or self.by_number:
            return ""
        there, read = what_is_there(self.path), _listed(FRAMES[self.kind])
        return f"'{self.path}' holds {there}, of which nothing is read; save its frames as {read}."


def entries(folder: Path, kind: EntryKind) -> dict[str, Entry]:
    """The videos of a folder by name.

    Raises:
        UserError: If it is missing or holds none, or two entries have one name.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder '{folder}'; name the one that holds a folder or file for each video.")
    found: dict[str, Entry] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith(STRIP):
            continue
        if path.is_dir() or path.suffix.lower() in WHOLE[kind]:
            entry = Entry(path, kind)
            if entry.name in found:
                raise UserError(f"'{path}' and '{found[entry.name].path}' are one video; remove one of them.")
            found[entry.name] = entry
    if not found:
        there = what_is_there(folder)
        raise UserError(
            f"'{folder}' holds {there}; put a folder for each video there, or files {_listed(WHOLE[kind])}."
        )
    return found


def unread_files(folder: Path, kind: EntryKind) -> str:
    """The suffixes of the files of a folder that are not read, as a clause; empty if there are none."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    others = sorted({path.suffix.lower() for path in files} - WHOLE[kind] - {"", ".txt"})
    return f", and its files {', '.join(others)} are not read ({_listed(WHOLE[kind])} are)" if others else ""


def _listed(suffixes: frozenset[str]) -> str:
    return ", ".join(sorted(suffixes))
