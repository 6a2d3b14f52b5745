"""The portrait world: purity, geometry, motion, and the layout of the clips it writes."""

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree

from datamodules.world import export
from datamodules.world.__main__ import main
from datamodules.world.export import Clip, PortraitSpec, clip_name, make_clips, person_of, render_frames
from datamodules.world.identity import SPECTRUM
from datamodules.world.motion import Motion
from datamodules.world.pose import pose_vertices
from datamodules.world.template import template
from models.rendering import camera

SPEC = PortraitSpec(48, train_people=2, test_people=3, clips_per_person=1, frames_per_clip=4, cross_pairs=2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(SPEC, tmp_path_factory.mktemp("portraits"), workers=0)


def test_a_frame_is_the_same_alone_in_a_batch_and_in_another_order():
    clip = Clip("test", 1, 0)
    together, _ = render_frames(SPEC, clip, [0, 1, 2, 3])
    person_of.cache_clear()
    turned, _ = render_frames(SPEC, clip, [3, 1])
    alone, _ = render_frames(SPEC, clip, [1], truth=False)
    assert torch.equal(together.image[[3, 1]], turned.image)
    assert torch.equal(together.depth[[3, 1]], turned.depth)
    assert torch.equal(together.image[1:2], alone.image)


def test_more_frames_keep_the_beginning_of_a_clip():
    longer = PortraitSpec(48, 2, 3, 1, 40, cross_pairs=2)
    short, _ = render_frames(SPEC, Clip("train", 0, 0), [2], truth=False)
    again, _ = render_frames(longer, Clip("train", 0, 0), [2], truth=False)
    assert torch.equal(short.image, again.image)


def test_the_target_of_a_person_driven_by_himself_is_his_own_clip():
    own = Clip("test", 0, 0)
    expected, _ = render_frames(SPEC, own, [1, 3], truth=False)
    result, _ = render_frames(SPEC, Clip("test", 0, 0, driver=own), [1, 3], truth=False)
    assert torch.equal(result.image, expected.image)


def test_a_target_has_the_drivers_motion_and_the_sources_camera():
    source, driving = Clip("test", 0, 0), Clip("test", 1, 0)
    own, _ = render_frames(SPEC, source, [2], truth=False)
    drive, code = render_frames(SPEC, driving, [2], truth=False)
    target, target_code = render_frames(SPEC, Clip("test", 0, 0, driver=driving), [2], truth=False)
    assert np.array_equal(code, target_code)
    assert torch.equal(own.intrinsics, target.intrinsics)
    assert np.allclose(target.rotation[0], drive.rotation[0])


def test_depth_lies_on_the_posed_mesh_and_landmarks_on_its_vertices():
    clip = Clip("test", 2, 0)
    frames, _ = render_frames(SPEC, clip, [2])
    setting = export.setting_of(SPEC.seed, "test", 2, 0, SPEC.image_size)
    moving = Motion(np.random.SeedSequence(SPEC.seed, spawn_key=(1, 2, 2, 0)), SPEC.frames_per_clip / SPEC.fps)
    world = pose_vertices(person_of(SPEC.seed, "test", 2), [moving(2 / SPEC.fps)])[0]
    mesh = world @ setting.rotation.T + setting.translation
    lifted = camera.unproject(frames.depth[None], frames.intrinsics[None])[0]
    points = lifted[:, frames.depth[0] > 0].T.double().numpy()
    assert len(points) > 500
    assert _distance_to_mesh(points[::7], mesh, template().faces).max() < 1e-4
    pixel = mesh[template().landmarks] @ frames.intrinsics.double().numpy().T
    assert np.abs(pixel[:, :2] / pixel[:, 2:] - frames.landmarks[0].numpy()).max() < 1e-3


def _distance_to_mesh(points: np.ndarray, mesh: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Distance to the plane of the nearest triangle that holds the point's foot, by brute force near each point."""
    corners = mesh[faces]
    near = cKDTree(corners.mean(1)).query(points, k=40)[1]
    a, b, c = (corners[near][:, :, i] for i in range(3))
    normal = np.cross(b - a, c - a)
    area = (normal**2).sum(-1)
    offset = points[:, None] - a
    weights = np.stack(
        [(np.cross(offset, c - a) * normal).sum(-1) / area, (np.cross(b - a, offset) * normal).sum(-1) / area], -1
    )
    inside = (weights > -0.02).all(-1) & (weights.sum(-1) < 1.02)
    distance = np.abs((offset * normal).sum(-1)) / np.sqrt(area)
    return np.where(inside, distance, np.inf).min(1)


def test_the_head_pose_is_that_of_the_rigid_skull():
    frames, _ = render_frames(SPEC, Clip("test", 2, 0), [3], truth=False)
    rotation, translation = frames.rotation[0], frames.translation[0]
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    person = person_of(SPEC.seed, "test", 2)
    nose = person.rest[template().landmarks[30]] * [1, -1, -1]  # no expression moves the tip of the nose by 2 mm
    pixel = frames.intrinsics.double().numpy() @ (rotation @ nose + translation)
    assert np.abs(pixel[:2] / pixel[2] - frames.landmarks[0, 30].numpy()).max() < 0.5


def test_people_differ_in_looks():
    people = [person_of(0, "train", i) for i in range(6)]
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
        "translation": (4, 3), "K": (3, 3), "expression": (4, 25 + 4), "identity": (len(SPECTRUM),),
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
