"""What a fit, a test or a prediction starts from: configurations and checkpoints."""

from contextlib import chdir
from pathlib import Path

from benchmarks import cli, runs
from models.base import read_checkpoint
from tests.broken.kinds import LAST, ROOT, Kind, picture, write

SLOW = ("cut to 1/4", "cut to 3/4", LAST, "byte 1 flipped")  # not tried where a call takes long


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


KINDS = {
    "configuration": Kind(make_fit, "config.yaml", parse_config, (LAST,)),
    "checkpoint to start from": Kind(make_fit, "fit.ckpt", start_from, (), SLOW),
    "checkpoint to go on from": Kind(make_fit, "runs/stopped/last.ckpt", go_on, ("missing",), SLOW),
    "checkpoint of a need": Kind(make_fit, "fit.ckpt", lambda home: read_checkpoint(home / "fit.ckpt")),
}
