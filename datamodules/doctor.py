"""What a set of clips holds and what is wrong with it: ``python -m datamodules.doctor --root DIR``; fetches nothing."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from datamodules.base import DataError
from datamodules.clips import Clip, find_clips
from datamodules.frames import people
from datamodules.pairs import ClipFinder, read_pairs
from datamodules.truth import truth_file

HOW_TO_GET = """'{root}' is not there. It should hold
  {root}/train/<person>#<video>#<start>#<end>.mp4   each a folder of frames (0000000.jpg ...) or a video file
  {root}/test/...                                   the same, of other people; PNG frames if you can
VoxCeleb1 is not handed out as video: the annotations are public, the pictures belong to their owners on YouTube.
  1. Ask for the annotations at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ and follow their terms.
  2. Cut and scale the videos with https://github.com/AliaksandrSiarohin/video-preprocessing (its vox-metadata.csv).
  3. Put its train and test folders there, or point data.init_args.root to them, and run this again.
Any other face videos will do in the same layout; the built-in portraits need nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report; 0 if nothing is wrong, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m datamodules.doctor", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="the folder with train and test")
    parser.add_argument(
        "--all-frames", action="store_true", help="decode every frame, not the first and last of a clip"
    )
    options = parser.parse_args(arguments)
    if not options.root.is_dir():
        print(HOW_TO_GET.format(root=options.root))
        return 1
    faults = list(examine(options.root, options.all_frames))
    print(f"{len(faults)} faults." if faults else "Nothing is wrong.")
    return int(bool(faults))


def examine(root: Path, all_frames: bool = False) -> Iterator[str]:
    """Prints what there is, and prints and yields each fault."""
    splits = {name: find_clips(root / name) for name in ("train", "test") if _has_clips(root / name)}
    if not splits:
        splits = {"all (no train or test: a fifth of the people will be the test)": find_clips(root)}
    for name, clips in splits.items():
        yield from _examine_split(root, name, clips, all_frames)
    for fault in (*_leaks(splits), *_lists(root, splits)):
        print(f"  wrong: {fault}")
        yield fault


def _has_clips(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _examine_split(root: Path, name: str, clips: list[Clip], all_frames: bool) -> Iterator[str]:
    sizes: Counter[str] = Counter()
    frames, faults = 0, []
    for clip in tqdm(clips, desc=name, leave=False):
        found, length = _examine_clip(clip, all_frames, sizes)
        faults += found
        frames += length
    known = sum(truth_file(root, clip).is_file() for clip in clips)
    print(f"{name}: {len(people(clips))} people, {len(clips)} clips, {frames} frames; truth of {known} clips")
    print(f"  sizes: {', '.join(f'{size} ({count} frames looked at)' for size, count in sizes.most_common(5))}")
    for fault in faults:
        print(f"  wrong: {fault}")
        yield fault


def _examine_clip(clip: Clip, all_frames: bool, sizes: Counter[str]) -> tuple[list[str], int]:
    """The faults of a clip and its length; counts the sizes of its frames."""
    faults = []
    try:
        length = len(clip)
    except DataError as error:
        return [str(error)], 0
    if length < 2:
        faults.append(f"'{clip.path}' has {length} frames: it is left out of training.")
    for index in range(length) if all_frames else sorted({0, length - 1} - {-1}):
        try:
            _, height, width = clip.read([index])[0].shape
            sizes[f"{width} x {height}"] += 1
        except DataError as error:
            faults.append(str(error))
    return faults, length


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
