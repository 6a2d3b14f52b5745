"""The rival without diffusion: a convolutional encoder and a small decoder that regress closeness in one pass."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from models.base import PortraitModule, check_finite
from models.depth_losses import DepthLossConfig, depth_losses
from models.errors import UserError
from models.optimisation import cosine, length_of_fit
from models.reading import reading
from models.tasks import Batch, Context
from models.tasks.depth import DepthEstimate


@dataclass
class RegressionOptimiserConfig:
    """AdamW; its fields are those of the joint system's, whose YAML this one's overlays.

    Args:
        lr: Highest learning rate.
        betas: Decay of the two moments.
        weight_decay: Decay of the weights.
        warm_up: Share of the steps over which the rate rises from 0.
        cosine: Whether it falls to 0 along half a cosine; else it stays.
    """

    lr: float
    betas: tuple[float, float]
    weight_decay: float
    warm_up: float
    cosine: bool

    def factor(self, step: int, steps: int) -> float:
        """The learning rate over ``lr`` at a step."""
        rise = min(1.0, (step + 1) / max(1.0, self.warm_up * steps))
        return rise * cosine(step, steps) if self.cosine else rise


class DepthRegression(PortraitModule):
    """Regresses closeness from a picture, right up to scale and shift.

    Args:
        image_size: Side of the square images in pixels.
        encoder: Name of a network of timm that gives features at several sizes, such as ``resnet18``.
        weights: Its pretrained weights, a local file (``.safetensors``, or a plain state dict) of timm's; None to start
            from nothing. Nothing is downloaded.
        width: Features of the decoder at the picture's size, doubled at each halving.
        most: The most features of the decoder.
        loss: What it is trained by.
        field: Height in metres of what the picture shows at the face; it makes depth as steep as it is to the eye.
        flip: How often a sample is mirrored.
        optimiser: AdamW.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        image_size: int,
        encoder: str,
        weights: str | None,
        width: int,
        most: int,
        loss: DepthLossConfig,
        field: float,
        flip: float,
        optimiser: RegressionOptimiserConfig,
    ) -> None:
        super().__init__(image_size)
        self.weights, self.loss, self.field, self.flip, self.optimiser = weights, loss, field, flip, optimiser
        self.encoder = _encoder(encoder, weights)
        widths = [3, *self.encoder.feature_info.channels()]
        outs = [min(most, width * 2**level) for level in range(len(widths))]
        self.decoder = nn.ModuleList(
            _block((widths[-1] if level == len(widths) - 2 else outs[level + 1]) + widths[level], outs[level])
            for level in range(len(widths) - 1)
        )
        self.head = nn.Conv2d(outs[0], 1, 3, padding=1)
        for name in ("mean", "std"):
            values = torch.tensor(self.encoder.pretrained_cfg[name]).view(3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Maps images ``B 3 H W`` in [0, 1] of any size to closeness ``B 1 H W`` of any scale and shift."""
        normal = (image - self.mean) / self.std
        skips = [normal, *self.encoder(normal)]
        x = skips.pop()
        for block, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            x = interpolate(x, size=skip.shape[-2:], mode="bilinear")
            x = block(torch.cat([x, skip], 1))
        return self.head(x)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss on pictures with depth, ``B 3 H W`` or ``B T 3 H W``.

        Raises:
            UserError: If it is not finite.
        """
        image, depth, mask = (batch[name].flatten(0, -4) for name in ("image", "depth", "mask"))
        mirrored = torch.rand(len(image), 1, 1, 1, device=image.device) < self.flip
        image, depth, mask = (torch.where(mirrored, x.flip(-1), x) for x in (image, depth, mask))
        target, metres = standard_closeness(depth, mask)
        losses = depth_losses(self.loss, self(image), target, mask, metres * self.image_size / self.field)
        loss = torch.stack(list(losses.values())).sum()
        check_finite(loss)
        self.log_dict({f"train/{name}": value for name, value in losses.items()})
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Maps a picture ``B 3 H W`` in [0, 1] to its closeness ``B 1 H W``."""
        return DepthEstimate(self(image), "closeness")

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """AdamW, its schedule stepped with every batch."""
        config = self.optimiser
        _, steps = length_of_fit(self.trainer, by_epochs=False, to_the_end=config.cosine or config.warm_up > 0)
        optimiser = AdamW(self.parameters(), config.lr, config.betas, weight_decay=config.weight_decay)
        schedule = LambdaLR(optimiser, lambda step: config.factor(step, steps))
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]

    def notes(self) -> dict[str, str]:
        """What the encoder started from."""
        return {"pretrained": self.weights or "none"}


def standard_closeness(depth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Depth turned round, of mean 0 and standard deviation 1 inside the mask.

    Args:
        depth: ``B 1 H W``, metres.
        mask: ``B 1 H W``, bool.

    Returns:
        Closeness ``B 1 H W``, 0 outside the mask, and the standard deviation ``B`` in metres; both are 0 where depth
        is constant or the mask empty.
    """
    count = mask.sum((1, 2, 3), True).clamp(min=1)
    centre = torch.where(mask, depth, 0.0).sum((1, 2, 3), True) / count
    nearer = torch.where(mask, centre - depth, 0.0)
    deviation = ((nearer**2).sum((1, 2, 3), True) / count).sqrt()
    return torch.where(deviation > 0, nearer / deviation, 0.0), deviation.flatten()


def _encoder(name: str, weights: str | None) -> Any:  # noqa: ANN401 - timm's wrappers have no common type
    """A network of timm that gives features at several sizes.

    Raises:
        UserError: If timm has no such network, or its weights cannot be read.
    """
    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"{name[:6]}*")[:5])
        raise UserError(
            f"timm has no network '{name}'{f', but {close}' if close else ''}; name one of timm.list_models()."
        )
    options: dict[str, Any] = {"features_only": True}
    if weights is None:
        return timm.create_model(name, pretrained=False, **options)
    with reading(Path(weights), "file of timm's weights", f"name a local file of {name}, or null."):
        Path(weights).open("rb").close()
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": weights}, **options)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for features in (inputs, outputs):
        layers += [nn.Conv2d(features, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()]
    return nn.Sequential(*layers)
