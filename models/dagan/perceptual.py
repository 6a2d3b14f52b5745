"""The pyramid perceptual loss, with VGG-19 or without any weights (DaGAN, eq. 11; FOMM, section 3.4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torchvision.models import vgg19

from models import weights
from models.base import PortraitModule
from models.dagan.blocks import AntiAliasDownsample, same
from models.dagan.family import at_once
from models.dagan.sides import check_sides

VGG = "vgg19_imagenet"


@dataclass
class PerceptualConfig:
    """The perceptual loss.

    Args:
        kind: ``vgg19`` compares features of VGG-19, ``pyramid`` the pixels and their differences, which need no
            weights; ``auto`` takes VGG-19 when its file is in the cache.
        scales: Sizes of the pyramid's images over that of the image.
        vgg19: Weight of each layer, relu1_1 to relu5_1.
        pyramid: Weight of the pixels, and of their differences along x and along y.
    """

    kind: Literal["auto", "vgg19", "pyramid"]
    scales: list[float]
    vgg19: list[float]
    pyramid: list[float]

    @property
    def name(self) -> str:
        """The kind that ``auto`` stands for on this machine."""
        if self.kind == "auto":
            return "vgg19" if weights.find(VGG) else "pyramid"
        return self.kind

    @property
    def least_side(self) -> int:
        """The smallest image whose smallest in the pyramid VGG-19 can halve four times, or has differences."""
        return round((16 if self.name == "vgg19" else 2) / min(self.scales))


class VGG19Features(nn.Module):
    """Features of VGG-19 at relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1; nothing of it is trained or saved."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        network = vgg19()
        network.load_state_dict(weights.load(VGG))
        taps = (0, 2, 7, 12, 21, 30)
        self.stages = nn.ModuleList(network.features[a:b] for a, b in pairwise(taps))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        for layer in self.modules():
            for name, parameter in list(layer.named_parameters(recurse=False)):
                delattr(layer, name)
                layer.register_buffer(name, parameter.data, persistent=False)
            if isinstance(layer, nn.ReLU):
                layer.inplace = False

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps images ``B 3 H W`` in [0, 1] to five feature maps."""
        features = [(image - self.mean) / self.std]
        for stage in self.stages:
            x = features[-1]
            for layer in stage.children():
                x = same(x, layer.weight, layer.bias) if isinstance(layer, nn.Conv2d) else layer(x)
            features.append(x)
        return features[1:]


class GradientFeatures(nn.Module):
    """The pixels and their differences: a feature space that needs no weights."""

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps images ``B 3 H W`` to themselves and to the differences of neighbours along x and along y."""
        return [image, image.diff(dim=3), image.diff(dim=2)]


class PerceptualLoss(nn.Module):
    """Weighted sum over scales and layers of the mean absolute difference of features."""

    def __init__(self, config: PerceptualConfig) -> None:
        super().__init__()
        self.weights = config.vgg19 if config.name == "vgg19" else config.pyramid
        self.features = VGG19Features() if config.name == "vgg19" else GradientFeatures()
        self.pyramid = nn.ModuleList(AntiAliasDownsample(3, scale, saved=False) for scale in config.scales)

    def forward(self, preds: Tensor, target: Tensor) -> Tensor:
        """Compares images ``B 3 H W`` in [0, 1] with their targets, which get no gradient."""
        return torch.stack([self._at(level, preds, target.detach()) for level in self.pyramid]).sum()

    def with_slope(self, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and its gradient at images that need one, for which features of few images of one size are kept."""
        loss, slope = torch.zeros_like(preds[0, 0, 0, 0]), torch.zeros_like(preds)
        for level in self.pyramid:
            few = at_once(preds[:, :, :: level.step, :: level.step])
            for ours, theirs in zip(preds.split(few), target.split(few), strict=True):
                part = len(ours) / len(preds) * self._at(level, ours, theirs.detach())
                loss, slope = loss + part.detach(), slope + torch.autograd.grad(part, preds)[0]
        return loss, slope

    def _at(self, level: nn.Module, preds: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            theirs = self.features(level(target))
        ours = self.features(level(preds))
        pairs = zip(self.weights, ours, theirs, strict=True)
        return torch.stack([weight * (a - b).abs().mean() for weight, a, b in pairs]).sum()


class PerceptualModule(PortraitModule):
    """A module that learns by the perceptual loss, which it builds for a fit alone and tells the name of."""

    perceptual: PerceptualConfig

    @cached_property
    def perceptual_name(self) -> str:
        """The kind of the loss, as it was found first."""
        return self.perceptual.name

    def setup(self, stage: str) -> None:
        """Builds the perceptual loss, which only a fit needs, and says which it is.

        Raises:
            UserError: If the images are too small for it.
        """
        if stage == "fit":
            check_sides(self.image_size, perceptual=self.perceptual)
            self.perceptual_loss = PerceptualLoss(self.perceptual).to(self.device)
            rank_zero_info(f"Perceptual loss: {self.perceptual_name} (VGG-19: python -m models.weights list).")

    @classmethod
    def resolved(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Which perceptual loss a fit would use."""
        return {"perceptual": PerceptualConfig(**options["perceptual"]).name}

    def notes(self) -> dict[str, str]:
        """Which perceptual loss the fit used."""
        return {"perceptual": self.perceptual_name}
