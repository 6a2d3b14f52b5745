"""Files of the authors of DaGAN and FOMM, and the file that the hub takes."""

from pathlib import Path

from benchmarks.released import convert
from models.dagan import DaGAN
from models.dagan.released import read_depth, read_release
from tests.broken.kinds import Kind
from tests.models import released_files as files


def make_released(home: Path) -> None:
    files.save(home, files.SMALL)
    convert(home / "released.pth.tar", home, home / "made.ckpt")
    DaGAN.load_from_checkpoint(home / "made.ckpt", weights_only=True).save_pretrained(home)


def make_legacy(home: Path) -> None:
    files.save(home, files.FOMM, legacy=True)


def read(home: Path) -> None:
    read_release(home / "released.pth.tar")


KINDS = {
    "released weights": Kind(make_released, "released.pth.tar", read),
    "released weights of an old torch": Kind(make_legacy, "released.pth.tar", read),
    "released depth encoder": Kind(make_released, "encoder.pth", read_depth),
    "released depth decoder": Kind(make_released, "depth.pth", read_depth),
    "model for the hub": Kind(make_released, "model.safetensors", DaGAN.from_pretrained),
}
