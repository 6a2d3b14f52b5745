"""Clips on disk: the specification of a set, and the writer that a kill cannot leave half done."""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from datamodules.world.motion import Motion
from datamodules.world.person import Person, make_person
from datamodules.world.scene import Frames, render
from datamodules.world.seeds import generator
from datamodules.world.setting import Setting, make_setting
from datamodules.world.template import template

WORLD_VERSION = 12  # raised whenever the same specification would give other files
_SPLITS = {"train": 0, "test": 1}
_CHUNK = 16


@dataclass(frozen=True)
class PortraitSpec:
    """A set of portrait clips; two equal specifications are the same set, to the pixel.

    Args:
        image_size: Side of the frames in pixels.
        train_people: Persons of the training split.
        test_people: Persons of the test split, none of them in training; each has one clip.
        clips_per_person: Clips of each training person.
        frames_per_clip: Frames of every clip.
        fps: Frames a second at which the continuous motion is sampled.
        seed: Seed of everything that is drawn.
        cross_pairs: Cross-identity pairs with their exact targets, at most one a test person.
        store: Folders of frames, or mp4 files (H.264) for the clips and targets.
        depth_splits: Splits that carry depth and skin beside the light truth.

    Raises:
        ValueError: A number that cannot be met, with the remedy.
    """

    image_size: int
    train_people: int
    test_people: int
    clips_per_person: int
    frames_per_clip: int
    fps: float = 25.0
    seed: int = 0
    cross_pairs: int = 0
    store: Literal["frames", "mp4"] = "frames"
    depth_splits: tuple[str, ...] = ("test",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth_splits", tuple(self.depth_splits))
        if min(self.image_size, self.clips_per_person, self.frames_per_clip, self.fps) <= 0:
            raise ValueError("PortraitSpec: image_size, clips_per_person, frames_per_clip and fps must be positive.")
        if self.cross_pairs > self.test_people or (self.cross_pairs and self.test_people < 2):
            raise ValueError(
                f"PortraitSpec: {self.cross_pairs} cross pairs need as many test people and at least two; "
                f"raise test_people (now {self.test_people}) or lower cross_pairs."
            )
        if set(self.depth_splits) - set(_SPLITS) or self.store not in ("frames", "mp4"):
            raise ValueError("PortraitSpec: depth_splits holds 'train' and 'test', store is 'frames' or 'mp4'.")

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the set."""
        text = json.dumps({**asdict(self), "world": WORLD_VERSION}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Clip:
    """One clip of a set: the person's look and setting, and the clip whose motion it shows (its own, if None)."""

    split: str
    person: int
    index: int
    driver: "Clip | None" = None


def clip_name(spec: PortraitSpec, clip: Clip) -> str:
    """The clip's folder, ``person#video#start#end.mp4``; a cross-identity target's is ``source__driving.mp4``."""
    if clip.driver is not None:
        own = clip_name(spec, Clip(clip.split, clip.person, clip.index))
        return f"{own.removesuffix('.mp4')}__{clip_name(spec, clip.driver)}"
    number = clip.person + (0 if clip.split == "train" else spec.train_people)
    return f"id{number:05d}#v{clip.index:03d}#{0:06d}#{spec.frames_per_clip - 1:06d}.mp4"


def clips(spec: PortraitSpec) -> list[Clip]:
    """Every clip of a set, the cross-identity targets last."""
    train = [Clip("train", p, c) for p in range(spec.train_people) for c in range(spec.clips_per_person)]
    test = [Clip("test", p, 0) for p in range(spec.test_people)]
    return train + test + [Clip("test", s, 0, Clip("test", d, 0)) for s, d in cross_identities(spec)]


def cross_identities(spec: PortraitSpec) -> list[tuple[int, int]]:
    """Source and driving persons: a seeded cycle, so that nobody drives himself."""
    rng = generator(np.random.SeedSequence(spec.seed, spawn_key=(9,)))
    order = rng.permutation(spec.test_people).tolist()
    return [(order[i], order[(i + 1) % len(order)]) for i in range(spec.cross_pairs)]


@lru_cache(maxsize=8)
def person_of(seed: int, split: str, person: int) -> Person:
    """A person of a set, kept for the clip's frames."""
    return make_person(np.random.SeedSequence(seed, spawn_key=(_SPLITS[split], person, 0)))


@lru_cache(maxsize=8)
def setting_of(seed: int, split: str, person: int, index: int, size: int) -> Setting:
    """A clip's setting, kept for its frames."""
    face = np.ptp(person_of(seed, split, person).rest[template().landmarks, 1])
    return make_setting(np.random.SeedSequence(seed, spawn_key=(_SPLITS[split], person, 1, index)), size, float(face))


def render_frames(spec: PortraitSpec, clip: Clip, frames: list[int], truth: bool = True) -> tuple[Frames, np.ndarray]:
    """The named frames of a clip and their expression codes ``T 29`` (the last four are the gaze)."""
    moving = clip.driver or clip
    seed = np.random.SeedSequence(spec.seed, spawn_key=(_SPLITS[moving.split], moving.person, 2, moving.index))
    motion = Motion(seed, spec.frames_per_clip / spec.fps)
    moments = [motion(frame / spec.fps) for frame in frames]
    setting = setting_of(spec.seed, clip.split, clip.person, clip.index, spec.image_size)
    view = setting_of(spec.seed, moving.split, moving.person, moving.index, spec.image_size).rotation
    person = person_of(spec.seed, clip.split, clip.person)
    codes = np.stack([np.concatenate([m.expression, m.gaze]) for m in moments])
    return render(person, setting, moments, spec.image_size, truth, view), codes


def make_clips(spec: PortraitSpec, root: Path, workers: int | None = None) -> Path:
    """Writes a set to ``root/<hash>`` and returns that folder; a finished set returns at once.

    Each clip is written aside and renamed, so that an interrupted call goes on where it stopped; world.json comes
    last. Two processes that ask for the same set take turns.

    Args:
        spec: The set.
        root: Folder that holds sets.
        workers: Processes; as many as there are cores if None, none beside this one if 0.
    """
    folder = Path(root) / spec.hash
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not (folder / "world.json").exists():
            _write_all(spec, folder, workers if workers is not None else os.cpu_count() or 1)
            _write_tables(spec, folder)
    return folder


def _write_all(spec: PortraitSpec, folder: Path, workers: int) -> None:
    todo = [clip for clip in clips(spec) if not _place(spec, folder, clip).exists()]
    bar = tqdm(total=len(todo), desc=f"portraits {spec.hash}", unit="clip", disable=None)
    if workers == 0 or len(todo) < 2:
        for clip in todo:
            write_clip(spec, folder, clip)
            bar.update()
        return
    with ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for done in as_completed([pool.submit(write_clip, spec, folder, clip) for clip in todo]):
            done.result()
            bar.update()


def _place(spec: PortraitSpec, folder: Path, clip: Clip) -> Path:
    return folder / ("targets" if clip.driver else clip.split) / clip_name(spec, clip)


def write_clip(spec: PortraitSpec, folder: Path, clip: Clip) -> None:
    """Renders one clip and puts its truth and then its frames in place."""
    place = _place(spec, folder, clip)
    maps = clip.driver is None and clip.split in spec.depth_splits
    frames = range(spec.frames_per_clip)
    chunks = [render_frames(spec, clip, list(frames[i : i + _CHUNK]), maps) for i in range(0, len(frames), _CHUNK)]
    _write_truth(spec, folder / "truth" / place.parent.name / f"{place.stem}.npz", clip, chunks, maps)
    aside = place.parent / f".{place.name}"
    shutil.rmtree(aside, ignore_errors=True)
    images = torch.cat([chunk.image for chunk, _ in chunks])
    place.parent.mkdir(parents=True, exist_ok=True)
    (_write_video if spec.store == "mp4" else _write_frames)(aside, images, clip.split, spec.fps)
    aside.rename(place)


def _pixels(images: Tensor) -> np.ndarray:
    return (images * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _write_frames(aside: Path, images: Tensor, split: str, fps: float) -> None:
    aside.mkdir()
    for number, pixels in enumerate(_pixels(images)):
        if split == "train":
            Image.fromarray(pixels).save(aside / f"{number:07d}.jpg", quality=95)
        else:
            Image.fromarray(pixels).save(aside / f"{number:07d}.png", compress_level=4)


def _write_video(aside: Path, images: Tensor, split: str, fps: float) -> None:
    aside.unlink(missing_ok=True)
    with av.open(str(aside), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = images.shape[3], images.shape[2], "yuv420p"
        stream.options = {"crf": "18", "g": "2"}
        for pixels in _pixels(images):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _write_truth(
    spec: PortraitSpec, path: Path, clip: Clip, chunks: list[tuple[Frames, np.ndarray]], maps: bool
) -> None:
    frames = [chunk for chunk, _ in chunks]
    truth: dict[str, Any] = {
        "landmarks": torch.cat([f.landmarks for f in frames]).numpy().astype(np.float32),
        "rotation": np.concatenate([f.rotation for f in frames]).astype(np.float32),
        "translation": np.concatenate([f.translation for f in frames]).astype(np.float32),
        "K": frames[0].intrinsics.numpy().astype(np.float32),
        "expression": np.concatenate([code for _, code in chunks]).astype(np.float32),
        "identity": person_of(spec.seed, clip.split, clip.person).code.astype(np.float32),
    }
    if maps:
        truth["depth"] = torch.cat([f.depth for f in frames if f.depth is not None]).numpy()
        truth["skin"] = torch.cat([f.skin for f in frames if f.skin is not None]).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".partial.npz")
    np.savez_compressed(aside, **truth)
    aside.rename(path)


def _write_tables(spec: PortraitSpec, folder: Path) -> None:
    own = [clip_name(spec, Clip("test", p, 0)) for p in range(spec.test_people)]
    _write_csv(folder / "self_pairs.csv", ["source", "driving", "frame"], [(name, name, 0) for name in own])
    cross: list[tuple[object, ...]] = []
    for person, driver in cross_identities(spec):
        target = clip_name(spec, Clip("test", person, 0, Clip("test", driver, 0)))
        frame, best_frame = _aligned_frames(folder, own[person], target)
        cross.append((own[person], own[driver], frame, target, best_frame))
    _write_csv(folder / "cross_pairs.csv", ["source", "driving", "frame", "target", "best_frame"], cross)
    counts = {"train": spec.train_people * spec.clips_per_person, "test": spec.test_people, "targets": len(cross)}
    record = {"spec": asdict(spec), "hash": spec.hash, "world_version": WORLD_VERSION, "clips": counts}
    aside = folder / ".world.json"
    aside.write_text(json.dumps(record, indent=2) + "\n")
    aside.rename(folder / "world.json")


def _aligned_frames(folder: Path, source: str, target: str) -> tuple[int, int]:
    """The source frame and the driving frame that show the source person most alike.

    Relative motion supposes that the driving video starts in the source's pose (FOMM, section 3.3). The target is the
    source person as the driving frames pose him, so his landmarks there tell it without a difference of shape.
    """
    names = (("test", source), ("targets", target))
    files = (folder / "truth" / split / f"{name.removesuffix('.mp4')}.npz" for split, name in names)
    ours, theirs = (np.load(file)["landmarks"] for file in files)
    apart = ((ours[:, None] - theirs[None]) ** 2).sum((2, 3))
    frame, best_frame = np.unravel_index(apart.argmin(), apart.shape)
    return int(frame), int(best_frame)


def _write_csv(path: Path, header: list[str], rows: Sequence[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
