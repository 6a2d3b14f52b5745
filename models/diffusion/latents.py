"""Latents on disk: a picture is encoded once, however often it is trained on."""

import math
from collections.abc import Sequence
from functools import cache, cached_property
from io import BytesIO
from os.path import isfile
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from models.diffusion.codecs import Codec
from models.errors import UserError
from models.files import aside
from models.reading import reading


class LatentCache:
    """The latents of a codec, a file a picture: ``folder/<fingerprint>/<name>.npy``, float16 ``K h w``.

    What comes back is rounded to float16 also where it was encoded just now, so that a fit that goes on sees what one
    that was never stopped saw. A picture that is changed at random needs a name for each of its variants.

    Args:
        folder: Where the latents of all codecs lie; made on first use.
        codec: Its weights must not change any more once the first picture is encoded.
    """

    def __init__(self, folder: str | Path, codec: Codec) -> None:
        self.root, self.codec = Path(folder), codec

    @cached_property
    def folder(self) -> Path:
        """Where the latents of this codec lie."""
        return self.root / self.codec.fingerprint()

    def encode(self, images: Tensor, names: Sequence[str]) -> Tensor:
        """The latents ``B K H/f W/f`` of pictures ``B 3 H W`` in [0, 1], float32; those without a file get one.

        Args:
            images: The pictures; only those without a file are looked at.
            names: A name for each, the same for the same pixels; slashes make folders.

        Raises:
            UserError: If a file is broken or of other pictures, a latent cannot be kept, or a name leads elsewhere.
        """
        paths = [self.path(name) for name in names]
        missing = {path: i for i, path in enumerate(paths) if not isfile(path)}
        fresh: dict[Path, Tensor] = {}
        if missing:
            with torch.no_grad():
                latents = self.codec.encode(images[list(missing.values())])
            fresh = dict(zip(missing, latents.cpu().half(), strict=True))
            self._keep(fresh)
        shape = self._shape(images.shape[-2:])
        latents = torch.stack([(fresh[path] if path in fresh else _read(path, shape)).float() for path in paths])
        return latents.to(images.device)

    def find(self, names: Sequence[str], size: Sequence[int]) -> Tensor | None:
        """What `encode` would say of pictures of H x W pixels, on the CPU; None unless all of them have a file.

        So that pictures which have to be drawn first, such as those of depth, are drawn only if one is missing.
        """
        paths = [self.path(name) for name in names]
        if not all(map(isfile, paths)):
            return None
        return torch.stack([_read(path, self._shape(size)).float() for path in paths])

    def path(self, name: str) -> Path:
        """The file of a picture.

        Raises:
            UserError: If it would not lie in the folder.
        """
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts or "\\" in name:
            raise UserError(f"'{name}' names no file in the cache of latents: give a name such as clip/0000001.")
        return self.folder.joinpath(*parts[:-1], f"{parts[-1]}.npy")

    def _shape(self, size: Sequence[int]) -> tuple[int, ...]:
        return self.codec.channels, *(side // self.codec.factor for side in size)

    def _keep(self, latents: dict[Path, Tensor]) -> None:
        """Writes the files; several processes may meet the same picture, and take turns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            for path, latent in latents.items():
                if not latent.isfinite().all():
                    raise UserError(f"The latent of '{path.stem}' is not finite: mend the picture, or leave it out.")
                with aside(path) as partial, partial.open("wb") as file:
                    np.save(file, latent.numpy(), allow_pickle=False)


def _read(path: Path, size: tuple[int, ...]) -> Tensor:
    """A latent of a known size."""
    with reading(path, "latent of this picture", "delete it, and it is encoded anew."):
        held, header = path.read_bytes(), _header(size)
        if held.startswith(header) and len(held) == len(header) + 2 * math.prod(size):  # in a third of np.load's time
            return torch.frombuffer(bytearray(held[len(header) :]), dtype=torch.float16).view(size)
        latent = np.load(BytesIO(held), allow_pickle=False)
        if latent.dtype != np.float16 or latent.shape != size:
            raise ValueError(f"it holds {latent.dtype} of shape {latent.shape}, not float16 of {size}")
        return torch.from_numpy(latent)


@cache
def _header(size: tuple[int, ...]) -> bytes:
    """How a file of a latent of that size begins."""
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": size})
    return file.getvalue()
