"""Sets on disk in the layouts that users of real data have; every writer resumes where an earlier call stopped."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from datamodules.world.export.clips import in_parallel, quit_if_reimported, truth_of, write_clips
from datamodules.world.export.media import check_video, to_pixels, write_folder, write_picture, write_video
from datamodules.world.export.multiface import write_multiface
from datamodules.world.scene.codes import person_codes, setting_codes, write_codes
from datamodules.world.scene.view import images_of
from datamodules.world.sets.avatar import AvatarSpec
from datamodules.world.sets.claims import claimed
from datamodules.world.sets.edit_pairs import EditSpec
from datamodules.world.sets.portrait_frames import batches, person_of, render_frames, setting_shown
from datamodules.world.sets.portraits import PortraitClip, PortraitSpec, clips, frame_count, record_of
from datamodules.world.sets.samples import EditPairs, PortraitFrames, Spec
from models.errors import UserError
from models.files import read_arrays, write_arrays, write_csv, write_json, write_json_items, write_text
from models.reading import read_json, reading

_FFHQ_FOLDER = 1000
_PICTURES = ("image", "target", "train_target", "mask")
_WORDS = ("edit", "style", "source_prompt", "prompt")


def write_layout(spec: Spec, layout: str, folder: Path, workers: int | None = None) -> Path:
    """Writes a set to a folder in the named layout; a finished folder returns at once.

    Args:
        spec: The set.
        layout: ``voxceleb``, ``hdtf``, ``vfhq`` or ``ffhq`` for portraits, ``multiface`` for avatars, ``pairs`` for
            edits.
        folder: Where to; empty, new, or holding an earlier call's part of the same set in the same layout.
        workers: Processes; as many as there are cores if None, none beside this one if 0.

    Raises:
        UserError: If there is no such layout, it cannot hold the set, the folder holds something else, or the disk is
            full.
    """
    kind, write = _layout(layout)
    if not isinstance(spec, kind):
        fitting = [name for name, (known, _) in LAYOUTS.items() if isinstance(spec, known)]
        raise UserError(f"The layout '{layout}' cannot hold this set: name one of {', '.join(fitting)}.")
    quit_if_reimported()
    _check_videos(spec, layout)
    if layout == "voxceleb":  # claims the folder itself, for make_clips writes the same
        return write_clips(spec, folder, workers)  # type: ignore[arg-type]
    with claimed(folder, {**record_of(spec), "layout": layout}) as done:
        if not done:
            write(spec, folder, workers)
    return folder


def _layout(name: str) -> tuple[type, Callable[..., object]]:
    if name not in LAYOUTS:
        raise UserError(f"'{name}' is no layout: name one of {', '.join(LAYOUTS)}.")
    return LAYOUTS[name]


def _check_videos(spec: Spec, layout: str) -> None:
    """Refuses videos that cannot be made, before a folder is claimed for them."""
    if not isinstance(spec, PortraitSpec):
        return
    if layout == "hdtf" and spec.stills:
        raise UserError("Stills make no video: choose the layout voxceleb or ffhq for this set.")
    if layout == "hdtf" or (layout == "voxceleb" and spec.store == "mp4"):
        check_video(spec.image_size, spec.image_size)


def _pixels(spec: PortraitSpec, clip: PortraitClip) -> np.ndarray:
    return np.concatenate([to_pixels(images_of(render_frames(spec, clip, f, False)[0])) for f in batches(spec, clip)])


def _number(spec: PortraitSpec, clip: PortraitClip) -> int:
    return clip.person + (0 if clip.split == "train" else spec.train_people)


def write_hdtf(spec: PortraitSpec, folder: Path, workers: int | None) -> None:
    """Writes clips as HDTF's users have them after cropping: one flat folder of mp4 files, and lists of the splits.

    ``WDA_Person00003_000.mp4`` is clip 0 of person 3 (HDTF: group, name, clip); ``train.txt`` and ``test.txt`` name
    the files of each split, one a line, since HDTF itself has none.
    """
    own = {split: clips(spec, split) for split in ("train", "test")}
    todo = [(spec, folder, c) for part in own.values() for c in part if not (folder / _hdtf_name(spec, c)).exists()]
    in_parallel(_write_hdtf_clip, todo, workers, f"hdtf {spec.hash}")
    for split, part in own.items():
        write_text(folder / f"{split}.txt", "".join(f"{_hdtf_name(spec, clip)}\n" for clip in part))


def _hdtf_name(spec: PortraitSpec, clip: PortraitClip) -> str:
    return f"WDA_Person{_number(spec, clip):05d}_{clip.index:03d}.mp4"


def _write_hdtf_clip(spec: PortraitSpec, folder: Path, clip: PortraitClip) -> None:
    write_video(folder / _hdtf_name(spec, clip), _pixels(spec, clip), spec.fps)


def write_vfhq(spec: PortraitSpec, folder: Path, workers: int | None) -> None:
    """Writes clips as VFHQ's frame folders, ``{train,test}/Clip+<video>+P0+C<clip>+F<first>-<last>/00000000.png``.

    The video's identifier names the seed and the person (``world0id00003``); frames are PNG, eight digits from zero.
    """
    own = [clip for split in ("train", "test") for clip in clips(spec, split)]
    todo = [(spec, folder, clip) for clip in own if not (folder / clip.split / _vfhq_name(spec, clip)).exists()]
    in_parallel(_write_vfhq_clip, todo, workers, f"vfhq {spec.hash}")


def _vfhq_name(spec: PortraitSpec, clip: PortraitClip) -> str:
    video = f"world{spec.seed}id{_number(spec, clip):05d}"
    return f"Clip+{video}+P0+C{clip.index}+F0-{frame_count(spec, clip) - 1}"


def _write_vfhq_clip(spec: PortraitSpec, folder: Path, clip: PortraitClip) -> None:
    write_folder(folder / clip.split / _vfhq_name(spec, clip), _pixels(spec, clip), "{:08d}.png")


def write_ffhq(spec: PortraitSpec, folder: Path, workers: int | None) -> None:
    """Writes single frames as FFHQ: ``images256x256/01000/01234.png``, a thousand pictures a folder, train before test.

    ``ffhq-dataset-v2.json`` tells of every picture its ``category`` (``training`` or ``validation``), its file, size
    and 68 landmarks in pixels, under its number as FFHQ has it. ``truth/01000.npz`` holds landmarks, pose, camera and
    expressions of a folder; ``codes/01000.json`` the codes of its ``people`` and, by number, of the ``settings``.
    """
    total = sum(len(PortraitFrames(spec, split)) for split in ("train", "test"))
    starts = range(0, total, _FFHQ_FOLDER)
    todo = [(spec, folder, start) for start in starts if not (folder / "truth" / f"{start:05d}.npz").exists()]
    in_parallel(_write_ffhq_folder, todo, workers, f"ffhq {spec.hash}")
    entries = ((str(i), entry) for start in starts for i, entry in _ffhq_entries(spec, folder, start))
    write_json_items(folder / "ffhq-dataset-v2.json", entries)


def _ffhq_images(spec: PortraitSpec, folder: Path) -> Path:
    return folder / f"images{spec.image_size}x{spec.image_size}"


def _ffhq_range(spec: PortraitSpec, start: int) -> list[tuple[int, PortraitClip, int]]:
    """The pictures of one folder: number, clip, frame."""
    sets = [PortraitFrames(spec, split) for split in ("train", "test")]
    first = len(sets[0])
    numbers = range(start, min(start + _FFHQ_FOLDER, first + len(sets[1])))
    return [(i, *(sets[0].place(i) if i < first else sets[1].place(i - first))) for i in numbers]


def _write_ffhq_folder(spec: PortraitSpec, folder: Path, start: int) -> None:
    taken = []
    codes: dict[str, dict[str, object]] = {"people": {}, "settings": {}}
    for number, clip, frame in _ffhq_range(spec, start):  # one at a time: a thousand of 1024 pixels are 3 GB
        frames, code = render_frames(spec, clip, [frame], truth=False)
        path = _ffhq_images(spec, folder) / f"{start:05d}" / f"{number:05d}.png"
        write_picture(path, to_pixels(images_of(frames)[0]))
        taken.append((replace(frames, image=None), code))
        person = person_of(spec.seed, clip.split, clip.person)
        codes["people"].setdefault(f"id{_number(spec, clip):05d}", person_codes(person))
        codes["settings"][str(number)] = setting_codes(setting_shown(spec, clip, frame))
    write_codes(folder / "codes" / f"{start:05d}.json", codes)
    truth = truth_of([frames for frames, _ in taken], np.concatenate([code for _, code in taken]))
    write_arrays(folder / "truth" / f"{start:05d}.npz", truth)


def _ffhq_entries(spec: PortraitSpec, folder: Path, start: int) -> list[tuple[int, dict[str, object]]]:
    path, pictures = folder / "truth" / f"{start:05d}.npz", _ffhq_range(spec, start)
    with reading(path, "truth of pictures", "delete it and run the command again."):
        landmarks = read_arrays(path)["landmarks"].reshape(len(pictures), 68, 2).astype(float).round(2).tolist()
    images = _ffhq_images(spec, folder).name
    size = [spec.image_size, spec.image_size]
    return [
        (i, {
            "category": "training" if clip.split == "train" else "validation",
            "person": f"id{_number(spec, clip):05d}",
            "image": {"file_path": f"{images}/{start:05d}/{i:05d}.png", "pixel_size": size, "face_landmarks": points},
        })
        for (i, clip, _), points in zip(pictures, landmarks, strict=True)
    ]  # fmt: skip


def write_pairs(spec: EditSpec, folder: Path, workers: int | None) -> None:
    """Writes edit pairs as folders of equally named pictures and a list.

    ``{train,val,ood}/{image,target,train_target,mask}/000000.png`` are the portrait, its perfect edit, the imperfect
    one to learn from, and the soft mask (grey, 255 = edited); ``prompts/000000.json`` holds the edit, the style and
    both prompts.
    ``{split}/pairs.csv`` names the four files of each pair with these words.
    """
    for split in ("train", "val", "ood"):
        prompts, every = folder / split / "prompts", range(spec.pairs(split))
        todo = [(spec, folder, split, i) for i in every if not (prompts / f"{i:06d}.json").exists()]
        in_parallel(_write_pair, todo, workers, f"{split} pairs {spec.hash}")
        rows = ([f"{name}/{i:06d}.png" for name in _PICTURES] + _prompt_row(prompts / f"{i:06d}.json") for i in every)
        write_csv(folder / split / "pairs.csv", [*_PICTURES, *_WORDS], rows)


def _prompt_row(path: Path) -> list[str]:
    remedy = "delete it and run the command again."
    words = read_json(path, "list of words", remedy)
    with reading(path, "list of words", remedy):
        return [words[name] for name in _WORDS]


def _write_pair(spec: EditSpec, folder: Path, split: str, index: int) -> None:
    sample = EditPairs(spec, split)[index]
    for name in _PICTURES:
        pixels = to_pixels(sample[name].expand(3, -1, -1))
        write_picture(folder / split / name / f"{index:06d}.png", pixels[..., 0] if name == "mask" else pixels)
    write_json(folder / split / "prompts" / f"{index:06d}.json", {name: sample[name] for name in _WORDS})


LAYOUTS: dict[str, tuple[type, Callable[..., object]]] = {
    "voxceleb": (PortraitSpec, write_clips),
    "hdtf": (PortraitSpec, write_hdtf),
    "vfhq": (PortraitSpec, write_vfhq),
    "ffhq": (PortraitSpec, write_ffhq),
    "multiface": (AvatarSpec, write_multiface),
    "pairs": (EditSpec, write_pairs),
}
