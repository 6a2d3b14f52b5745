"""The no-reference quality of pictures, by networks that were fitted to people's opinions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50

from metrics.backbones import load_backbone
from metrics.base import Card, PerSampleMetric
from metrics.frozen import Frozen
from metrics.pictures import as_saved, check_rgb

_KEYS = {"arniqa": "arniqa-koniq10k", "hyperiqa": "hyperiqa-koniq10k"}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LOWEST, _HIGHEST = 1.0, 100.0  # opinions of KonIQ-10k


class Arniqa(nn.Module):
    """ARNIQA with the regressor of KonIQ-10k: features of a picture and of its half, and a line through them.

    Args:
        encoder: The published state dict; the projector in it is left out.
        regressor: ``weights`` and ``biases`` of the line.

    Reference: Agnolucci et al., ARNIQA: Learning Distortion Manifold for Image Quality Assessment, WACV 2024.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, encoder: Mapping[str, Tensor], regressor: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*list(resnet50().children())[:-1])
        self.encoder.load_state_dict({k.replace("model.", ""): v for k, v in encoder.items() if "projector" not in k})
        self.register_buffer("weight", regressor["weights"].reshape(-1).float())
        self.register_buffer("bias", regressor["biases"].reshape(()).float())

    def forward(self, pictures: Tensor) -> Tensor:
        """Quality ``B``, 0 to 100, of pictures ``B 3 H W`` in [0, 1]."""
        pictures = pictures.float()
        half = F.interpolate(
            pictures, [side // 2 for side in pictures.shape[2:]], mode="bilinear", align_corners=False, antialias=True
        )
        mean, std = (pictures.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
        features = [F.normalize(self.encoder((x - mean) / std).flatten(1), dim=1) for x in (pictures, half)]
        opinion = torch.cat(features, 1) @ self.weight + self.bias
        return 100 * (opinion - _LOWEST) / (_HIGHEST - _LOWEST)


class IQA(PerSampleMetric):
    """Quality of the predicted picture alone.

    Args:
        network: ``arniqa`` or ``hyperiqa`` (which needs pyiqa), or a function from pictures to ``B`` in 0 to 100.

    Raises:
        UserError: If its files or its package are absent.
    """

    card = Card(
        name="IQA",
        group="picture",
        higher_is_better=True,
        protocol="8-bit RGB at native resolution, 0 to 100, no reference",
        digits=1,
        definition="Mean opinion of quality that a network predicts for the generated picture.",
        value_range="about [0, 100]; 100 is best",
        reference=(
            "Agnolucci et al. 2024, ARNIQA, section 3; Su et al. 2020, Blindly Assess Image Quality in the Wild "
            "(HyperIQA)"
        ),
        traps=(
            "Resolution changes the score; HyperIQA's own demo distorts squares and draws crops at random; scales of "
            "0 to 1 and 0 to 100 are both in print."
        ),
        parity="none: held to torchmetrics",
        backbone="arniqa-koniq10k or hyperiqa-koniq10k",
    )

    def __init__(self, network: str | Frozen = "arniqa") -> None:
        super().__init__()
        key = _KEYS.get(network, network) if isinstance(network, str) else "custom"
        self.network = load_backbone(key) if isinstance(network, str) else network
        self.card = replace(self.card, name=f"IQA[{key}]", backbone=key)

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str], status: Tensor | None = None) -> None:
        """Adds pictures ``B 3 H W`` in [0, 1] under their identifiers; the target is not looked at.

        Raises:
            ValueError: If a shape, type or range is wrong.
        """
        check_rgb("The prediction", preds)
        self.append(sample_ids, self.network(as_saved(preds).float()).flatten(), status)
