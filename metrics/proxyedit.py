"""The suite's own edit classifier: which of eight edits of the portrait world a picture shows, without a download.

It learns from the portrait world alone (``python -m benchmarks.proxyedit train``); what it says of other pictures is
not known, and no number that rests on it is comparable with a published one, CLIP scores least of all.
"""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from metrics.pictures import check_rgb
from models.errors import UserError

WEIGHTS = Path(__file__).with_name("proxyedit.safetensors")
SHA256 = "67c269cd2d7fbfe8fda27ddbc6963ed7554278af8fb3ba763fb232c4f2789fce"
EDIT_PROXY = f"proxyedit {SHA256[:8]}"  # stands in the protocol of all that it measures: other weights, another metric
SIDE = 64  # pixels: every picture is resized to this before it is looked at
WIDTHS = (24, 40, 64, 80)  # channels at 1/2, 1/4, 1/8 and 1/16 of the side
FEATURES = 64
# What tells each edit in the words of a target, and the absence of one in those of a source.
WORDS = {
    "none": ("in normal clothes", "with a neutral face"),
    "flower": ("wearing a flower garland",),
    "sheep": ("in a sheep costume",),
    "santa": ("in a Santa Claus costume",),
    "royal": ("in a royal costume with a crown",),
    "angry": ("looking angry",),
    "shocked": ("looking shocked",),
    "laughing": ("laughing",),
    "crying": ("crying with tears",),
}
CLASSES = tuple(WORDS)


class ProxyEdit(nn.Module):
    """A small convolutional network: four halvings, what is strongest and what is common in each map, two layers."""

    def __init__(self) -> None:
        super().__init__()
        pairs = zip((3, *WIDTHS), WIDTHS, strict=False)
        self.stages = nn.Sequential(*(_halved(width, wider) for width, wider in pairs))
        self.project = nn.Linear(2 * WIDTHS[-1], FEATURES)
        self.classify = nn.Linear(FEATURES, len(CLASSES))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``B 9`` in the order of `CLASSES` and features ``B 64`` of pictures ``B 3 H H`` in [0, 1].

        Raises:
            ValueError: If a shape, type or range is wrong.
        """
        check_rgb("A batch of pictures", images)
        return self.look(fitted(images))

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same for pictures ``B 3 64 64``."""
        maps = self.stages((images - 0.5) / 0.25)
        features = self.project(torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1))
        return self.classify(F.relu(features)), features

    @classmethod
    def load(cls, path: Path = WEIGHTS, digest: str = SHA256) -> Self:
        """The network as shipped: frozen, in evaluation mode.

        Raises:
            UserError: If the file is absent or is not the one that was shipped.
        """
        if not path.is_file():
            raise UserError(f"The edit classifier is not at '{path}'; install the package again.")
        content = path.read_bytes()
        if sha256(content).hexdigest() != digest:
            raise UserError(f"'{path}' is not the edit classifier that this version ships; install the package again.")
        network = cls()
        network.load_state_dict({name: tensor.float() for name, tensor in load_tensors(content).items()}, strict=False)
        return network.eval().requires_grad_(False)


@cache
def shipped_proxyedit(device: torch.device) -> ProxyEdit:
    """The shipped classifier on a device, read once a process."""
    return ProxyEdit.load().to(device)


def fitted(images: Tensor) -> Tensor:
    """Pictures ``B 3 H W`` at the classifier's own size: antialiased bilinear downwards, bilinear upwards.

    Raises:
        ValueError: If a shape is wrong.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"The pictures are {tuple(images.shape)}; pass RGB pictures B 3 H W.")
    if images.shape[2:] == (SIDE, SIDE):
        return images
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)


def classes_of(words: Sequence[str]) -> Tensor:
    """The place in `CLASSES` of the edit that words ask for, ``B``; -1 where they speak of none that it knows."""
    return torch.tensor([_class_of(prompt) for prompt in words], dtype=torch.int64)


def _class_of(prompt: str) -> int:
    """The class whose words end the prompt, as those of the portrait world do."""
    told = [place for place, phrases in enumerate(WORDS.values()) if prompt.strip().endswith(phrases)]
    return told[0] if told else -1


def _halved(width: int, wider: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, wider, 3, 2, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU(),
        nn.Conv2d(wider, wider, 3, 1, 1, groups=1 if wider < WIDTHS[2] else 4, bias=False), nn.BatchNorm2d(wider),
        nn.ReLU(),
    )  # fmt: skip
