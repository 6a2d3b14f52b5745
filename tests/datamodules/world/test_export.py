"""Clips: pure frames, pair lists, and a set that no kill leaves half done."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.world.body.expression import NAMES
from datamodules.world.export import clips
from datamodules.world.export.clips import (
    PortraitClip,
    PortraitSpec,
    clip_name,
    make_clips,
    person_of,
    render_frames,
    write_clips,
)
from datamodules.world.scene.codes import person_codes, setting_codes
from datamodules.world.sets import portrait_frames, portraits
from datamodules.world.sets.frame_pairs import cross_frame_pairs, self_frame_pairs
from models.errors import UserError

SPEC = PortraitSpec(48, train_people=2, test_people=3, clips_per_person=1, frames_per_clip=4, cross_pairs=2)
LISTS = PortraitSpec(48, 1, 4, 1, 20, cross_pairs=6, test_clips_per_person=3, frame_pairs=50)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(SPEC, tmp_path_factory.mktemp("portraits"), workers=0)


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def truth_of(folder: Path, split: str, name: str):
    return np.load(folder / "truth" / split / f"{name.removesuffix('.mp4')}.npz")


def test_a_frame_is_the_same_alone_in_a_batch_and_in_another_order():
    clip = PortraitClip("test", 1, 0)
    together, _ = render_frames(SPEC, clip, [0, 1, 2, 3])
    person_of.cache_clear()
    turned, _ = render_frames(SPEC, clip, [3, 1])
    alone, _ = render_frames(SPEC, clip, [1], truth=False)
    assert torch.equal(together.image[[3, 1]], turned.image)
    assert torch.equal(together.depth[[3, 1]], turned.depth)
    assert torch.equal(together.image[1:2], alone.image)


def test_more_frames_keep_the_beginning_of_a_clip():
    longer = PortraitSpec(48, 2, 3, 1, 40, cross_pairs=2)
    short, _ = render_frames(SPEC, PortraitClip("train", 0, 0), [2], truth=False)
    again, _ = render_frames(longer, PortraitClip("train", 0, 0), [2], truth=False)
    assert torch.equal(short.image, again.image)


def test_the_target_of_a_person_driven_by_himself_is_his_own_clip():
    own = PortraitClip("test", 0, 0)
    expected, _ = render_frames(SPEC, own, [1, 3], truth=False)
    result, _ = render_frames(SPEC, PortraitClip("test", 0, 0, driver=own), [1, 3], truth=False)
    assert torch.equal(result.image, expected.image)


def test_a_target_has_the_drivers_motion_and_the_sources_camera():
    source, driving = PortraitClip("test", 0, 0), PortraitClip("test", 1, 0)
    own, _ = render_frames(SPEC, source, [2], truth=False)
    drive, code = render_frames(SPEC, driving, [2], truth=False)
    target, target_code = render_frames(SPEC, PortraitClip("test", 0, 0, driver=driving), [2], truth=False)
    assert np.array_equal(code, target_code)
    assert torch.equal(own.intrinsics, target.intrinsics)
    assert np.allclose(target.rotation[0], drive.rotation[0])


def test_frames_carry_the_noise_of_their_camera_and_targets_their_own():
    own, driven = PortraitClip("test", 0, 0), PortraitClip("test", 0, 0, driver=PortraitClip("test", 1, 0))
    assert portrait_frames._grain(SPEC, own).spawn_key != portrait_frames._grain(SPEC, driven).spawn_key
    frames, _ = render_frames(SPEC, own, [1, 2], truth=False)
    behind = frames.image[:, :, :6, :6]  # the background stands still, its noise does not
    assert 0.5 / 255 < float((behind[0] - behind[1]).std()) < 4 / 255


def test_a_moving_background_is_a_function_of_the_frame_and_leaves_the_person_alone():
    still, moving = (PortraitSpec(48, 1, 1, 1, 40, fps=10.0, moving_backgrounds=share) for share in (0.0, 1.0))
    clip = PortraitClip("train", 0, 0)
    frames, _ = render_frames(moving, clip, [0, 30])
    alone, _ = render_frames(moving, clip, [30])
    fixed, _ = render_frames(still, clip, [0, 30])
    assert torch.equal(frames.image[1:], alone.image)
    assert torch.equal(frames.depth, fixed.depth)
    behind = (frames.depth == 0).all(0)[0]
    behind[:, 1:-1] &= behind[:, :-2] & behind[:, 2:]  # away from the outline, whose pixels are mixed
    assert (frames.image[0] - frames.image[1])[:, behind].abs().mean() > 0.005
    assert (fixed.image[0] - fixed.image[1])[:, :4, :4].abs().mean() < 0.01  # noise alone
    many = PortraitSpec(48, 200, 1, 1, 1, moving_backgrounds=0.25)
    assert 30 < sum(portrait_frames.background_moves(many, PortraitClip("train", i, 0)) for i in range(200)) < 70


def test_stills_have_settings_of_their_own_and_a_target_that_of_its_source_frame():
    spec = PortraitSpec(48, 1, 2, 1, 3, cross_pairs=2, stills=True)
    one, other = (portrait_frames.setting_of(0, "test", 0, 0, 48, still) for still in (0, 1))
    assert one.focal != other.focal
    first, second = (render_frames(spec, PortraitClip("test", 0, 0), [i], False)[0] for i in (0, 1))
    assert not torch.equal(first.intrinsics, second.intrinsics)
    itself = PortraitClip("test", 0, 0, driver=PortraitClip("test", 0, 0), still=1)
    assert torch.equal(render_frames(spec, itself, [1], False)[0].image, second.image)
    assert torch.equal(render_frames(spec, itself, [0], False)[0].intrinsics, second.intrinsics)
    with pytest.raises(ValueError, match="one at a time"):
        render_frames(spec, PortraitClip("test", 0, 0), [0, 1])


def test_the_layout_on_disk(written: Path):
    assert written.name == SPEC.hash
    record = json.loads((written / "world.json").read_text())
    assert record["hash"] == SPEC.hash
    assert record["clips"] == {"train": 2, "test": 3, "targets": 2}
    train, test = (sorted(p.name for p in (written / s).iterdir()) for s in ("train", "test"))
    assert train == ["id00000#v000#000000#000003.mp4", "id00001#v000#000000#000003.mp4"]
    assert not {n[:7] for n in train} & {n[:7] for n in test}
    frames = sorted(p.name for p in (written / "train" / train[0]).iterdir())
    assert frames == [f"{i:07d}.jpg" for i in range(4)]
    assert sorted(p.name for p in (written / "test" / test[0]).iterdir()) == [f"{i:07d}.png" for i in range(4)]
    assert not [p for p in written.rglob(".*") if p.name != ".lock"]


def test_truth_beside_the_clips(written: Path):
    name = clip_name(SPEC, PortraitClip("test", 0, 0))
    truth = truth_of(written, "test", name)
    shapes = {key: truth[key].shape for key in truth.files}
    frames, codes = render_frames(SPEC, PortraitClip("test", 0, 0), [2])
    assert shapes == {
        "depth": (4, 48, 48), "skin": (4, 48, 48), "landmarks": (4, 68, 2), "rotation": (4, 3, 3),
        "translation": (4, 3), "K": (3, 3), "expression": (4, len(NAMES) + 4), "identity": (50,),
    }  # fmt: skip
    assert truth["depth"].dtype == np.float32
    assert truth["skin"].dtype == bool
    assert (truth["depth"][truth["skin"]] > 0.3).all()
    assert 0.03 < truth["skin"].mean() < 0.6
    train = np.load(next((written / "truth" / "train").glob("*.npz")))
    assert not {"depth", "skin"} & set(train.files)
    assert np.array_equal(frames.depth[0, 0].numpy(), truth["depth"][2])
    assert np.array_equal(codes[0].astype(np.float32), truth["expression"][2])
    told = json.loads((written / "codes" / "test" / f"{name.removesuffix('.mp4')}.json").read_text())
    assert told["person"] == person_codes(person_of(SPEC.seed, "test", 0))
    assert told["setting"] == setting_codes(portrait_frames.setting_of(SPEC.seed, "test", 0, 0, 48))
    saved = np.asarray(Image.open(written / "test" / name / "0000002.png"))
    assert np.array_equal(saved, (frames.image[0] * 255).round().byte().permute(1, 2, 0).numpy())


def test_pair_lists_name_what_lies_there(written: Path):
    own, cross = table(written / "self_pairs.csv"), table(written / "cross_pairs.csv")
    assert [(row["source"], row["frame"]) for row in own] == [(row["driving"], "0") for row in own]
    assert len(own) == 3
    assert len(cross) == 2
    for row in cross:
        assert row["source"] != row["driving"]
        assert row["target"] == f"{row['source'].removesuffix('.mp4')}__{row['driving']}"
        assert (written / "test" / row["source"]).is_dir()
        assert len(list((written / "targets" / row["target"]).iterdir())) == 4


def test_a_cross_pair_starts_where_source_and_target_look_most_alike(written: Path):
    for row in table(written / "cross_pairs.csv"):
        own = truth_of(written, "test", row["source"])["landmarks"]
        target = truth_of(written, "targets", row["target"])["landmarks"]
        chosen = np.linalg.norm(own[int(row["frame"])] - target[int(row["best_frame"])])
        assert chosen == min(np.linalg.norm(a - b) for a in own for b in target)


def test_the_closest_frames_are_found_whatever_their_place():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(4, 68, 2)), rng.normal(size=(5, 68, 2))
    target[3] = source[2] + 0.1
    assert clips.closest(source, target) == (2, 3)


def test_the_truth_of_a_target_is_the_source_person_under_the_drivers_motion(written: Path):
    row = table(written / "cross_pairs.csv")[0]
    source, driving = (truth_of(written, "test", row[name]) for name in ("source", "driving"))
    target = truth_of(written, "targets", row["target"])
    assert np.array_equal(target["identity"], source["identity"])
    assert np.array_equal(target["expression"], driving["expression"])
    assert np.array_equal(target["rotation"], driving["rotation"])
    assert "depth" not in target.files


def test_cross_videos_go_round_the_clips_and_never_show_a_person_driven_by_himself():
    targets = portraits.clips(LISTS, "targets")
    assert len({t.own for t in targets}) == len(targets) == 6
    assert all(t.person != t.moving.person for t in targets)
    stills = PortraitSpec(48, 0, 5, 1, 4, cross_pairs=20, stills=True)
    pairs = [(t.person, t.moving.person) for t in portraits.clips(stills, "targets")]
    assert sorted(pairs) == [(a, b) for a in range(5) for b in range(5) if a != b]
    assert len({clip_name(stills, t) for t in portraits.clips(stills, "targets")}) == 20


def test_frame_pairs_are_distinct_different_frames_of_one_clip():
    pairs = self_frame_pairs(LISTS, 400)
    assert len(set(pairs)) == 400
    assert all(a != b and max(a, b) < 20 for _, a, b in pairs)
    assert len({clip for clip, _, _ in pairs}) == LISTS.test_clips
    every = self_frame_pairs(PortraitSpec(48, 0, 2, 1, 3), 99)
    assert len(set(every)) == len(every) == 2 * 3 * 2
    crowd = PortraitSpec(48, 0, 130, 1, 20)
    assert len({clip for clip, _, _ in self_frame_pairs(crowd, 2083)}) == 100


def test_cross_frame_pairs_are_distinct_frames_of_the_cross_videos():
    pairs = cross_frame_pairs(LISTS, 50)
    assert len(set(pairs)) == 50
    assert {target for target, _ in pairs} <= set(portraits.clips(LISTS, "targets"))
    assert cross_frame_pairs(PortraitSpec(48, 1, 2, 1, 4), 50) == []


def test_test_images_are_shared_out_evenly():
    spec = PortraitSpec(48, 1, 5, 1, 4, stills=True, test_images=17)
    counts = [portraits.frame_count(spec, clip) for clip in portraits.clips(spec, "test")]
    assert counts == [4, 4, 3, 3, 3]
    assert clip_name(spec, PortraitClip("test", 4, 0)).endswith("#000002.mp4")


def test_an_interrupted_set_is_completed_and_a_finished_one_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Path
):
    real, calls = clips.write_clip, []

    def failing(spec: PortraitSpec, folder: Path, clip: PortraitClip) -> None:
        if len(calls) == 3:
            (folder / "test").mkdir(exist_ok=True)
            (folder / "test" / f".{clip_name(spec, clip)}").mkdir()  # what a kill leaves behind
            raise KeyboardInterrupt
        calls.append(clip)
        real(spec, folder, clip)

    monkeypatch.setattr(clips, "write_clip", failing)
    with pytest.raises(KeyboardInterrupt):
        make_clips(SPEC, tmp_path, workers=0)
    assert not (tmp_path / SPEC.hash / "world.json").exists()
    resumed = []
    monkeypatch.setattr(clips, "write_clip", lambda s, f, c: (resumed.append(c), real(s, f, c)))
    folder = make_clips(SPEC, tmp_path, workers=0)
    assert len(resumed) == 4
    assert not set(resumed) & set(calls)
    make_clips(SPEC, tmp_path, workers=0)
    assert len(resumed) == 4
    ours, theirs = ({p.relative_to(f): p for p in f.rglob("*.*g")} for f in (written, folder))
    assert ours.keys() == theirs.keys()
    assert all(path.read_bytes() == theirs[name].read_bytes() for name, path in ours.items())


def test_clips_as_video_files(tmp_path: Path):
    spec = PortraitSpec(48, 1, 1, 1, 4, fps=29.97, store="mp4")
    folder = make_clips(spec, tmp_path, workers=0)
    path = folder / "test" / clip_name(spec, PortraitClip("test", 0, 0))
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
    exact, _ = render_frames(spec, PortraitClip("test", 0, 0), [0, 3], truth=False)
    assert len(frames) == 4
    difference = np.abs(frames[3] / 255 - exact.image[1].permute(1, 2, 0).numpy()).mean()
    assert difference < 0.03


def test_workers_that_end_before_their_work_are_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clips, "as_completed", lambda futures: [future.cancel() for future in futures] and broken())
    monkeypatch.setattr(clips, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    with pytest.raises(UserError, match="put it under `if __name__ == '__main__':`"):
        clips.in_parallel(print, [("a",), ("b",)], workers=1, label="work")


def broken() -> Iterator[Future[None]]:
    """What a pool gives whose processes have died."""
    future: Future[None] = Future()
    future.set_exception(BrokenProcessPool())
    yield future


@pytest.mark.slow
def test_a_script_without_a_main_guard_ends_in_one_sentence(tmp_path: Path):
    script = tmp_path / "mine.py"
    script.write_text(
        "from datamodules.world.export.clips import PortraitSpec, make_clips\n"
        f"make_clips(PortraitSpec(32, 1, 1, 1, 1), {str(tmp_path)!r}, workers=1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=90, env=environment)
    assert result.returncode != 0
    assert "put it under `if __name__ == '__main__':`" in result.stderr.splitlines()[-1]
    assert result.stderr.count("Traceback") == 1


def test_a_specification_is_named_by_its_content():
    assert PortraitSpec(48, 2, 3, 1, 4, cross_pairs=2).hash == SPEC.hash
    assert PortraitSpec(48, 2, 3, 1, 4, cross_pairs=2, seed=1).hash != SPEC.hash


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"cross_pairs": 4}, "raise test_people"),
        ({"image_size": 0}, "positive"),
        ({"store": "avi"}, "'frames' or 'mp4'"),
        ({"test_images": 13}, "change test_images or frames_per_clip"),
    ],
)
def test_impossible_specifications_are_refused(changes: dict, hint: str):
    values = {"image_size": 48, "train_people": 1, "test_people": 3, "clips_per_person": 1, "frames_per_clip": 4}
    with pytest.raises(ValueError, match=hint):
        PortraitSpec(**{**values, **changes})


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds something else \('thesis.tex'\): name an empty or a new folder"):
        write_clips(SPEC, tmp_path, workers=0)
    assert {p.name for p in tmp_path.iterdir()} == {"thesis.tex"}
    with pytest.raises(UserError, match="is a file: name a folder"):
        write_clips(SPEC, tmp_path / "thesis.tex", workers=0)
