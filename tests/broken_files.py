"""Every kind of file that a command reads: the smallest valid one, and the call of the command that reads it."""

import json
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import av
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from benchmarks import cli, runs, score, tables
from benchmarks.evaluation.callbacks import write_scores
from benchmarks.evaluation.scorer import Scores, SetScore
from benchmarks.procface.data import FaceSet, open_set
from benchmarks.report import files, publish, spec
from benchmarks.report.collect import collect as collect_runs
from datamodules import doctor
from datamodules.capture.avatars import AvatarData
from datamodules.capture.frames import Packed
from datamodules.video.clips import Clip, Framing
from datamodules.video.pairs import ClipFinder, read_pairs
from datamodules.video.truth import read_depth
from datamodules.world.export.layouts import write_layout
from datamodules.world.sets.edit_pairs import EditSpec
from datamodules.world.sets.portraits import PortraitSpec, clip_name, clips, record_of
from datamodules.world.sets.samples import Cached, PortraitFrames
from metrics.face_analysis import Face, FaceAnalysisCache
from metrics.procface import WEIGHTS, ProcFace
from models import weights
from models.base import read_checkpoint
from models.weight_files import WeightsFile
from tests import saved_outputs
from tests.metrics.faces import OracleAnalyser

ROOT = Path(__file__).parents[1]
SIDE = 16
HELD, SHOTS = "EXP_free_face", ("left", "middle", "right")
TABLE = {
    "title": "Made up",
    "base": "dagan",
    "tests": {"self": {"task": "self_reenactment", "motion": "absolute"}},
    "columns": [{"test": "self", "metric": "L1"}, {"test": "self", "metric": "proxy-FD"}],
    "rows": [{"name": "ours", "configs": [], "kind": "method"}, {"name": "theirs", "configs": [], "kind": "method"}],
    "claims": [{"text": "ours wins", "better": "ours", "worse": "theirs", "test": "self", "metric": "L1"}],
    "name": "made",
}


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Args:
        make: Writes a valid setting to an empty folder; settings are shared by the kinds that name the same function.
        file: The file in the setting.
        read: Reads the setting, given its folder; may return what it told beside going on.
        untold: Damages that the format cannot tell, or that leave what may rightly be so.
        untried: Damages after which the file is drawn anew, which takes its time.
        names: What the sentence may name in the file's place.
    """

    make: Callable[[Path], None]
    file: str
    read: Callable[[Path], Any]
    untold: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (SIDE, SIDE, 3), dtype=np.uint8)


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def picture(path: Path, seed: int = 0, *shape: int, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, *shape)).save(path, **options)


# --- Clips: pictures, videos, truth, lists


def video(path: Path, codec: str, pixel_format: str, frames: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pixel_format
        for i in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels(i, 32, 32, 3), format="rgb24")))
        container.mux(stream.encode())


VIDEOS = {
    "mp4": ("libx264", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "webm": ("libvpx", "yuv420p"),
    "gif": ("gif", "rgb8"),
}


def make_clips_of_all_kinds(home: Path) -> None:
    for suffix in ("png", "jpg", "webp"):
        for frame in range(2):
            picture(home / suffix / "test" / "a#0" / f"{frame:07d}.{suffix}", frame)
    for suffix, (codec, pixel_format) in VIDEOS.items():
        video(home / suffix / "test" / f"a#0.{suffix}", codec, pixel_format)
    for suffix in ("png", "jpg", "webp", *VIDEOS):
        for frame in range(2):
            picture(home / suffix / "test" / "b#0" / f"{frame:07d}.png", frame)
    depth = np.random.default_rng(0).uniform(0.5, 1, (2, SIDE, SIDE)).astype(np.float32)
    arrays = {"depth": depth, "skin": depth > 0.6, "K": 20 * np.eye(3, dtype=np.float32)}
    (home / "truth").mkdir()
    np.savez_compressed(home / "truth" / "a.npz", **arrays)
    write(home / "png" / "cross_pairs.csv", "source,driving,frame,target,best_frame\na#0,b#0,0,,1\nb#0,a#0,1,,0\n")


def examine(suffix: str) -> Callable[[Path], str | None]:
    def read(home: Path) -> str | None:
        with redirect_stdout(StringIO()) as out:
            failed = doctor.main(["--root", str(home / suffix), "--all-frames"])
        told = [line.removeprefix("  wrong: ") for line in out.getvalue().splitlines() if line.startswith("  wrong: ")]
        assert failed == bool(told)
        return told[0] if told else None

    return read


def read_truth(home: Path) -> None:
    read_depth(home / "truth" / "a.npz", [0, 1], Framing(SIDE))


def read_list(home: Path) -> None:
    folder = home / "png"
    read_pairs(folder / "cross_pairs.csv", ClipFinder([Clip(folder / "test" / f"{n}#0") for n in "ab"], folder))


# --- The command line: configurations and checkpoints


def arguments(config: str = "config.yaml") -> list[str]:
    """A fit of a second; run in the setting's folder, for its key names relative folders."""
    names = ["benchmarks/dagan.yaml", "benchmarks/tiny/dagan.yaml", "benchmarks/variants/references/train_mean.yaml"]
    configs = [part for name in names for part in ("-c", str(ROOT / name))]
    return [
        *configs, "-c", config, "--results=runs", "--data.init_args.root=set", "--data.init_args.portraits=null",
        "--data.init_args.image_size=16", "--data.init_args.num_workers=0", "--data.init_args.samples_per_epoch=2",
        "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu",
    ]  # fmt: skip


def make_fit(home: Path) -> None:
    """Two people in each split, a configuration, and a fit that was stopped after its last epoch."""
    for split in ("train", "test"):
        for person in "ab":
            for frame in range(2):
                picture(home / "set" / split / f"{split}-{person}#0" / f"{frame:07d}.png", frame)
    write(home / "config.yaml", "model: {class_path: models.reference.TrainMean}\nneeds: {}\n")
    with chdir(home):
        run = cli.build(["fit", *arguments()]).run_
        write(home / "fit.ckpt", run.checkpoint.read_bytes())
        run.record_file.unlink()
        run.folder.rename("runs/stopped")


def parse_config(home: Path) -> None:
    cli.parse(["fit", *arguments(str(home / "config.yaml"))])


def start_from(home: Path) -> None:
    with chdir(home):
        cli.build(["test", *arguments(), "--ckpt_path=fit.ckpt", "--trainer.limit_test_batches=1"])


def go_on(home: Path) -> None:
    with chdir(home):
        key = runs.Run.of("fit", cli.parse(["fit", *arguments()]), cli.parse).key
        Path("runs/stopped").rename(f"runs/{key}")
        cli.build(["fit", *arguments()])


# --- A capture in the layout of Multiface


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


# --- Tables and their runs


def make_tables(home: Path) -> None:
    """Two runs, the table that they stand in, and a page with the place of the results."""
    table = spec.parse(TABLE)
    for seed, row in enumerate(("ours", "theirs")):
        (home / row).mkdir()
        lines = [(f"v{v}/{f}", f"v{v}", f, "L1", 0.1 + v / 99 + seed / 50, 0) for v in range(3) for f in range(2)]
        samples = pd.DataFrame(lines, columns=["sample_id", "video_id", "frame", "metric", "value", "status"])
        sets = {"proxy-FD": SetScore(1.5, 6, {"v0": 1.25, "v1": 1.5, "v2": 1.75})}
        given = Scores({"L1": 0.1}, samples, sets, {"PSNR": "why"}, {}, {}, "0123456789ab", 1.0, pd.DataFrame())
        facts = {"label": row, "predictions": "0" * 12, "scale": "tiny", "task": "self_reenactment"}
        write_scores(
            home / row,
            given,
            facts | {"motion": "absolute", "protocol": {"motion": "absolute"}, "notes": {"data": "made"}},
        )
    write(home / "runs" / "scored" / "one" / "metrics.json", (home / "ours" / "metrics.json").read_bytes())
    write(home / "runs" / "scored" / "one" / "samples.parquet", (home / "ours" / "samples.parquet").read_bytes())
    scores, provenance = collect_runs({("theirs", "self", 0): home / "theirs"})
    files.write(table, scores, provenance | {"scale": "tiny"}, home / "runs" / "tables" / "tiny")
    write(home / "table.yaml", yaml.safe_dump({key: value for key, value in TABLE.items() if key != "name"}))
    write(home / "README.md", f"# Results\n{publish.BEGIN}\n{publish.END}\n")


def collect(home: Path) -> None:
    collect_runs({("ours", "self", 0): home / "ours"})


def join(home: Path) -> None:
    table, scores, provenance = files.left("made", home / "runs" / "tables" / "tiny")
    score.join(table, scores, provenance, home / "runs", "tiny")


def rebuild(home: Path) -> None:
    files.rebuild("made", home / "runs" / "tables" / "tiny")


def command(main: Callable[[], Any], *options: str) -> None:
    """Calls a main that reads the arguments of the process."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()):
        patch.setattr(sys, "argv", ["command", *options])
        main()


def print_tables(home: Path) -> None:
    command(tables.main, "--results", str(home))


# --- The portrait world: sets that are being written, and drawn pictures


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
    arrays(home / f"samples-{PORTRAITS.hash}" / "test" / "0000" / "0000000.npz", image=np.zeros((3, 2, 2)), frame=3)
    write(home / f"samples-{PORTRAITS.hash}" / "world.json", json.dumps(record_of(PORTRAITS)))
    faces = {"image": np.zeros((2, 3, 4, 4), np.uint8), "landmarks": landmarks, "visible": np.ones((2, 68), bool)}
    faces |= {"rotation": np.zeros((2, 3, 3)), "expression": np.zeros((2, 25)), "person": np.zeros(2)}
    arrays(home / f"faces-{FACES.hash}" / "00000.npz", **faces)
    write(home / f"faces-{FACES.hash}" / "world.json", json.dumps(record_of(FACES)))


def arrays(path: Path, **content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **content)


def write_set(spec: Any, kind: str) -> Callable[[Path], None]:
    return lambda home: command(lambda: write_layout(spec, kind, home / {"voxceleb": "clips"}.get(kind, kind), 0))


def take_sample(home: Path) -> None:
    Cached(PortraitFrames(PORTRAITS, "test"), home, "test").sample(0)


# --- Weights of networks, and what a network saw


def make_weights(home: Path) -> None:
    torch.save({"x": torch.ones(2)}, home / "made.pth")
    save_file({"x": torch.ones(2)}, home / "made.safetensors")
    torch.jit.script(nn.Linear(2, 2)).save(str(home / "made.pt"))
    with ZipFile(home / "made.zip", "w", ZIP_DEFLATED) as archive:
        archive.write(home / "made.safetensors", "inside/made.onnx")
    digest = sha256((home / "made.pth").read_bytes()).hexdigest()
    write(home / "digest", digest)
    write(home / "checked.pth", (home / "made.pth").read_bytes())
    write(home / "checked.pth.sha256", f"{digest}  checked.pth\n")
    recall(home)


def make_face_network(home: Path) -> None:
    write(home / "procface.safetensors", WEIGHTS.read_bytes())


def published(read: Callable[[str], Any], name: str, by_publisher: bool = False) -> Callable[[Path], Any]:
    """Reads a file whose publisher names its checksum, or one whose checksum was recorded when it came, as it is."""

    def call(home: Path) -> None:
        file, beside = home / name, home / f"{name}.sha256"
        digest = (home / "digest").read_text() if by_publisher else None
        if not by_publisher and file.is_file() and not beside.exists():
            write(beside, f"{sha256(file.read_bytes()).hexdigest()}  {name}\n")
        record = WeightsFile("made", "https://example.org/made", "tests", "none", digest, saved_as=name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(weights, "FILES", {"made": record})
            patch.setenv(weights.FOLDER, str(home))
            read("made")

    return call


def verify(name: str) -> None:
    with redirect_stdout(StringIO()):
        weights.main(["verify", name])


def fetch_archive(home: Path) -> None:
    url, place = (home / "made.zip").as_uri(), home / "hub"
    record = WeightsFile("made", url, "tests", "none", saved_as="made.onnx", member="made.onnx")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()):
        patch.setattr(weights, "FILES", {"made": record})
        patch.setattr("torch.hub.get_dir", lambda: str(place))
        patch.delenv(weights.FOLDER, raising=False)
        weights.main(["fetch", "made"])


def recall(home: Path) -> None:
    shown = torch.linspace(0, 1, 2 * 3 * 16).view(2, 3, 4, 4)
    analyser = OracleAnalyser()
    face = Face(torch.tensor([0.0, 0, 3, 3]), torch.ones(68, 2), confidence=0.5)
    analyser.tell(shown, [[face, face], []])
    FaceAnalysisCache().recall(analyser, shown, home / "seen.safetensors")


# --- Outputs that somebody saved


def make_outputs(home: Path) -> None:
    """Predicted maps and frames in each form, with their truth."""
    depth = np.random.default_rng(1).uniform(0.5, 1, (2, SIDE, SIDE)).astype(np.float32)
    for name in ("npy", "png", "mixed"):
        (home / name / "a").mkdir(parents=True)
    (home / "masks" / "a").mkdir(parents=True)
    for i in range(2):
        np.save(home / "npy" / "a" / f"{i:07d}.npy", depth[i])
        Image.fromarray((1000 * depth[i]).astype(np.uint16)).save(home / "png" / "a" / f"{i:07d}.png")
        Image.fromarray(np.uint8(255 * (depth[i] > 0.6))).save(home / "masks" / "a" / f"{i:07d}.png")
    arrays(home / "truth" / "a.npz", depth=depth, skin=depth > 0.6, K=20 * np.eye(3, dtype=np.float32))
    write(home / "npy" / "kind.txt", "depth\n")
    for folder in ("frames", "true frames"):
        for i in range(3):
            picture(home / folder / "a" / f"{i:07d}.png", i)
    for folder in ("video", "true video"):
        video(home / folder / "a.mp4", "libx264", "yuv420p")


def match(predictions: str, truth: str, **protocol: Any) -> Callable[[Path], None]:
    def read(home: Path) -> None:
        options = {name: home / value if name == "masks" else value for name, value in protocol.items()}
        saved_outputs.read(home / predictions, home / truth, **{"task": "depth"} | options).digest  # noqa: B018

    return read


def score_maps(home: Path) -> None:
    folders = ["--predictions", str(home / "npy"), "--truth", str(home / "truth"), "--results", str(home / "runs")]
    with redirect_stdout(StringIO()):
        score.main(["--task", "depth", *folders, "--label", "mine", "--table", "depth", "--published", str(home)])


ABSENT = ("missing", "folder")  # of files that a capture may lack
LAST = "cut by a byte"  # often a line's end
CUTS = ("cut to 1/4", "cut to 1/2", "cut to 3/4", LAST)
SLOW = (
    "cut to 1/4",
    "cut to 3/4",
    LAST,
    *(f"byte {i} flipped" for i in (1, 2, 3)),
)  # not tried where a call takes long
TRACKED, FRAME = "tracked_mesh/E1/000000", f"{HELD}/000000"


CUT_SHORT = ("cut to 1/4", "cut to 1/2", "cut to 3/4")


def of_clips(file: str, read: Callable[[Path], Any], *untold: str) -> Kind:
    return Kind(make_clips_of_all_kinds, file, read, untold)


def of_capture(file: str, *untold: str, names: tuple[str, ...] = ()) -> Kind:
    return Kind(make_capture, file, read_capture, untold, names=names)


def of_tables(file: str, read: Callable[[Path], Any], *untold: str) -> Kind:
    return Kind(make_tables, file, read, untold)


def of_outputs(file: str, predictions: str, truth: str, *untold: str, **protocol: Any) -> Kind:
    return Kind(make_outputs, file, match(predictions, truth, **protocol), untold)


KINDS = {
    # What a fit, a test or a prediction reads of the user's clips
    "frame, PNG": of_clips("png/test/a#0/0000000.png", examine("png"), LAST, "missing"),
    "frame, JPEG": of_clips("jpg/test/a#0/0000000.jpg", examine("jpg"), LAST, "missing"),
    "frame, WebP": of_clips("webp/test/a#0/0000000.webp", examine("webp"), LAST, "missing"),
    "video, mp4": of_clips("mp4/test/a#0.mp4", examine("mp4"), LAST, "missing"),
    "video, avi": of_clips("avi/test/a#0.avi", examine("avi"), LAST, "missing", "cut to 3/4"),  # what is left is shown
    "video, webm": of_clips("webm/test/a#0.webm", examine("webm"), LAST, "missing", "cut to 3/4"),
    "video, gif": of_clips("gif/test/a#0.gif", examine("gif"), LAST, "missing", *CUT_SHORT),
    "truth of a clip": of_clips("truth/a.npz", read_truth),
    "pair list": of_clips("png/cross_pairs.csv", read_list, LAST),
    # Of the command line
    "configuration": Kind(make_fit, "config.yaml", parse_config, (LAST,)),
    "checkpoint to start from": Kind(make_fit, "fit.ckpt", start_from, (), SLOW),
    "checkpoint to go on from": Kind(make_fit, "runs/stopped/last.ckpt", go_on, ("missing",), SLOW),
    "checkpoint of a need": Kind(make_fit, "fit.ckpt", lambda home: read_checkpoint(home / "fit.ckpt")),
    # Of a capture; what single frames lack is counted and passed by
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
    # Of tables
    "table": of_tables("table.yaml", lambda home: spec.load(home / "table.yaml"), LAST),
    "scores of a run": of_tables("ours/samples.parquet", collect),
    "record of a run": of_tables("ours/metrics.json", collect, LAST, *ABSENT),
    "record of scored outputs": of_tables("runs/scored/one/metrics.json", join, LAST, "missing"),
    "scores of a table": of_tables("runs/tables/tiny/made.samples.csv", rebuild),
    "record of a table": of_tables("runs/tables/tiny/made.record.json", rebuild, LAST),
    "page of a table": of_tables("runs/tables/tiny/made.md", print_tables, "empty", *CUTS, "text"),
    "README": of_tables("README.md", lambda home: publish.renew(home / "README.md", home / "runs/tables"), LAST),
    # Of the portrait world
    "record of a set": Kind(make_world, "clips/.world.json", write_set(PORTRAITS, "voxceleb"), (LAST,), (), ("clips",)),
    "truth of a target": Kind(make_world, f"clips/truth/targets/{TARGET}.npz", write_set(PORTRAITS, "voxceleb")),
    "truth of stills": Kind(make_world, "ffhq/truth/00000.npz", write_set(PORTRAITS, "ffhq"), (), ("missing",)),
    "words of an edit": Kind(
        make_world, "pairs/val/prompts/000000.json", write_set(EDITS, "pairs"), (LAST,), ("missing",)
    ),
    "drawn sample": Kind(make_world, f"samples-{PORTRAITS.hash}/test/0000/0000000.npz", take_sample, (), ("missing",)),
    "drawn faces": Kind(
        make_world, f"faces-{FACES.hash}/00000.npz", lambda home: open_set(FACES, home), (), ("missing",)
    ),
    # Of networks
    "weights": Kind(make_weights, "made.pth", published(weights.load, "made.pth")),
    "weights, safetensors": Kind(make_weights, "made.safetensors", published(weights.load, "made.safetensors")),
    "weights, TorchScript": Kind(make_weights, "made.pt", published(weights.load_script, "made.pt")),
    "weights of known digest": Kind(make_weights, "made.pth", published(verify, "made.pth", by_publisher=True)),
    "recorded digest": Kind(
        make_weights, "checked.pth.sha256", published(verify, "checked.pth"), (LAST,), ("missing",), ("checked.pth",)
    ),
    "archive of weights": Kind(make_weights, "made.zip", fetch_archive),
    "face network": Kind(
        make_face_network, "procface.safetensors", lambda home: ProcFace.load(home / "procface.safetensors")
    ),
    "faces that were seen": Kind(make_weights, "seen.safetensors", recall, ("missing",)),
    # Of outputs that somebody saved
    "map, npy": of_outputs("npy/a/0000000.npy", "npy", "truth"),
    "map, PNG": of_outputs("png/a/0000000.png", "png", "truth", LAST),
    "truth of saved maps": of_outputs("truth/a.npz", "npy", "truth"),
    "mask": of_outputs("masks/a/0000000.png", "npy", "png", LAST, masks="masks"),
    "saved frame": of_outputs("frames/a/0000001.png", "frames", "true frames", LAST, task="self_reenactment"),
    "saved video": of_outputs("video/a.mp4", "video", "true video", LAST, task="self_reenactment"),
    "kind of maps": Kind(make_outputs, "npy/kind.txt", score_maps, (LAST,), ("missing",)),
}
