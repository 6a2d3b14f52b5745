"""The portrait world: purity, geometry, motion, and the layout of the clips it writes."""

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.world import export
from datamodules.world.__main__ import main
from datamodules.world.export import Clip, PortraitSpec, clip_name, make_clips, person_of, render_frames
from datamodules.world.expression import NAMES, deform
from datamodules.world.head import EYE, EYE_RADIUS
from datamodules.world.identity import MODES, displacement
from datamodules.world.motion import LIMITS, Motion
from datamodules.world.template import template

SPEC = PortraitSpec(48, train_people=2, test_people=3, clips_per_person=1, frames_per_clip=4, cross_pairs=2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(SPEC, tmp_path_factory.mktemp("portraits"), workers=0)


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    return np.clip(np.random.default_rng(0).standard_normal((100, len(MODES))), -2.2, 2.2)


def motion(number: int, span: float = 30.0) -> Motion:
    return Motion(np.random.SeedSequence(3, spawn_key=(number,)), span)


def test_more_frames_keep_the_beginning_of_a_clip():
    longer = PortraitSpec(48, 2, 3, 1, 40, cross_pairs=2)
    short, _ = render_frames(SPEC, Clip("train", 0, 0), [2], truth=False)
    again, _ = render_frames(longer, Clip("train", 0, 0), [2], truth=False)
    assert torch.equal(short.image, again.image)


def test_landmarks_keep_the_order_of_the_field():
    mesh = template()
    assert len(mesh.landmarks) == len(set(mesh.landmarks.tolist())) == 68
    x, y, _ = (deform_neutral()[mesh.landmarks]).T
    assert (np.diff(x[:17]) > 0).all()
    assert y[8] == y[:17].min()
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) < 0).all()
    assert x[36:42].max() < 0 < x[42:48].min()
    assert (y[[37, 38, 43, 44]] > y[[41, 40, 47, 46]] + 0.005).all()
    assert (y[50:53] > y[61:64]).all()
    assert (y[61:64] >= y[65:68][::-1]).all()
    mirrored = np.array([16 - i for i in range(17)])
    assert np.allclose(x[:17], -x[mirrored], atol=1e-9)


def deform_neutral() -> np.ndarray:
    eyes = np.stack([EYE * [-1, 1, 1], EYE])
    return deform(template().position, eyes, 1.0, np.zeros(len(NAMES)), np.zeros(2))


def test_random_heads_are_of_human_size_without_degenerate_faces(codes: np.ndarray):
    mesh = template()
    head = mesh.position[mesh.spans["head"]]
    faces = mesh.faces[(mesh.faces < mesh.spans["head"].stop).all(1)]
    both = np.stack([head[mesh.landmarks[8]], head[-1]])
    for code in codes:
        moved = head + displacement(head, code)
        corners = moved[faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        assert area.min() > 1e-10
        ends = displacement(both, code) + both
        assert 0.20 < ends[1, 1] - ends[0, 1] < 0.28


def test_closed_lids_cover_the_eyeball_and_open_ones_do_not():
    mesh = template()
    eyes = np.stack([EYE * [-1, 1, 1], EYE])
    upper, lower = mesh.landmarks[[37, 38]], mesh.landmarks[[41, 40]]
    for blink, low, high in ((0.0, 0.006, 0.013), (1.0, -0.001, 0.001)):
        strength = np.array([blink if "blink" in name else 0.0 for name in NAMES])
        out = deform(mesh.position, eyes, 1.0, strength, np.zeros(2))
        gap = out[upper, 1] - out[lower, 1]
        assert (gap > low).all()
        assert (gap < high).all()
        distance = np.linalg.norm(out[np.concatenate([upper, lower])] - eyes[0], axis=1)
        assert (distance > EYE_RADIUS).all()


def test_motion_is_smooth_and_stays_within_its_limits():
    for number in range(4):
        track, step = motion(number, 8.0), 1e-3
        times = np.arange(0, 8, 0.03)
        states = [[track(t + k * step) for k in (-1, 0, 1)] for t in times]
        angles = np.array([[m.angles for m in triple] for triple in states])
        expression = np.array([[m.expression for m in triple] for triple in states])
        assert (np.abs(angles[:, 1]) <= LIMITS + 1e-9).all()
        speed = np.diff(angles, axis=1) / step
        assert np.abs(speed).max() < np.radians(420)
        assert np.abs(np.diff(speed, axis=1)).max() < 0.15  # no corner: the speed itself has no jump
        assert expression.min() >= 0
        assert expression.max() <= 1
        assert np.abs(np.diff(expression, axis=1)).max() / step < 25


def test_people_blink_look_around_talk_and_turn():
    times = np.arange(0, 30, 0.05)
    yaw, gaze, rates = [], [], []
    for number in range(5):
        moments = list(map(motion(number), times))
        blink = np.array([m.expression[NAMES.index("blink_left")] for m in moments]) > 0.6
        rates.append((np.diff(blink.astype(int)) == 1).sum() / 30)
        yaw.append(np.ptp([m.angles[0] for m in moments]))
        gaze.append(np.ptp([m.gaze[0] for m in moments]))
    assert 0.15 < np.mean(rates) < 0.7
    assert min(rates) > 0.05
    assert np.degrees(np.mean(yaw)) > 40
    assert np.degrees(min(gaze)) > 15


def test_people_differ_in_shape_and_looks():
    people = [person_of(0, "train", i) for i in range(6)]
    codes = np.array([p.code for p in people])
    distances = np.linalg.norm(codes[:, None] - codes[None], axis=-1) + 99 * np.eye(6)
    assert distances.min() > 3
    colours = np.array([np.concatenate([p.looks.skin, p.looks.hair_colour, p.looks.iris]) for p in people])
    assert (np.linalg.norm(colours[:, None] - colours[None], axis=-1) + np.eye(6)).min() > 0.01
    assert not np.allclose(people[0].code, person_of(0, "test", 0).code)


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


def test_truth_beside_the_clips(written: Path):
    name = clip_name(SPEC, Clip("test", 0, 0))
    truth = np.load(written / "truth" / "test" / f"{name.removesuffix('.mp4')}.npz")
    shapes = {key: truth[key].shape for key in truth.files}
    assert shapes == {
        "depth": (4, 48, 48), "skin": (4, 48, 48), "landmarks": (4, 68, 2), "rotation": (4, 3, 3),
        "translation": (4, 3), "K": (3, 3), "expression": (4, len(NAMES) + 2), "identity": (len(MODES),),
    }  # fmt: skip
    assert truth["depth"].dtype == np.float32
    assert truth["skin"].dtype == bool
    assert (truth["depth"][truth["skin"]] > 0.3).all()
    assert 0.03 < truth["skin"].mean() < 0.6
    train = np.load(next((written / "truth" / "train").glob("*.npz")))
    assert not {"depth", "skin"} & set(train.files)
    frames, _ = render_frames(SPEC, Clip("test", 0, 0), [2])
    assert np.array_equal(frames.depth[0].numpy(), truth["depth"][2])
    saved = np.asarray(Image.open(written / "test" / name / "0000002.png"))
    assert np.array_equal(saved, (frames.image[0] * 255).round().byte().permute(1, 2, 0).numpy())


def test_pair_lists_name_what_lies_there(written: Path):
    own = list(csv.DictReader((written / "self_pairs.csv").open()))
    cross = list(csv.DictReader((written / "cross_pairs.csv").open()))
    assert [(row["source"], row["frame"]) for row in own] == [(row["driving"], "0") for row in own]
    assert len(own) == 3
    assert len(cross) == 2
    for row in cross:
        assert row["source"] != row["driving"]
        assert row["target"] == f"{row['source'].removesuffix('.mp4')}__{row['driving']}"
        assert (written / "test" / row["source"]).is_dir()
        assert len(list((written / "targets" / row["target"]).iterdir())) == 4


def test_a_cross_pair_starts_where_source_and_target_look_most_alike(written: Path):
    for row in csv.DictReader((written / "cross_pairs.csv").open()):
        own = np.load(written / "truth" / "test" / f"{row['source'].removesuffix('.mp4')}.npz")["landmarks"]
        target = np.load(written / "truth" / "targets" / f"{row['target'].removesuffix('.mp4')}.npz")["landmarks"]
        chosen = np.linalg.norm(own[int(row["frame"])] - target[int(row["best_frame"])])
        assert chosen == min(np.linalg.norm(a - b) for a in own for b in target)


def test_the_aligned_frames_are_found_whatever_their_place(tmp_path: Path):
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(4, 68, 2)), rng.normal(size=(5, 68, 2))
    target[3] = source[2] + 0.1
    for split, name, landmarks in (("test", "a", source), ("targets", "a__b", target)):
        (tmp_path / "truth" / split).mkdir(parents=True)
        np.savez(tmp_path / "truth" / split / f"{name}.npz", landmarks=landmarks)
    assert export._aligned_frames(tmp_path, "a.mp4", "a__b.mp4") == (2, 3)


def test_the_truth_of_a_target_is_the_source_person_under_the_drivers_motion(written: Path):
    row = next(csv.DictReader((written / "cross_pairs.csv").open()))
    truth = {
        split: np.load(written / "truth" / split / f"{row[name].removesuffix('.mp4')}.npz")
        for split, name in (("test", "source"), ("targets", "target"))
    }
    driving = np.load(written / "truth" / "test" / f"{row['driving'].removesuffix('.mp4')}.npz")
    assert np.array_equal(truth["targets"]["identity"], truth["test"]["identity"])
    assert np.array_equal(truth["targets"]["expression"], driving["expression"])
    assert np.array_equal(truth["targets"]["rotation"], driving["rotation"])
    assert "depth" not in truth["targets"].files


def test_an_interrupted_set_is_completed_and_a_finished_one_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Path
):
    real, calls = export.write_clip, []

    def failing(spec: PortraitSpec, folder: Path, clip: Clip) -> None:
        if len(calls) == 3:
            (folder / "test").mkdir(exist_ok=True)
            (folder / "test" / f".{clip_name(spec, clip)}").mkdir()  # what a kill leaves behind
            raise KeyboardInterrupt
        calls.append(clip)
        real(spec, folder, clip)

    monkeypatch.setattr(export, "write_clip", failing)
    with pytest.raises(KeyboardInterrupt):
        make_clips(SPEC, tmp_path, workers=0)
    assert not (tmp_path / SPEC.hash / "world.json").exists()
    resumed = []
    monkeypatch.setattr(export, "write_clip", lambda s, f, c: (resumed.append(c), real(s, f, c)))
    folder = make_clips(SPEC, tmp_path, workers=0)
    assert len(resumed) == 4
    assert not set(resumed) & set(calls)
    make_clips(SPEC, tmp_path, workers=0)
    assert len(resumed) == 4
    for path in written.rglob("*.[jp][pn]g"):
        assert path.read_bytes() == (folder / path.relative_to(written)).read_bytes()


def test_clips_as_video_files_written_by_another_process(tmp_path: Path):
    spec = PortraitSpec(48, 1, 1, 1, 4, fps=29.97, store="mp4")
    folder = make_clips(spec, tmp_path, workers=1)
    path = folder / "test" / clip_name(spec, Clip("test", 0, 0))
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert float(container.streams.video[0].average_rate) == pytest.approx(29.97, abs=0.01)
    exact, _ = render_frames(spec, Clip("test", 0, 0), [0, 3], truth=False)
    assert len(frames) == 4
    difference = np.abs(frames[3] / 255 - exact.image[1].permute(1, 2, 0).numpy()).mean()
    assert difference < 0.03


def test_a_specification_is_named_by_its_content():
    assert PortraitSpec(48, 2, 3, 1, 4, cross_pairs=2).hash == SPEC.hash
    assert PortraitSpec(48, 2, 3, 1, 4, cross_pairs=2, seed=1).hash != SPEC.hash


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"cross_pairs": 4}, "raise test_people"),
        ({"image_size": 0}, "positive"),
        ({"store": "avi"}, "'frames' or 'mp4'"),
    ],
)
def test_impossible_specifications_are_refused(changes: dict, hint: str):
    values = {"image_size": 48, "train_people": 1, "test_people": 3, "clips_per_person": 1, "frames_per_clip": 4}
    with pytest.raises(ValueError, match=hint):
        PortraitSpec(**{**values, **changes})


def test_the_command_draws_a_sheet(tmp_path: Path):
    out = tmp_path / "sheet.png"
    main(["sheet", "--out", str(out), "--people", "2", "--frames", "3", "--image-size", "32"])
    assert Image.open(out).size == (96, 64)
