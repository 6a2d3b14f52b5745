"""Layouts: what is written is what users of the real sets have, and the suite's own readers read it."""

import csv
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.base import TestProtocol
from datamodules.video.clips import find_clips
from datamodules.video.frames import VideoFrames
from datamodules.world.body.template import template
from datamodules.world.export import layouts, media, multiface
from datamodules.world.export.layouts import write_layout
from datamodules.world.export.media import to_pixels
from datamodules.world.scene.codes import moment_codes, person_codes, setting_codes
from datamodules.world.sets import avatar
from datamodules.world.sets.avatar import AvatarSpec
from datamodules.world.sets.edit_pairs import EditSpec
from datamodules.world.sets.portrait_frames import person_of, render_frames, setting_of
from datamodules.world.sets.portraits import PortraitClip, PortraitSpec
from datamodules.world.sets.samples import open_split
from models import files
from models.errors import UserError

CLIPS = PortraitSpec(32, 2, 2, 1, 4, cross_pairs=2, frame_pairs=5)
STILLS = PortraitSpec(32, 2, 2, 1, 3, cross_pairs=2, frame_pairs=4, stills=True, test_images=5)
AVATAR = AvatarSpec(48, subjects=1, cameras=2, train_frames=2, test_frames=1, headset_size=32, detail="light")
EDIT = EditSpec(32, 2, 1, 1)


def written(spec, layout: str, folder: Path) -> Path:
    return write_layout(spec, layout, folder / layout, workers=0)


def exact(spec: PortraitSpec, clip: PortraitClip, frame: int) -> np.ndarray:
    return to_pixels(render_frames(spec, clip, [frame], False)[0].image[0])


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next(written(AVATAR, "multiface", tmp_path_factory.mktemp("avatar")).glob("m--*"))


@pytest.mark.parametrize("spec", [CLIPS, STILLS], ids=["clips", "stills"])
def test_the_suites_own_readers_read_the_voxceleb_layout(tmp_path: Path, spec: PortraitSpec):
    folder = written(spec, "voxceleb", tmp_path)
    for task in ("self_reenactment", "cross_reenactment", "depth"):
        data = VideoFrames(str(folder), 32, num_workers=0, test=TestProtocol(task))
        data.setup("test")
        samples = data.test_set
        batches = [samples[i] for i in range(len(samples))]
        if task == "depth":
            clip, frame = batches[1].video_id[0], batches[1].frame[1]
            truth = next(s for s in open_split(spec, "test") if (s["video_id"], s["frame"]) == (clip, frame))
            assert torch.equal(batches[1].depth[1], truth["depth"])
            assert torch.allclose(batches[1].K[1], truth["K"])
        else:
            assert sum(len(batch.frame) for batch in batches) == spec.frame_pairs
            assert all(batch.target.shape == batch.driving.shape for batch in batches)
    target = open_split(spec, "targets")[1]
    place = folder / "targets" / f"{target['video_id']}.mp4" / f"{target['frame']:07d}.png"
    assert np.array_equal(pixels(place), to_pixels(target["image"]))
    data = VideoFrames(str(folder), 32, num_workers=0)
    data.setup("fit")
    assert data.train_set[0]["source"].shape == (3, 32, 32)


def test_hdtf_is_a_flat_folder_of_videos(tmp_path: Path):
    folder = written(CLIPS, "hdtf", tmp_path)
    clips = find_clips(folder)
    assert [clip.path.name for clip in clips] == [f"WDA_Person{i:05d}_000.mp4" for i in range(4)]
    assert (folder / "test.txt").read_text() == "WDA_Person00002_000.mp4\nWDA_Person00003_000.mp4\n"
    assert [len(clip) for clip in clips] == [4] * 4
    frame = clips[3].read([2])[0].permute(1, 2, 0).numpy()
    assert np.abs(frame - exact(CLIPS, PortraitClip("test", 1, 0), 2).astype(float)).mean() < 8
    with pytest.raises(UserError, match="Stills make no video"):
        written(STILLS, "hdtf", tmp_path / "other")
    with pytest.raises(UserError, match="even image size, not 33 x 33"):
        written(replace(CLIPS, image_size=33), "hdtf", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_vfhq_is_a_folder_of_png_frames_a_clip(tmp_path: Path):
    folder = written(CLIPS, "vfhq", tmp_path)
    clips = find_clips(folder / "test")
    assert [clip.path.name for clip in clips] == [f"Clip+world0id{i:05d}+P0+C0+F0-3" for i in (2, 3)]
    assert sorted(p.name for p in clips[0].path.iterdir()) == [f"{i:08d}.png" for i in range(4)]
    frame = clips[0].read([3])[0].permute(1, 2, 0).numpy()
    assert np.array_equal(frame, exact(CLIPS, PortraitClip("test", 0, 0), 3))


def test_ffhq_numbers_its_pictures_in_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert layouts._FFHQ_FOLDER == 1000
    monkeypatch.setattr(layouts, "_FFHQ_FOLDER", 4)
    folder = written(STILLS, "ffhq", tmp_path)
    names = [f"images32x32/{i - i % 4:05d}/{i:05d}.png" for i in range(11)]
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*.png")) == names
    told = json.loads((folder / "ffhq-dataset-v2.json").read_text())
    assert [told[str(i)]["image"]["file_path"] for i in range(11)] == names
    assert [told[str(i)]["category"] for i in range(11)] == ["training"] * 6 + ["validation"] * 5
    frames, _ = render_frames(STILLS, PortraitClip("test", 0, 0), [1])
    assert np.array_equal(pixels(folder / names[7]), to_pixels(frames.image[0]))
    assert np.allclose(told["7"]["image"]["face_landmarks"], frames.landmarks[0], atol=0.006)
    codes = json.loads((folder / "codes" / "00004.json").read_text())
    assert sorted(codes["people"]) == ["id00001", "id00002"]
    assert codes["people"][told["7"]["person"]] == person_codes(person_of(0, "test", 0))
    assert codes["settings"]["7"] == setting_codes(setting_of(0, "test", 0, 0, 32, 1))


def krt(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """As Multiface's loaders read it: blocks of a name, K, distortion, [R|t] and a blank line."""
    lines = path.read_text().split("\n")
    found = {}
    for start in range(0, len(lines) - 7, 9):
        numbers = [np.array(line.split(), float) for line in lines[start + 1 : start + 8]]
        assert numbers[3].tolist() == [0] * 5
        found[lines[start]] = np.stack(numbers[:3]), np.stack(numbers[4:])
    return found


def test_multiface_vertices_project_onto_the_pictures(capture: Path):
    cameras, segment = krt(capture / "KRT"), "EXP_free_face"
    vertices = np.fromfile(capture / f"tracked_mesh/{segment}/000000.bin", np.float32).reshape(-1, 3)
    pose = np.loadtxt(capture / f"tracked_mesh/{segment}/000000_transform.txt")
    world = vertices[template(AVATAR.detail).landmarks] @ pose[:, :3].T + pose[:, 3]
    for name, camera in AVATAR.dome().items():
        matrix, extrinsic = cameras[name]
        seen = (world @ extrinsic[:, :3].T + extrinsic[:, 3]) @ matrix.T
        frames = avatar.dome_view(AVATAR, "test", 0, 0, camera)
        assert np.abs(seen[:, :2] / seen[:, 2:] - frames.landmarks[0].numpy()).max() < 0.01
        assert 500 < seen[:, 2].min() < 1500  # millimetres
        assert np.array_equal(pixels(capture / "images" / segment / name / "000000.png"), to_pixels(frames.image[0]))


def test_multiface_meshes_frames_and_statistics(capture: Path):
    listed = [line.split() for line in (capture / "frame_list.txt").read_text().splitlines()]
    train = "E001_peak_expressions"
    assert listed == [[train, "000000"], [train, "000001"], ["EXP_free_face", "000000"]]
    mesh = [line.split() for line in (capture / f"tracked_mesh/{train}/000001.obj").read_text().splitlines()]
    points = np.array([line[1:] for line in mesh if line[0] == "v"], float)
    stored = [np.fromfile(capture / f"tracked_mesh/{train}/00000{i}.bin", np.float32).reshape(-1, 3) for i in (0, 1)]
    assert np.abs(points - stored[1]).max() < 1e-3
    faces = np.array([[int(corner.split("/")[0]) for corner in line[1:]] for line in mesh if line[0] == "f"]) - 1
    assert np.array_equal(faces, template(AVATAR.detail).faces)
    assert sum(line[0] == "vt" for line in mesh) == len(points) > faces.max()
    mean = np.fromfile(capture / "vert_mean.bin", np.float32).reshape(-1, 3)
    assert np.allclose(mean, (stored[0] + stored[1]) / 2, atol=1e-3)
    variance = (((stored[0] - mean) ** 2).mean() + ((stored[1] - mean) ** 2).mean()) / 2
    assert float((capture / "vert_var.txt").read_text()) == pytest.approx(variance, rel=1e-3)
    average = pixels(capture / f"unwrapped_uv_1024/{train}/average/000000.png").astype(float)
    views = [pixels(capture / f"unwrapped_uv_1024/{train}/cam0{i}/000000.png").astype(float) for i in (0, 1)]
    once = (views[0].sum(-1) > 0) ^ (views[1].sum(-1) > 0)
    assert once.mean() > 0.01
    assert np.abs(average - views[0] - views[1])[once].max() <= 1  # seen by one camera: its value is the mean
    assert len(np.loadtxt(capture / f"keypoints/{train}/000000.txt")) == 68
    assert pixels(capture / f"headset/{train}/mouth/000000.png").shape == (32, 32)
    state = json.loads((capture / f"codes/{train}/000001.json").read_text())
    assert state == moment_codes(avatar.moment(AVATAR, "train", 0, 1))
    subject = json.loads((capture / "codes/subject.json").read_text())
    assert subject["person"] == person_codes(avatar.subject(0, 0, "light"))
    assert subject["setting"] == setting_codes(avatar.studio(0, 0, 48))


def test_edit_pairs_are_equally_named_pictures_and_a_list(tmp_path: Path, quick_pairs: None):
    folder = written(EDIT, "pairs", tmp_path)
    with (folder / "train" / "pairs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["target"] for row in rows] == ["target/000000.png", "target/000001.png"]
    sample = open_split(EDIT, "train")[1]
    for name in ("image", "target", "train_target", "mask"):
        expected = to_pixels(sample[name].expand(3, -1, -1))
        stored = pixels(folder / "train" / rows[1][name])
        assert np.array_equal(stored, expected[..., 0] if name == "mask" else expected)
    assert (rows[1]["edit"], rows[1]["style"], rows[1]["prompt"]) == ("sheep", "realistic", "train 1")
    assert {p.parent.parent.name for p in folder.rglob("mask/*.png")} == {"train", "val", "ood"}


# What each layout writes at a time; voxceleb has a test of its own.
UNITS = {
    "hdtf": (CLIPS, layouts, "_write_hdtf_clip"),
    "vfhq": (CLIPS, layouts, "_write_vfhq_clip"),
    "ffhq": (STILLS, layouts, "_write_ffhq_folder"),
    "pairs": (EDIT, layouts, "_write_pair"),
    "multiface": (AVATAR, multiface, "_write_frame"),
}


def tree(folder: Path) -> dict[str, bytes]:
    files_in = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files_in}


@pytest.mark.parametrize("layout", UNITS)
def test_an_interrupted_layout_goes_on_and_a_finished_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_pairs: None, layout: str
):
    monkeypatch.setattr(layouts, "_FFHQ_FOLDER", 4)
    spec, home, name = UNITS[layout]
    whole = tree(written(spec, layout, tmp_path / "whole"))
    real_unit, real_aside, done, begun = getattr(home, name), files.aside, [], []

    def unit(*arguments: object) -> None:
        real_unit(*arguments)
        done.append(arguments[2:])

    def killed(path: Path):
        begun.append(path)
        if len(begun) == len(whole) // 2 + 2:  # amid a unit
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}").write_bytes(b"what a kill leaves behind")
            raise KeyboardInterrupt
        return real_aside(path)

    monkeypatch.setattr(home, name, unit)
    with monkeypatch.context() as patch:
        patch.setattr(files, "aside", killed)
        patch.setattr(media, "aside", killed)
        with pytest.raises(KeyboardInterrupt):
            written(spec, layout, tmp_path)
    first = list(done)
    assert first
    assert not (tmp_path / layout / "world.json").exists()
    folder = written(spec, layout, tmp_path)
    assert len(done) == len(set(done)) > len(first)  # no unit twice
    assert tree(folder) == whole
    written(spec, layout, tmp_path)
    assert len(done) == len(set(done))
    if layout == "vfhq":
        with pytest.raises(UserError, match=r"another set .*layout is 'vfhq' there, not 'hdtf'"):
            write_layout(CLIPS, "hdtf", folder, workers=0)


def test_statistics_of_a_capture_hold_one_texture_at_a_time(tmp_path: Path):
    spec = replace(AVATAR, train_frames=40)
    rng, names = np.random.default_rng(0), [f"{i:06d}" for i in range(40)]
    textures = rng.integers(0, 256, (40, 96, 96, 3)).astype(np.uint8)
    meshes = rng.normal(0, 90, (40, 3000)).astype("<f4")
    segment, average = "E001_peak_expressions", tmp_path / "unwrapped_uv_1024/E001_peak_expressions/average"
    for name, texture, mesh in zip(names, textures, meshes, strict=True):
        media.write_picture(average / f"{name}.png", texture)
        files.write_bytes(tmp_path / "tracked_mesh" / segment / f"{name}.bin", mesh.tobytes())
    avatar.subject(0, 0, "light"), avatar.studio(0, 0, spec.image_size), spec.dome()  # drawn before memory is looked at
    tracemalloc.start()
    multiface._write_subject(spec, tmp_path, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    shades, points = textures.astype(float), meshes.astype(float)
    assert peak < shades.nbytes / 5
    assert np.array_equal(pixels(tmp_path / "tex_mean.png"), shades.mean(0).round())
    assert float((tmp_path / "tex_var.txt").read_text()) == pytest.approx(shades.var(0).mean(), abs=1e-5)
    assert np.array_equal(np.fromfile(tmp_path / "vert_mean.bin", "<f4"), points.mean(0).astype("<f4"))
    assert float((tmp_path / "vert_var.txt").read_text()) == pytest.approx(points.var(0).mean(), abs=1e-5)
