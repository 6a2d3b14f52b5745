"""Clips on disk: the writer of a set of portraits, which a kill cannot leave half done."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import current_process, get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from datamodules.world.body.geometry import Array
from datamodules.world.export.media import to_pixels, write_folder, write_video
from datamodules.world.scene.codes import person_codes, setting_codes, write_codes
from datamodules.world.scene.view import Frames, images_of
from datamodules.world.sets.claims import claimed
from datamodules.world.sets.frame_pairs import cross_frame_pairs, self_frame_pairs
from datamodules.world.sets.portrait_frames import batches, person_of, render_frames, setting_shown
from datamodules.world.sets.portraits import WORLD_VERSION, PortraitClip, PortraitSpec, clip_name, clips, record_of
from datamodules.world.sets.tracked import fitted_depth, labelled_frames
from models.errors import UserError
from models.files import read_arrays, write_arrays, write_csv
from models.reading import reading

__all__ = ["WORLD_VERSION", "PortraitClip", "PortraitSpec", "clip_name", "make_clips", "person_of", "render_frames"]


def make_clips(spec: PortraitSpec, root: Path, workers: int | None = None) -> Path:
    """Writes a set to ``root/<hash>`` and returns that folder; a finished set returns at once.

    Each clip is written aside and renamed, so that an interrupted call goes on where it stopped; world.json comes
    last. Two processes that ask for the same set take turns.

    Args:
        spec: The set.
        root: Folder that holds sets.
        workers: Processes; as many as there are cores if None, none beside this one if 0.

    Raises:
        UserError: If the worker processes cannot start, the disk is full, or the folder holds another set.
    """
    return write_clips(spec, Path(root) / spec.hash, workers)


def write_clips(spec: PortraitSpec, folder: Path, workers: int | None = None) -> Path:
    """Writes a set in the layout of VoxCeleb's users to ``folder`` itself; see `make_clips`.

    ``truth/{train,test,targets}/<clip>.npz`` holds arrays a frame (`truth_of`) and the shape code ``identity``; of the
    test split of studios, and where the training depth is a fit's, also ``fitted_depth`` T H W, metres
    (`tracked.fitted_depth`).
    ``codes/{train,test,targets}/<clip>.json`` all codes of the ``person`` and of the ``setting`` (camera, light, noise;
    of stills a list, one a frame).
    """
    quit_if_reimported()
    counts = {split: len(clips(spec, split)) for split in ("train", "test", "targets")}
    with claimed(folder, {**record_of(spec), "clips": counts}) as done:
        if not done:
            todo = [clip for clip in clips(spec) if not _place(spec, folder, clip).exists()]
            in_parallel(write_clip, [(spec, folder, clip) for clip in todo], workers, f"portraits {spec.hash}")
            _write_pair_lists(spec, folder)
    return folder


def quit_if_reimported() -> None:
    """Ends a worker process that is importing the script which started it; the parent then says what to do.

    Without this, a script without a main guard runs again in its own workers, which wait for the lock of the parent.

    Raises:
        SystemExit: In such a process.
    """
    if getattr(current_process(), "_inheriting", False):  # multiprocessing's own mark of a process that is starting
        raise SystemExit(1)


def in_parallel(work: Callable[..., None], items: Iterable[tuple[Any, ...]], workers: int | None, label: str) -> None:
    """Calls ``work`` with every tuple of arguments, in processes that share nothing, with a progress bar.

    Args:
        work: A function of a module, for it is named to the processes.
        items: Its arguments.
        workers: Processes; as many as there are cores if None, none beside this one if 0.
        label: Of the progress bar.

    Raises:
        UserError: If the processes cannot start or one of them dies.
    """
    todo = list(items)
    bar = tqdm(total=len(todo), desc=label, disable=None)
    workers = min(os.cpu_count() or 1 if workers is None else workers, len(todo))
    if workers == 0 or len(todo) < 2:
        for item in todo:
            work(*item)
            bar.update()
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        try:
            for done in as_completed([pool.submit(work, *item) for item in todo]):
                done.result()
                bar.update()
        except BrokenProcessPool:
            raise UserError(
                "A worker process ended before its work: if a script makes this call, put it under "
                "`if __name__ == '__main__':`; if memory ran out, ask for fewer workers (0 uses none)."
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _place(spec: PortraitSpec, folder: Path, clip: PortraitClip) -> Path:
    return folder / ("targets" if clip.driver else clip.split) / clip_name(spec, clip)


def write_clip(spec: PortraitSpec, folder: Path, clip: PortraitClip) -> None:
    """Renders one clip and puts its truth, its codes and then its frames in place."""
    place, person = _place(spec, folder, clip), person_of(spec.seed, clip.split, clip.person)
    maps = place.parent.name in spec.depth_splits
    chunks, pictures, settings = [], [], []
    for numbers in batches(spec, clip):
        frames, code = labelled_frames(spec, clip, numbers, maps)
        pictures.append(to_pixels(images_of(frames)))
        chunks.append((replace(frames, image=None), code))  # pictures are kept as bytes
        settings.append(setting_codes(setting_shown(spec, clip, numbers[0])))
    truth = truth_of([frames for frames, _ in chunks], np.concatenate([codes for _, codes in chunks]))
    if maps and place.parent.name == "test" and (spec.studio or spec.depth_by == "fit"):
        fits = [fitted_depth(spec, clip, numbers)[:, 0] for numbers in batches(spec, clip)]
        truth["fitted_depth"] = torch.cat(fits).numpy()
    truth["identity"] = person.code.astype(np.float32)
    write_arrays(folder / "truth" / place.parent.name / f"{place.stem}.npz", truth)
    codes = {"person": person_codes(person), "setting": settings if spec.stills else settings[0]}
    write_codes(folder / "codes" / place.parent.name / f"{place.stem}.json", codes)
    pixels = np.concatenate(pictures)
    if spec.store == "mp4":
        write_video(place, pixels, spec.fps)
    else:  # what is only learnt from may lose a little; what is scored may not
        write_folder(place, pixels, "{:07d}.jpg" if clip.split == "train" else "{:07d}.png")


def truth_of(frames: list[Frames], codes: Array) -> dict[str, Any]:
    """What is exactly known of consecutive frames, as arrays; ``K`` is one camera, or one a frame where they differ."""
    cameras = np.stack([f.intrinsics.numpy() for f in frames]).astype(np.float32)
    truth: dict[str, Any] = {
        "landmarks": torch.cat([f.landmarks for f in frames]).numpy().astype(np.float32),
        "rotation": torch.cat([f.rotation for f in frames]).numpy().astype(np.float32),
        "translation": torch.cat([f.translation for f in frames]).numpy().astype(np.float32),
        "K": cameras[0] if (cameras == cameras[0]).all() else cameras,
        "expression": codes.astype(np.float32),
    }
    if frames[0].depth is not None:
        truth["depth"] = torch.cat([f.depth for f in frames if f.depth is not None])[:, 0].numpy()
        truth["skin"] = torch.cat([f.skin for f in frames if f.skin is not None])[:, 0].numpy()
    return truth


def _write_pair_lists(spec: PortraitSpec, folder: Path) -> None:
    rows: list[tuple[object, ...]]
    if spec.frame_pairs is None:
        rows = [(clip_name(spec, clip), clip_name(spec, clip), 0) for clip in clips(spec, "test")]
    else:
        drawn = self_frame_pairs(spec, spec.frame_pairs)
        rows = [(clip_name(spec, c), _frame_entry(spec, c, driving), source) for c, source, driving in drawn]
    write_csv(folder / "self_pairs.csv", ["source", "driving", "frame"], rows)
    aligned = {target: _aligned_frames(spec, folder, target) for target in clips(spec, "targets")}
    chosen: list[tuple[PortraitClip, int | None]] = (
        [(target, None) for target in aligned]
        if spec.frame_pairs is None
        else list(cross_frame_pairs(spec, spec.frame_pairs))
    )
    rows = [_cross_row(spec, target, frame, *aligned[target]) for target, frame in chosen]
    write_csv(folder / "cross_pairs.csv", ["source", "driving", "frame", "target", "best_frame"], rows)


def _cross_row(
    spec: PortraitSpec, target: PortraitClip, driving: int | None, frame: int, best: int
) -> tuple[object, ...]:
    entry = clip_name(spec, target.moving) if driving is None else _frame_entry(spec, target.moving, driving)
    return clip_name(spec, target.own), entry, frame, clip_name(spec, target), best


def _frame_entry(spec: PortraitSpec, clip: PortraitClip, frame: int) -> str:
    return f"{clip_name(spec, clip)}/{frame:07d}.png"


def _aligned_frames(spec: PortraitSpec, folder: Path, target: PortraitClip) -> tuple[int, int]:
    """The source frame and the driving frame that show the source person most alike.

    Relative motion supposes that the driving video starts in the source's pose (FOMM, section 3.3). The target is the
    source person as the driving frames pose him, so his landmarks there tell it without a difference of shape. Of
    stills the source frame is fixed, for the target shows its setting.
    """
    ours = _landmarks(folder, "test", clip_name(spec, target.own))
    first = 0 if target.still is None else target.still
    ours = ours if target.still is None else ours[first : first + 1]
    frame, best_frame = closest(ours, _landmarks(folder, "targets", clip_name(spec, target)))
    return first + frame, best_frame


def _landmarks(folder: Path, split: str, name: str) -> Array:
    path = folder / "truth" / split / f"{name.removesuffix('.mp4')}.npz"
    with reading(path, "truth of a clip", f"delete the folder '{folder}' and run the command again."):
        return np.asarray(read_arrays(path)["landmarks"], float).reshape(-1, 68, 2)


def closest(ours: Array, theirs: Array) -> tuple[int, int]:
    """Which of ``A 68 2`` and which of ``B 68 2`` landmarks are nearest to each other."""
    apart = ((ours[:, None] - theirs[None]) ** 2).sum((2, 3))
    frame, best_frame = np.unravel_index(apart.argmin(), apart.shape)
    return int(frame), int(best_frame)
