"""Clips on disk: a folder of frames or a video file, of which single frames are decoded when they are asked for."""

import mimetypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from datamodules.base import DataError
from datamodules.video.files import VIDEO_SUFFIXES
from datamodules.video.frame_numbers import number_frames, same_form
from datamodules.video.videos import read_video, video

FRAME_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
# Pictures and videos that are not read, and that Python does not know by their names.
OTHER_PICTURES = frozenset({".jfif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".exr", ".tga", ".dng", ".psd"})
OTHER_VIDEOS = frozenset(
    {".y4m", ".yuv", ".ivf", ".264", ".h264", ".265", ".h265", ".hevc", ".obu", ".vob", ".mxf", ".f4v", ".divx"}
    | {".dv", ".m2v", ".ogm", ".rm", ".rmvb", ".nut", ".asf"}
)
Crop = Literal["stretch", "square"]


def read_frame(path: str | Path) -> Tensor:
    """Reads one picture of any colour mode as uint8 RGB ``3 H W``, turned upright by its EXIF tag.

    Grey is repeated over the three channels; transparent parts show white, as a page would.

    Raises:
        DataError: If the file is missing, truncated or no picture, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.array(_to_rgb(image))).permute(2, 0, 1)
    except FileNotFoundError as error:
        raise DataError(f"There is no frame '{path}': restore it or name another one.") from error
    except Exception as error:  # whatever a broken file makes of the decoder
        raise DataError(f"'{path}' is not a readable picture ({error}): replace or delete it.") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ValueError("it holds several pictures; save each as a file of its own")
    if image.mode[0] in "IF":
        raise ValueError(f"mode {image.mode}, more than 8 bits a channel; save it with 8")
    upright = ImageOps.exif_transpose(image)
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    page = Image.new("RGBA", upright.size, "white")
    page.alpha_composite(upright.convert("RGBA"))
    return page.convert("RGB")


@dataclass(frozen=True)
class Framing:
    """How a frame of any size becomes a square of ``size`` pixels.

    Args:
        size: Side in pixels.
        crop: ``stretch`` scales both sides alone (FOMM's preparation of VoxCeleb); ``square`` keeps the aspect
            and cuts the centre.
    """

    size: int
    crop: Crop = "stretch"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise DataError(f"The pictures cannot be brought to {self.size} pixels: give an image size of at least 1.")

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The region that is kept, as top, left, height, width in pixels."""
        if self.crop == "stretch":
            return 0, 0, height, width
        side = min(height, width)
        return (height - side) // 2, (width - side) // 2, side, side

    def image(self, frames: Tensor) -> Tensor:
        """Maps pictures ``... 3 H W`` to ``... 3 size size``, antialiased; one that fits is untouched."""
        if frames.shape[-2:] == (self.size, self.size):
            return frames
        shape = [self.size, self.size]
        return F.resized_crop(frames, *self.box(*frames.shape[-2:]), size=shape, antialias=True)

    def map(self, values: Tensor) -> Tensor:
        """Maps depth or masks ``... H W`` to ``... size size`` by the nearest pixel: no depth between two."""
        top, left, height, width = self.box(*values.shape[-2:])
        rows, columns = (self._nearest(start, length) for start, length in ((top, height), (left, width)))
        return values[..., rows[:, None], columns]

    def camera(self, matrix: Tensor, height: int, width: int) -> Tensor:
        """Maps intrinsics ``... 3 3`` of an ``height x width`` picture; pixel centres are at integers."""
        top, left, kept_height, kept_width = self.box(height, width)
        x, y = self.size / kept_width, self.size / kept_height
        change = torch.tensor(
            [[x, 0, x * (0.5 - left) - 0.5], [0, y, y * (0.5 - top) - 0.5], [0, 0, 1]], dtype=matrix.dtype
        )
        return change @ matrix

    def _nearest(self, start: int, length: int) -> Tensor:
        return start + ((torch.arange(self.size) + 0.5) * length / self.size).long()


@dataclass(frozen=True)
class Clip:
    """A clip: a folder of frames (whatever the folder is called) or a video file.

    Args:
        path: The folder or file; what stands before the first ``#`` of its name is the person.
    """

    path: Path

    @cached_property
    def name(self) -> str:
        """The name without a video suffix: the ``video_id``."""
        return clip_name(self.path.name)

    @property
    def person(self) -> str:
        """Whom the clip shows; a name without ``#`` is a person of its own."""
        return self.name.partition("#")[0]

    @property
    def is_folder(self) -> bool:
        """True of a folder of frames, even if it is named like a video (the habit of VoxCeleb's users)."""
        return self.path.is_dir()

    @property
    def rate(self) -> Fraction | None:
        """Frames a second of a video file; None of a folder, or where the file does not say.

        Raises:
            DataError: If the file cannot be read.
        """
        return None if self.is_folder else video(self.path).rate

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames as `read` gives them: of the first one.

        Raises:
            DataError: If there is no frame, or it cannot be read.
        """
        if not self.is_folder:
            return video(self.path).size
        height, width = self.read([0])[0].shape[-2:]
        return height, width

    def __len__(self) -> int:
        return len(frame_files(self.path)) if self.is_folder else len(video(self.path))

    def at_least(self, count: int) -> bool:
        """Whether there are that many frames; counts no further than needed."""
        if not self.is_folder:
            return len(self) >= count
        with os.scandir(self.path) as entries:
            return any(i >= count for i, _ in enumerate(filter(_is_frame, (e.name for e in entries)), start=1))

    def read(self, indices: Sequence[int]) -> list[Tensor]:
        """Decodes the frames of these indices, and no others that it can help, as uint8 RGB ``3 H W`` each.

        Raises:
            DataError: If a frame is absent or cannot be read.
        """
        self._check(indices)
        if self.is_folder:
            files = frame_files(self.path)
            return [read_frame(self.path / files[index]) for index in indices]
        return read_video(self.path, indices)

    def index_of(self, number: int) -> int | None:
        """The index of the frame whose file bears this number (of a video: the number itself), None if absent."""
        if not self.is_folder:
            return number if 0 <= number < len(self) else None
        numbers = _frame_numbers(self.path)
        return numbers.index(number) if number in numbers else None

    def number_of(self, index: int) -> int:
        """The number that the frame's file bears; the inverse of `index_of`.

        Raises:
            DataError: If the frame is absent.
        """
        self._check([index])
        return _frame_numbers(self.path)[index] if self.is_folder else index

    def _check(self, indices: Sequence[int]) -> None:
        wrong = [index for index in indices if not 0 <= index < len(self)]
        if wrong:
            raise DataError(f"'{self.path}' has {len(self)} frames, but frame {wrong[0]} is asked for.")


def clip_name(name: str) -> str:
    """The name of a clip without a video suffix, so that frames named ``x.mp4/`` and a video ``x.mp4`` agree; NFC."""
    stem, suffix = os.path.splitext(same_form(name))
    return stem if suffix.lower() in VIDEO_SUFFIXES else stem + suffix


def find_clips(folder: Path) -> list[Clip]:
    """The clips of a folder in the order of their names: sub-folders and video files.

    Raises:
        DataError: If the folder is missing or holds none, two have one name, or clips lie deeper.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}': put the clips there or set data.init_args.root.")
    entries = _entries(folder)
    clips = [Clip(Path(entry.path)) for entry in entries if entry.is_dir() or _is_video(entry)]
    if not clips:
        unread = next((f", and '{e.name}' is not read there" for e in entries if media_suffix(e.name)), "")
        raise DataError(f"'{folder}' holds no clip{unread}: put folders of frames or video files there.")
    for clip, other in pairwise(sorted(clips, key=lambda clip: clip.name)):
        if clip.name == other.name:
            raise DataError(f"'{clip.path}' and '{other.path}' are one clip by their names: rename or remove one.")
    for path in (Path(entry.path) for entry in entries if entry.is_dir()):
        if not Clip(path).at_least(1) and (deeper := _clip_below(path)):
            raise DataError(
                f"'{deeper}' lies too deep, as VoxCeleb2's own <person>/<video>/<utterance>.mp4 do: a clip is a folder "
                f"of frames or a video file in '{folder}' itself, named <person>#<video>#<utterance>.mp4; "
                f"python -m datamodules.doctor --root '{_root(folder)}' --link NEW makes a root of such links."
            )
    return clips


def media_suffix(name: str) -> str:
    """The suffix, in small letters, of a file that is a picture or a video by its name; empty of any other."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in FRAME_SUFFIXES | VIDEO_SUFFIXES | OTHER_PICTURES | OTHER_VIDEOS:
        return suffix
    return suffix if (mimetypes.guess_type(f"x{suffix}")[0] or "").startswith(("image/", "video/")) else ""


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds in the order of the names, without hidden files."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"'{folder}' cannot be read ({error.strerror}): see to its permissions.") from error


def _is_video(entry: os.DirEntry[str]) -> bool:
    """Whether it is a video by its name; a link to nowhere is, so that it is missed, a pipe is not."""
    is_named = os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES
    return is_named and (entry.is_file() or entry.is_symlink())


def _clip_below(folder: Path, depth: int = 3) -> Path | None:
    """The first video file, or folder with frames, that lies in a folder or deeper."""
    entries = _entries(folder)
    if video_file := next((entry for entry in entries if _is_video(entry)), None):
        return Path(video_file.path)
    for path in (Path(entry.path) for entry in entries if depth and entry.is_dir()):
        if deeper := path if Clip(path).at_least(1) else _clip_below(path, depth - 1):
            return deeper
    return None


def _root(folder: Path) -> Path:
    return folder.parent if folder.name in ("train", "test") else folder


def frame_files(folder: Path) -> tuple[str, ...]:
    """The names of the frames of a folder in the order of their numbers (2 before 10).

    Raises:
        DataError: If the numbers are not told apart, or two files are one frame (`frame_numbers.number_frames`).
    """
    return _numbered(folder)[1]


def _frame_numbers(folder: Path) -> tuple[int, ...]:
    return _numbered(folder)[0]


@lru_cache(maxsize=4096)
def _numbered(folder: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The numbers of a folder's frames, and their names."""
    frames = number_frames(list(filter(_is_frame, os.listdir(folder))), folder)
    return tuple(frames), tuple(frames.values())


def _is_frame(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in FRAME_SUFFIXES and not name.startswith(".")
