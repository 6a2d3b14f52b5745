"""What a set of clips holds and what is wrong with it: ``python -m datamodules.doctor --root DIR``; fetches nothing."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from datamodules.base import DataError
from datamodules.video.clip_sets import ClipSet, Drawing
from datamodules.video.clips import FRAME_SUFFIXES, VIDEO_SUFFIXES, Clip, Framing, find_clips, media_suffix
from datamodules.video.pairs import ClipFinder, read_pairs
from datamodules.video.protocols import CHUNK, chunks
from datamodules.video.samples import FrameReader, SampleKind
from datamodules.video.splits import people
from datamodules.video.truth import truth_file
from datamodules.video.videos import video

HOW_TO_GET = """'{root}' is not there. It should hold
  {root}/train/<person>#<video>#<start>#<end>.mp4   each a folder of frames (0000000.jpg ...) or a video file
  {root}/test/...                                   the same, of other people; PNG frames if you can
VoxCeleb1 is not handed out as video: the annotations are public, the pictures belong to their owners on YouTube.
  1. Ask for the annotations at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ and follow their terms.
  2. Cut and scale the videos with https://github.com/AliaksandrSiarohin/video-preprocessing (its vox-metadata.csv).
  3. Put its train and test folders there, or point data.init_args.root to them, and run this again.
VoxCeleb2's own folders, <person>/<video>/<utterance>.mp4 in train and test, are linked so with --link NEW.
Any other face videos will do in the same layout; the built-in portraits need nothing."""

FITTED: tuple[SampleKind, ...] = ("pairs", "triplets")  # what DaGAN and its depth network are fitted to
WHAT_IS_READ = (
    f"a clip is a folder of {', '.join(sorted(FRAME_SUFFIXES))}, or a video {', '.join(sorted(VIDEO_SUFFIXES))}, "
    "both in train or test (or in the root, without these); convert it or move it there."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report; 0 if nothing is wrong, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m datamodules.doctor", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="the folder with train and test")
    parser.add_argument(
        "--all-frames", action="store_true", help="decode every frame, not the first and last of a clip"
    )
    parser.add_argument(
        "--link",
        type=Path,
        metavar="NEW",
        help="link clips that lie deeper, as <person>/<video>/<utterance>.mp4, as NEW/<split>/<person>#<video>#...",
    )
    kept = "people kept for validation, as data.init_args.val_people has it"
    parser.add_argument("--val-people", type=int, default=1, help=kept)
    options = parser.parse_args(arguments)
    if options.root.exists() and not options.root.is_dir():
        raise DataError(f"'{options.root}' is a file: name the folder with train and test.")
    if not options.root.is_dir():
        print(HOW_TO_GET.format(root=options.root))
        return 1
    if options.link:
        print(f"{link(options.root, options.link)} clips linked in '{options.link}'.")
        return 0
    faults = list(examine(options.root, options.all_frames, options.val_people))
    print(f"{len(faults)} faults." if faults else "Nothing is wrong.")
    return int(bool(faults))


def link(root: Path, new: Path) -> int:
    """Links each clip of a set whose clips lie deeper, named by the folders on the way; the number of clips.

    Raises:
        DataError: If there is nothing to link, or a link cannot be made.
    """
    splits = _splits(root).values()
    clips = {path: split for split in splits for path in _clips_below(split)}  # all, before the first link is made
    if not clips:
        raise DataError(f"There is no clip to link in '{root}', however deep: {WHAT_IS_READ}")
    for path, split in clips.items():
        place = new / split.relative_to(root) / "#".join(path.relative_to(split).parts)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path.absolute())
        except OSError as error:
            raise DataError(f"'{place}' cannot be made ({error.strerror}): name a new folder.") from error
    return len(clips)


def examine(root: Path, all_frames: bool = False, val_people: int = 1) -> Iterator[str]:
    """Prints what there is, and prints and yields each fault."""
    told = []
    for fault in _faults(root, all_frames):
        told.append(fault)
        yield fault
    yield from (_said(fault) for fault in _refusals(root, val_people) if fault not in told)


def _refusals(root: Path, val_people: int) -> list[str]:
    """What the fits would say of the clips to train on, each once; of none that are there to be tested alone."""
    if (root / "test").exists() and not (root / "train").exists():
        return []
    clips, told = ClipSet(root, FrameReader(Framing(1)), seed=0, drop_leaked=True), []
    for sample in FITTED:
        try:
            clips.fit_samples(Drawing(sample), None, val_people, 1)
        except DataError as error:
            told.append(str(error))
    return list(dict.fromkeys(told))


def _faults(root: Path, all_frames: bool) -> Iterator[str]:
    splits: dict[str, list[Clip]] = {}
    for name, folder in _splits(root).items():
        try:
            splits[name] = find_clips(folder)
            yield from _examine_split(root, name, splits[name], all_frames)
        except DataError as error:
            yield _said(str(error))
    for fault in (*_unread(root, splits), *_leaks(splits), *_lists(root, splits)):
        yield _said(fault)


def _said(fault: str) -> str:
    print(f"  wrong: {fault}")
    return fault


def _splits(root: Path) -> dict[str, Path]:
    """The folders that hold clips, as `datamodules.video.splits.split_clips` takes them."""
    known = {name: root / name for name in ("train", "test") if (root / name).exists()}
    return known or {"all (no train or test: a fifth of the people will be the test)": root}


def _clips_below(folder: Path) -> Iterator[Path]:
    """The video files of a folder and the folders with frames, however deep."""
    for path in _entries(folder):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not Clip(path).at_least(1):
            yield from _clips_below(path)
        elif path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES:
            yield path


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, in the order of the names.

    Raises:
        DataError: If it is a file, or cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"'{folder}' cannot be read ({error.strerror}): put a folder of clips there.") from error


def _examine_split(root: Path, name: str, clips: list[Clip], all_frames: bool) -> Iterator[str]:
    sizes: Counter[str] = Counter()
    frames, faults = 0, []
    for clip in tqdm(clips, desc=name, leave=False):
        faulty, length = _examine_clip(clip, all_frames, sizes, "reenactment" if name == "test" else "training")
        faults += faulty
        frames += length
    known = sum(truth_file(root, clip).is_file() for clip in clips)
    print(f"{name}: {len(people(clips))} people, {len(clips)} clips, {frames} frames; truth of {known} clips")
    print(f"  sizes: {', '.join(f'{size} ({count} frames looked at)' for size, count in sizes.most_common(5))}")
    yield from map(_said, faults)


def _examine_clip(clip: Clip, all_frames: bool, sizes: Counter[str], use: str) -> tuple[list[str], int]:
    """The faults of a clip and its length; counts the sizes of its frames."""
    faults = []
    try:
        length = len(clip)
    except DataError as error:
        return [str(error)], 0
    if length < 2:
        faults.append(f"'{clip.path}' has {length} frames: it is left out of {use}.")
    indices = range(length) if all_frames or length < 2 else (0, length - 1)
    for piece in chunks(indices, 1 if clip.is_folder else CHUNK):
        try:
            for _, height, width in (frame.shape for frame in clip.read(piece)):
                sizes[f"{width} x {height}{_pixel_shape(clip)}"] += 1
        except DataError as error:
            faults.append(str(error))
    return list(dict.fromkeys(faults)), length


def _pixel_shape(clip: Clip) -> str:
    """Says it of pixels that are not square; empty of square ones."""
    aspect = None if clip.is_folder else video(clip.path).pixel_aspect
    return "" if aspect in (None, 1) else f" of pixels {aspect} as wide as high, which are read as squares"


def _unread(root: Path, splits: dict[str, list[Clip]]) -> Iterator[str]:
    """Pictures and videos that lie where they are not read, by folder and kind."""
    folders = {root, *(folder for folder in _splits(root).values() if folder.is_dir())}  # others are told of before
    for folder in sorted(folders):
        holds_clips = folder in _splits(root).values()
        yield from _unread_in([folder], VIDEO_SUFFIXES if holds_clips else frozenset(), f"'{folder}' itself")
    for name, clips in splits.items():
        yield from _unread_in([c.path for c in clips if c.is_folder], FRAME_SUFFIXES, f"the clips of {name}")


def _unread_in(folders: list[Path], read: frozenset[str], where: str) -> Iterator[str]:
    """Names the kinds of pictures and videos in some folders that are not read there."""
    kinds: dict[str, list[Path]] = {}
    for path in (path for folder in folders for path in _entries(folder)):
        suffix = "" if path.name.startswith(".") or path.is_dir() else media_suffix(path.name)
        if suffix and suffix not in read:
            kinds.setdefault(suffix, []).append(path)
    for suffix, paths in kinds.items():
        first = f"'{paths[0]}'" + (f" and {len(paths) - 1} more {suffix}" if paths[1:] else "")
        yield f"{first} in {where} {'are' if paths[1:] else 'is'} not read: {WHAT_IS_READ}"


def _leaks(splits: dict[str, list[Clip]]) -> list[str]:
    train, test = (set(people(splits.get(name, []))) for name in ("train", "test"))
    return [f"{name} is in both train and test." for name in sorted(train & test)]


def _lists(root: Path, splits: dict[str, list[Clip]]) -> Iterator[str]:
    finder = ClipFinder(splits.get("test", []), root / "targets")
    for path in sorted(root.glob("*pairs.csv")):
        try:
            print(f"{path.name}: {len(read_pairs(path, finder, same_person=path.name == 'self_pairs.csv'))} pairs")
        except DataError as error:
            yield str(error)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DataError as error:
        sys.exit(str(error))
