"""The authors' published weights: a UNet of eight input channels, and the adapter of the image's tokens."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from models.base import load_needed
from models.errors import UserError
from models.mcdm.image_tokens import ImageAdapter
from models.reading import reading

_AGAIN = "copy it again"


def load_released(folder: str, unet: UNet2DConditionModel, adapter: ImageAdapter | None) -> None:
    """Takes over ``unet.pth`` and ``adapter.pth`` of a folder; no code in them is run.

    The adapter's tensors are told apart by their shapes: two linear maps of different sizes.

    Args:
        folder: Of a checkpoint as published, such as ``portrait_editing_models/outfit/checkpoint-200000``.
        unet: Filled.
        adapter: Filled.

    Raises:
        UserError: If a file is missing or damaged, or of another network.
    """
    if adapter is None:
        raise UserError(
            "The released weights have an adapter of image tokens, and this editor none; set image_encoder."
        )
    load_needed(unet, _read(Path(folder) / "unet.pth"), "released (unet.pth)")
    held = _read(Path(folder) / "adapter.pth")
    for name, parameter in adapter.named_parameters():
        parameter.data.copy_(_of_shape(held, name, parameter))


def _of_shape(held: dict[str, Tensor], name: str, like: nn.Parameter) -> Tensor:
    fitting = [value for value in held.values() if value.shape == like.shape]
    if len(fitting) != 1:
        raise UserError(
            f"adapter.pth holds {len(fitting)} tensors of shape {tuple(like.shape)}, where {name} is one; "
            "name the folder of this editor's size."
        )
    return fitting[0]


def _read(path: Path) -> dict[str, Tensor]:
    with reading(path, "released weights", _AGAIN):
        held = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
            raise ValueError("it holds something else than tensors by name")
    return held
