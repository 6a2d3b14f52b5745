"""Avatar sets in the layout of Multiface, with the conventions that its loaders rely on."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datamodules.world.body.geometry import Array
from datamodules.world.body.template import Template, template
from datamodules.world.export.clips import in_parallel
from datamodules.world.export.media import to_pixels, write_picture
from datamodules.world.scene.codes import moment_codes, person_codes, setting_codes, write_codes
from datamodules.world.scene.correspondence import mean_texture, unwrap
from datamodules.world.scene.view import Camera, images_of
from datamodules.world.sets import avatar
from datamodules.world.sets.avatar import AvatarSpec
from models.files import write_bytes, write_text
from models.reading import reading
from models.rendering import camera as pinhole

_MILLIMETRES = 1000.0
_AGAIN = "delete the folder '{}' and run the command again."


def write_multiface(spec: AvatarSpec, folder: Path, workers: int | None) -> None:
    """Writes each subject as a capture of Multiface (Wuu et al. 2022), lengths in millimetres.

    ``m--00000000--0000--<subject>--GHS/`` holds

    - ``KRT``: for every camera its name, three rows of K (pixels), a row of five distortions (zeros), three rows of
      ``[R|t]`` (world to camera), a blank line;
    - ``frame_list.txt``: ``SEGMENT FRAME``; segments ``EXP_free_face`` are held out for the test, as there, and
      ``EXP_validation``, if there is one, is of their kind;
    - ``images/SEGMENT/CAMERA/000000.png``;
    - ``unwrapped_uv_1024/SEGMENT/{CAMERA,average}/000000.png``: what the camera saw laid out in the atlas, black where
      unseen, and the mean over cameras of what was seen; its side is that of the images (the folder keeps its name);
    - ``tracked_mesh/SEGMENT/000000.{bin,obj}``: vertices in the head frame as float32 triples, and the same with
      texture coordinates and, in groups by part, faces; ``000000_transform.txt``: ``[R|t]``, head to world;
    - ``vert_mean.bin``, ``vert_var.txt``, ``tex_mean.png``, ``tex_var.txt`` over the frames to learn from (variances
      are single numbers: mean squared deviation of a coordinate, and of a channel in levels of 255).

    ``headset/SEGMENT/{mouth,right_eye,left_eye}/000000.png`` (level 0 outside of the visible region and nowhere else)
    with ``headset/SEGMENT/cameras/000000.txt`` (as ``KRT``, but head to camera) and ``keypoints/SEGMENT/000000.txt``
    (68 rows of pixels) with ``keypoints/KRT`` (their frontal camera) and ``keypoints/vertices.txt`` (which vertices
    they are) are ours: Multiface has neither. So are ``codes/subject.json``, all codes of the ``person`` and of the
    ``setting`` (the studio's light), and ``codes/SEGMENT/000000.json``, those of the face in a frame.
    """
    for number in range(spec.subjects):
        home = folder / f"m--00000000--0000--{number:07d}--GHS"
        todo = [
            (spec, home, split, number, frame)
            for split in avatar.SPLITS
            for frame in range(spec.frames(split))
            if not _transform(spec, home, split, frame).exists()
        ]
        in_parallel(_write_frame, todo, workers, f"multiface {spec.hash} subject {number}")
        _write_subject(spec, home, number)


def _transform(spec: AvatarSpec, home: Path, split: str, frame: int) -> Path:
    return home / "tracked_mesh" / spec.segment(split, frame) / f"{frame:06d}_transform.txt"


def _write_frame(spec: AvatarSpec, home: Path, split: str, number: int, frame: int) -> None:
    segment, name = spec.segment(split, frame), f"{frame:06d}.png"
    textures, covers = [], []
    for camera_name, camera in spec.dome().items():
        view = avatar.dome_view(spec, split, number, frame, camera)
        texture, cover = unwrap(view, spec.image_size)
        write_picture(home / "images" / segment / camera_name / name, to_pixels(images_of(view)[0]))
        write_picture(home / "unwrapped_uv_1024" / segment / camera_name / name, to_pixels(texture[0]))
        textures.append(texture)
        covers.append(cover)
    mean, _ = mean_texture(torch.cat(textures), torch.cat(covers))
    write_picture(home / "unwrapped_uv_1024" / segment / "average" / name, to_pixels(mean))
    _write_driving(spec, home, split, number, frame)
    vertices = avatar.head_vertices(view)[0].numpy() * _MILLIMETRES
    mesh = home / "tracked_mesh" / segment / f"{frame:06d}"
    write_bytes(mesh.with_suffix(".bin"), vertices.astype("<f4").tobytes())
    write_text(mesh.with_suffix(".obj"), _obj(vertices, template(spec.detail)))
    rotation, translation = avatar.head_to_world(view, camera)
    pose = np.concatenate([rotation, translation[:, None] * _MILLIMETRES], 1)
    write_text(_transform(spec, home, split, frame), _rows(pose))  # last: it tells that the frame is complete


def _write_driving(spec: AvatarSpec, home: Path, split: str, number: int, frame: int) -> None:
    segment = spec.segment(split, frame)
    state = avatar.moment(spec, split, number, frame)
    write_codes(home / "codes" / segment / f"{frame:06d}.json", moment_codes(state))
    views, masks = avatar.headset_views(spec, split, number, frame)
    for name, view, mask in zip(avatar.rigs.REGIONS, views, masks, strict=True):
        pixels = to_pixels((view.clamp(min=1 / 255) * mask).expand(3, -1, -1))[..., 0]
        write_picture(home / "headset" / segment / name / f"{frame:06d}.png", pixels)
    cameras = avatar.headset_cameras(spec, split, number, frame)
    write_text(home / "headset" / segment / "cameras" / f"{frame:06d}.txt", _krt(cameras, spec.headset_size))
    points = avatar.keypoints(spec, split, number, frame).double().numpy()
    write_text(home / "keypoints" / segment / f"{frame:06d}.txt", _rows(points))


def _obj(vertices: Array, mesh: Template) -> str:
    """Vertices, texture coordinates (from the bottom, as the format has them) and faces ``v/vt``."""
    lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in vertices]
    lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in mesh.uv]
    for name, span in mesh.spans.items():
        own = mesh.faces[(mesh.faces[:, 0] >= span.start) & (mesh.faces[:, 0] < span.stop)]
        lines += [f"g {name}", *(" ".join(["f", *(f"{i}/{i}" for i in face)]) for face in (own + 1).tolist())]
    return "\n".join(lines) + "\n"


def _rows(matrix: Array) -> str:
    return "".join(" ".join(f"{value:.6f}" for value in row) + "\n" for row in matrix)


def _write_subject(spec: AvatarSpec, home: Path, number: int) -> None:
    """The files of a capture that concern all of its frames."""
    person, studio = avatar.subject(spec.seed, number, spec.detail), avatar.studio(spec.seed, number, spec.image_size)
    write_codes(home / "codes" / "subject.json", {"person": person_codes(person), "setting": setting_codes(studio)})
    listed = [(spec.segment(split, frame), frame) for split in avatar.SPLITS for frame in range(spec.frames(split))]
    write_text(home / "frame_list.txt", "".join(f"{segment} {frame:06d}\n" for segment, frame in listed))
    write_text(home / "KRT", _krt(spec.dome(), spec.image_size))
    write_text(home / "keypoints" / "KRT", _krt({"frontal": avatar.rigs.frontal()}, spec.image_size))
    numbers = template(spec.detail).landmarks.tolist()
    write_text(home / "keypoints" / "vertices.txt", "".join(f"{number}\n" for number in numbers))
    learnt = [f"{frame:06d}" for frame in range(spec.train_frames)]
    mesh, texture = home / "tracked_mesh" / avatar.SEGMENTS["train"], home / "unwrapped_uv_1024"
    mean, variance = moments(_vertices(mesh / f"{name}.bin", home) for name in learnt)
    write_bytes(home / "vert_mean.bin", mean.astype("<f4").tobytes())
    write_text(home / "vert_var.txt", f"{variance:.6f}\n")
    folder = texture / avatar.SEGMENTS["train"] / "average"
    mean, variance = moments(_picture(folder / f"{name}.png", home) for name in learnt)
    write_picture(home / "tex_mean.png", mean.round().astype(np.uint8))
    write_text(home / "tex_var.txt", f"{variance:.6f}\n")


def _vertices(path: Path, home: Path) -> Array:
    with reading(path, "list of vertices", _AGAIN.format(home)):
        return np.frombuffer(path.read_bytes(), "<f4").reshape(-1, 3).astype(float).ravel()


def _picture(path: Path, home: Path) -> Array:
    with reading(path, "picture", _AGAIN.format(home)), Image.open(path) as picture:
        return np.asarray(picture, float)


def moments(values: Iterable[Array]) -> tuple[Array, float]:
    """The mean of arrays of one shape and the mean square of what they deviate from it, holding one at a time."""
    total, squares, count = np.zeros(()), 0.0, 0
    for value in values:
        total, squares, count = total + value, squares + float(np.vdot(value, value)) / value.size, count + 1
    mean = total / count
    return mean, squares / count - float(np.vdot(mean, mean)) / mean.size


def _krt(cameras: Mapping[str, Camera], size: int) -> str:
    return "\n".join(_camera(name, camera, size) for name, camera in cameras.items())


def _camera(name: str, camera: Camera, size: int) -> str:
    matrix = pinhole.intrinsics(torch.tensor([camera.focal], dtype=torch.float64), size)[0].numpy()
    pose = np.concatenate([camera.rotation, np.asarray(camera.translation)[:, None] * _MILLIMETRES], 1)
    return f"{name}\n{_rows(matrix)}0 0 0 0 0\n{_rows(pose)}"
