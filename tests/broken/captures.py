"""A capture in the layout of Multiface."""

from pathlib import Path

import numpy as np

from datamodules.capture.avatars import AvatarData
from datamodules.capture.frames import Packed
from tests.broken.kinds import ABSENT, CUTS, LAST, SIDE, Kind, picture, write

HELD, SHOTS = "EXP_free_face", ("left", "middle", "right")
TRACKED, FRAME = "tracked_mesh/E1/000000", f"{HELD}/000000"


def make_capture(home: Path) -> None:
    """A square of four vertices before three cameras, in a segment to learn from and one that is held out."""
    corners = 100.0 * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    mesh = [f"v {x} {y} {z}" for x, y, z in corners] + ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", "g skin"]
    obj = "\n".join([*mesh, "f 1/1 2/2 3/3", "f 1/1 3/3 4/4"]) + "\n"
    camera = f"{SIDE} 0 {SIDE / 2 - 0.5}\n0 {SIDE} {SIDE / 2 - 0.5}\n0 0 1\n0 0 0 0 0\n1 0 0 0\n0 1 0 0\n0 0 1 400\n"
    cameras = "".join(f"{name}\n{camera}\n" for name in SHOTS)
    write(home / "KRT", cameras)
    write(home / "frame_list.txt", "".join(f"{segment} 00000{i}\n" for segment in ("E1", HELD) for i in range(2)))
    for segment in ("E1", HELD):
        for i in range(2):
            tracked, name = home / "tracked_mesh" / segment, f"00000{i}"
            write(tracked / f"{name}.obj", obj)
            write(tracked / f"{name}.bin", (corners + i).astype("<f4").tobytes())
            write(tracked / f"{name}_transform.txt", "1 0 0 5\n0 1 0 5\n0 0 1 5\n")
            for shot in SHOTS:
                picture(home / "images" / segment / shot / f"{name}.png", i)
            picture(home / "unwrapped_uv_1024" / segment / "average" / f"{name}.png", i)
            for view in ("mouth", "right_eye", "left_eye"):
                picture(home / "headset" / segment / view / f"{name}.png", i, SIDE, SIDE)
            views = "".join(f"{view}\n{camera}\n" for view in ("mouth", "right_eye", "left_eye"))
            write(home / "headset" / segment / "cameras" / f"{name}.txt", views)
            write(home / "keypoints" / segment / f"{name}.txt", "3.5 4.5\nnan nan\n6 7\n")
    write(home / "keypoints" / "KRT", f"frontal\n{camera}\n")
    write(home / "keypoints" / "vertices.txt", "0\n2\n3\n")
    write(home / "vert_mean.bin", corners.astype("<f4").tobytes())
    write(home / "vert_var.txt", "1.25\n")
    picture(home / "tex_mean.png", 5)
    write(home / "tex_var.txt", "300.5\n")
    pack(home)


def capture(home: Path) -> AvatarData:
    return AvatarData(str(home), SIDE, texture=SIDE, held_out=[HELD], val_frames=0, num_workers=0)


def read_capture(home: Path) -> str:
    """Everything that a fit and a test ask of a capture; what single frames lack is counted and told."""
    module = capture(home)
    module.setup("fit")
    module.train_set.__getitems__([0, 1])
    module.setup("test")
    module.test_set[0]
    return module.store.losses()


def pack(home: Path) -> None:
    store = capture(home).store
    packed = Packed(store, store.capture.frames, False, home / "packed-16-16.pt")
    packed.take(store.capture.frames[:1], [["left"]])


def of_capture(file: str, *untold: str, names: tuple[str, ...] = ()) -> Kind:
    return Kind(make_capture, file, read_capture, untold, names=names)


KINDS = {
    "cameras": of_capture("KRT", LAST),
    "frame list": of_capture("frame_list.txt", LAST, *ABSENT, names=("home", HELD)),
    "mesh, vertices": of_capture(f"{TRACKED}.bin", *ABSENT),
    "mesh, faces": of_capture(f"{TRACKED}.obj", LAST, *ABSENT),
    "head pose": of_capture(f"{TRACKED}_transform.txt", LAST, *ABSENT),
    "dome's picture": of_capture(f"images/{HELD}/left/000000.png", LAST),
    "texture": of_capture(f"unwrapped_uv_1024/{HELD}/average/000000.png", LAST, names=(FRAME,)),
    "headset's picture": of_capture(f"headset/{HELD}/mouth/000000.png", LAST, names=(FRAME,)),
    "headset's cameras": of_capture(f"headset/{HELD}/cameras/000000.txt", LAST, names=(FRAME,)),
    "keypoints": of_capture(f"keypoints/{HELD}/000000.txt", LAST, names=(FRAME,)),
    "keypoints' camera": of_capture("keypoints/KRT", LAST),
    "keypoints' vertices": of_capture("keypoints/vertices.txt", LAST, *ABSENT),
    "mean vertices": of_capture("vert_mean.bin", *ABSENT),
    "variance of vertices": of_capture("vert_var.txt", *CUTS, *ABSENT),
    "mean texture": of_capture("tex_mean.png", LAST, *ABSENT),
    "variance of textures": of_capture("tex_var.txt", *CUTS, *ABSENT),
    "packed frames": Kind(make_capture, "packed-16-16.pt", pack, ("missing",)),
}
