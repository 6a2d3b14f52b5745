"""What networks need that may not be there: optional packages, and files that may be broken."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from models import weights
from models.errors import UserError
from models.reading import reading

INSTALL = {  # what pip installs for a package
    "face_alignment": "'portrait-bench[face]'",
    "cv2": "'portrait-bench[face]'",
    "dlib": "'portrait-bench[face-offline]'",
    "pyiqa": "pyiqa  # its licence is PolyForm-Noncommercial",
}


def optional(package: str, key: str) -> Any:  # noqa: ANN401 - a module
    """The package that runs a network.

    Raises:
        UserError: If it is not installed, with what pip installs.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise UserError(
            f"The network '{key}' needs the package {package} ({error}): pip install {INSTALL[package]}"
        ) from None


@contextmanager
def from_files(*names: str) -> Iterator[list[str]]:
    """The paths of verified files that a network is made of in the block; told in one sentence if it cannot be.

    For those whose publisher names no checksum: what came first may have been broken already.

    Raises:
        UserError: If a file is absent, is not the one that was published, or cannot be read.
    """
    paths = [weights.verified(name) for name in names]
    with reading(paths[0], "network", weights.again(*names)):
        yield [str(path) for path in paths]
