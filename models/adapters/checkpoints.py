"""Published networks: their checkpoints, from a local folder or the hub's cache, never from the network."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from models.base import PortraitModule
from models.errors import UserError
from models.hub import local
from models.reading import reading

WEIGHTS_ABSENT, PACKAGE_ABSENT = "weights absent", "package absent"


class PublishedModel(PortraitModule):
    """What others trained and a library runs; it is not trained here.

    Attributes:
        packages: The libraries that run it.
        index: The file that every checkpoint of its kind has.

    Args:
        image_size: Side of the square images in pixels.
        checkpoint: A folder, or the hub's name of a checkpoint in its cache.
    """

    needs_fit: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("transformers",)
    index: ClassVar[str] = "config.json"

    def __init__(self, image_size: int, checkpoint: str) -> None:
        super().__init__(image_size)
        self.checkpoint = checkpoint

    def setup(self, stage: str) -> None:
        """Finds the checkpoint and reads it.

        Raises:
            UserError: If the library or the checkpoint is not here, or it cannot be read.
        """
        if missing := _missing(self.packages):
            name = f"{type(self).__name__} needs {' and '.join(missing)}"
            raise UserError(f"{name}; to have it: pip install 'portrait-bench[adapters]'")
        folder = folder_of(self.checkpoint, self.index)
        if folder is None:
            raise UserError(
                f"There is no checkpoint '{self.checkpoint}', neither as a folder with {self.index} nor in the hub's "
                f"cache; fetch it, if its licence suits you: hf download {self.checkpoint}"
            )
        self.folder = folder
        with reading(folder, f"checkpoint of {type(self).__name__}", f"fetch '{self.checkpoint}' again."):
            self.load()

    def load(self) -> None:
        """Reads the networks from ``folder``."""
        raise NotImplementedError

    @classmethod
    def absent(cls, options: Mapping[str, Any]) -> str | None:
        """Why a model of these arguments cannot run here, in two words; None if it can."""
        if _missing(cls.packages):
            return PACKAGE_ABSENT
        return None if folder_of(options["checkpoint"], cls.index) else WEIGHTS_ABSENT

    @classmethod
    def resolved(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Which files the checkpoint's name stands for on this machine."""
        folder = folder_of(options["checkpoint"], cls.index)
        return {"checkpoint": edition(folder) if folder else WEIGHTS_ABSENT}

    def notes(self) -> dict[str, str]:
        """The checkpoint and its edition."""
        return {"weights": f"{self.checkpoint} ({edition(self.folder)})"}


def folder_of(checkpoint: str, index: str) -> Path | None:
    """The folder of a checkpoint: the local one, else the newest in the hub's cache; None without its index file."""
    folder = local(checkpoint)
    return folder if folder is not None and (folder / index).is_file() else None


def edition(folder: Path) -> str:
    """12 hex digits that tell checkpoints apart: the hub's revision, else of the names and sizes of the files."""
    if folder.parent.name == "snapshots":
        return folder.name[:12]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files)
    return sha256(listing.encode()).hexdigest()[:12]


def _missing(packages: Sequence[str]) -> list[str]:
    return [name for name in packages if not find_spec(name)]
