"""Every pretrained file: where it comes from, where it lies, its checksum and licence; fetched only when asked.

python -m models.weights list|fetch|verify [NAME ...]
"""

import argparse
import sys
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import ResNet18_Weights, VGG19_Weights, WeightsEnum

from models.base import UserError


@dataclass(frozen=True)
class WeightsFile:
    """A pretrained file.

    Args:
        name: What the suite calls it.
        origin: The torchvision entry that says where it is published; its file name carries the checksum.
        purpose: What uses it.
        licence: Of the weights.
    """

    name: str
    origin: WeightsEnum
    purpose: str
    licence: str

    @property
    def path(self) -> Path:
        """Where the file lies in the cache of torch.hub (``TORCH_HOME`` moves it)."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.origin.url.rsplit("/", 1)[-1]

    @property
    def sha256(self) -> str:
        """The first hex digits of the file's SHA-256, which torchvision keeps in its name."""
        return self.path.stem.rsplit("-", 1)[-1]


_IMAGENET = "torchvision, BSD-3-Clause; trained on ImageNet, whose terms are for research"
FILES = {
    file.name: file
    for file in (
        WeightsFile("vgg19_imagenet", VGG19_Weights.IMAGENET1K_V1, "perceptual loss of DaGAN and FOMM", _IMAGENET),
        WeightsFile("resnet18_imagenet", ResNet18_Weights.IMAGENET1K_V1, "start of DaGAN's depth stage", _IMAGENET),
    )
}


def find(name: str) -> Path | None:
    """The file, if it is in the cache; never fetched here."""
    path = FILES[name].path
    return path if path.is_file() else None


def verify(name: str) -> bool:
    """Whether the file in the cache has the SHA-256 that its publisher names.

    Raises:
        UserError: If it is not in the cache.
    """
    path = find(name)
    if path is None:
        raise UserError(
            f"The weights '{name}' are not at {FILES[name].path}; fetch: python -m models.weights fetch {name}"
        )
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest().startswith(FILES[name].sha256)


def load(name: str) -> dict[str, Tensor]:
    """Reads the state dict of a verified file, weights only.

    Raises:
        UserError: If the file is absent, or is not the one that was published.
    """
    if not verify(name):
        raise UserError(f"{find(name)} is damaged; delete it, then: python -m models.weights fetch {name}")
    return torch.load(FILES[name].path, map_location="cpu", weights_only=True)


def fetch(name: str) -> Path:
    """Downloads the file into the cache unless it is there, and checks it."""
    file = FILES[name]
    if find(name) is None:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(file.origin.url, str(file.path), hash_prefix=file.sha256)
    return file.path


def main(arguments: list[str] | None = None) -> None:
    """Lists, fetches or verifies files; verification of a damaged one ends with status 1."""
    parser = argparse.ArgumentParser(prog="python -m models.weights", description="Pretrained files of the suite.")
    parser.add_argument("action", choices=("list", "fetch", "verify"))
    parser.add_argument("names", nargs="*", help="Files; all of them unless given.")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(FILES):
        sys.exit(f"error: no weights are called {', '.join(sorted(unknown))}; there are: {', '.join(FILES)}")
    damaged = [name for name in options.names or FILES if _act(options.action, name) == "damaged"]
    if damaged:
        sys.exit(f"error: damaged: {', '.join(damaged)}; delete each file and fetch it again")


def _act(action: str, name: str) -> str:
    file = FILES[name]
    if action == "fetch":
        fetch(name)
    state = "absent" if find(name) is None else "present"
    if action != "list" and state == "present":
        state = "verified" if verify(name) else "damaged"
    print(f"{name}: {state}\n  {file.path}\n  sha256 {file.sha256}..., {file.licence}; for the {file.purpose}")
    return state


if __name__ == "__main__":
    main()
