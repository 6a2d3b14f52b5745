"""The portrait world: sets that are being written, and drawn pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.procface.data import FaceSet, open_set
from datamodules.world.export.layouts import write_layout
from datamodules.world.sets.edit_pairs import EditSpec
from datamodules.world.sets.portraits import PortraitSpec, clip_name, clips, record_of
from datamodules.world.sets.samples import PortraitFrames
from tests.broken.kinds import LAST, SIDE, Kind, arrays, command, write

PORTRAITS = PortraitSpec(SIDE, 1, 2, 1, 2, cross_pairs=1)
(TARGET,) = (clip_name(PORTRAITS, clip).removesuffix(".mp4") for clip in clips(PORTRAITS, "targets"))
EDITS, FACES = EditSpec(SIDE, 1, 1, 1), FaceSet(1, 2)


def make_world(home: Path) -> None:
    """Sets whose pictures are done and whose lists are still to be written."""
    landmarks = np.zeros((2, 68, 2), np.float32)
    counts = {split: len(clips(PORTRAITS, split)) for split in ("train", "test", "targets")}
    write(home / "clips" / ".world.json", json.dumps({**record_of(PORTRAITS), "clips": counts}))
    for clip in clips(PORTRAITS):
        name, split = clip_name(PORTRAITS, clip), "targets" if clip.driver else clip.split
        (home / "clips" / split / name).mkdir(parents=True)
        arrays(home / "clips" / "truth" / split / f"{name.removesuffix('.mp4')}.npz", landmarks=landmarks)
    write(home / "ffhq" / ".world.json", json.dumps({**record_of(PORTRAITS), "layout": "ffhq"}))
    frames = len(PortraitFrames(PORTRAITS, "train")) + len(PortraitFrames(PORTRAITS, "test"))
    arrays(home / "ffhq" / "truth" / "00000.npz", landmarks=np.zeros((frames, 68, 2), np.float32))
    write(home / "pairs" / ".world.json", json.dumps({**record_of(EDITS), "layout": "pairs"}))
    words = {"edit": "hat", "style": "a", "source_prompt": "a face", "prompt": "a face with a hat"}
    for split in ("train", "val", "ood"):
        write(home / "pairs" / split / "prompts" / "000000.json", json.dumps(words))
    faces = {"image": np.zeros((2, 3, 4, 4), np.uint8), "landmarks": landmarks, "visible": np.ones((2, 68), bool)}
    faces |= {"rotation": np.zeros((2, 3, 3)), "expression": np.zeros((2, 25)), "person": np.zeros(2)}
    arrays(home / f"faces-{FACES.hash}" / "00000.npz", **faces)
    write(home / f"faces-{FACES.hash}" / "world.json", json.dumps(record_of(FACES)))


def write_set(spec: Any, kind: str) -> Callable[[Path], None]:
    return lambda home: command(lambda: write_layout(spec, kind, home / {"voxceleb": "clips"}.get(kind, kind), 0))


KINDS = {
    "record of a set": Kind(make_world, "clips/.world.json", write_set(PORTRAITS, "voxceleb"), (LAST,), (), ("clips",)),
    "truth of a target": Kind(make_world, f"clips/truth/targets/{TARGET}.npz", write_set(PORTRAITS, "voxceleb")),
    "truth of stills": Kind(make_world, "ffhq/truth/00000.npz", write_set(PORTRAITS, "ffhq"), (), ("missing",)),
    "words of an edit": Kind(
        make_world, "pairs/val/prompts/000000.json", write_set(EDITS, "pairs"), (LAST,), ("missing",)
    ),
    "drawn faces": Kind(
        make_world, f"faces-{FACES.hash}/00000.npz", lambda home: open_set(FACES, home), (), ("missing",)
    ),
}
