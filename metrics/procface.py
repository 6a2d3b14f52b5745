"""The suite's own face network: landmarks, head pose, expression and identity of a portrait, without a download.

It learns from the portrait world alone (``python -m benchmarks.procface train``); what it says of other faces is not
known, and no number that rests on it is comparable with published ones.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from metrics.pictures import check_rgb
from models.errors import UserError

WEIGHTS = Path(__file__).with_name("procface.safetensors")
SHA256 = "7ef37688ff17aa04d1f2ae3e775a4b2451bb987ec9ff898a75a6036a6596b6db"
PROXY = f"procface {SHA256[:8]}"  # stands in the protocol of all that it measures: other weights, another metric
DISCLAIMER = "not comparable with published numbers"
SIDE = 128  # pixels: every picture is resized to this before it is looked at
LANDMARKS, EXPRESSIONS, EMBEDDING = 68, 25, 128
WIDTHS = (32, 48, 112)  # channels at 1/4, 1/8 and 1/16 of the side
LOCAL, HIDDEN = 8, 192  # features read at a landmark from each of the two finer maps, units that join them
SPOTS = 2 * LOCAL * LANDMARKS


class Faces(NamedTuple):
    """What the network sees in B pictures.

    Args:
        landmarks: ``B 68 2`` in pixels of the given pictures (iBUG order; pixel centres are whole numbers).
        rotation: ``B 3 3`` of the head in the camera, proper rotations.
        expression: ``B 25`` strengths in the order of the portrait world; estimates, not clamped.
        embedding: ``B 128`` of unit norm; the cosine of two tells how alike the people are.
        features: ``B 144`` for Frechet distances: means of the first and last stage, standardised on the training set.
        confidence: ``B`` in [0, 1]: that there is a face.
    """

    landmarks: Tensor
    rotation: Tensor
    expression: Tensor
    embedding: Tensor
    features: Tensor
    confidence: Tensor


class ProcFace(nn.Module):
    """A small residual network with heatmaps, read out by their centres of mass and refined from what is found there.

    Reference: Sun et al., Integral Human Pose Regression, ECCV 2018 (centres of mass); Zhou et al., On the Continuity
    of Rotation Representations in Neural Networks, CVPR 2019 (rotations from six numbers).
    """

    centre: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.stem = nn.Sequential(nn.Conv2d(3, fine, 8, 4, 2, bias=False), nn.BatchNorm2d(fine), nn.ReLU())
        self.middle = nn.Sequential(_halved(fine, middle), BasicBlock(middle, middle))
        self.coarse = nn.Sequential(_halved(middle, coarse), BasicBlock(coarse, coarse))
        self.lateral = nn.Conv2d(coarse, middle, 1)
        self.smooth = nn.Sequential(
            nn.Conv2d(middle, middle, 3, padding=1, groups=middle, bias=False), nn.BatchNorm2d(middle), nn.ReLU()
        )
        self.heat = nn.Conv2d(middle, LANDMARKS, 1)
        self.local = nn.ModuleList([nn.Conv2d(fine, LOCAL, 1), nn.Conv2d(middle, LOCAL, 1)])
        self.join = nn.Sequential(
            nn.Linear(SPOTS + coarse + 2 * LANDMARKS, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU()
        )
        self.offsets = nn.Linear(HIDDEN, 2 * LANDMARKS)
        self.pose = nn.Linear(HIDDEN, 6)
        self.expression = nn.Linear(HIDDEN, EXPRESSIONS)
        self.identity = nn.Linear(SPOTS + coarse, EMBEDDING)
        self.presence = nn.Linear(coarse, 1)
        self.register_buffer("centre", torch.zeros(fine + coarse))
        self.register_buffer("scale", torch.ones(fine + coarse))

    def forward(self, images: Tensor) -> Faces:
        """Looks at square pictures ``B 3 H H`` in [0, 1] of any size; those of 64 px and more are what it has learnt.

        Raises:
            ValueError: If a shape, type or range is wrong.
        """
        check_rgb("A batch of pictures", images)
        if images.shape[2] != images.shape[3]:
            raise ValueError(f"The pictures are {tuple(images.shape)}; pass square ones, B 3 H H.")
        outputs = self.look(resized(images))
        side = images.shape[-1]
        return Faces(
            (outputs["points"] + 1) * (side / 2) - 0.5,
            outputs["rotation"],
            outputs["expression"],
            F.normalize(outputs["identity"], dim=1),
            (outputs["pooled"] - self.centre) / self.scale,
            outputs["presence"].sigmoid(),
        )

    def look(self, images: Tensor) -> dict[str, Tensor]:
        """The raw outputs for pictures ``B 3 128 128``; points are in [-1, 1] from edge to edge of the picture."""
        fine = self.stem((images - 0.5) / 0.25)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        maps = self.smooth(middle + F.interpolate(self.lateral(coarse), scale_factor=2.0, mode="nearest"))
        rough = _centres(self.heat(maps))
        pooled = coarse.mean((2, 3))
        read = zip(self.local, (fine, maps), strict=True)
        spots = torch.cat([_sampled(local(stage), rough.detach()) for local, stage in read], 1)
        joined = self.join(torch.cat([spots, pooled, rough.detach().flatten(1)], 1))
        return {
            "rough": rough,
            "points": rough + 0.1 * self.offsets(joined).unflatten(1, (LANDMARKS, 2)),
            "rotation": _rotations(self.pose(joined)),
            "expression": self.expression(joined),
            "identity": self.identity(torch.cat([spots, pooled], 1)),
            "presence": self.presence(pooled)[:, 0],
            "pooled": torch.cat([fine.mean((2, 3)), pooled], 1),
        }

    @classmethod
    def load(cls, path: Path = WEIGHTS, digest: str = SHA256) -> Self:
        """The network as shipped: frozen, in evaluation mode.

        Raises:
            UserError: If the file is absent or is not the one that was shipped.
        """
        if not path.is_file():
            raise UserError(f"The face network is not at '{path}'; install the package again.")
        content = path.read_bytes()
        if sha256(content).hexdigest() != digest:
            raise UserError(f"'{path}' is not the face network that this version ships; install the package again.")
        network = cls()
        network.load_state_dict({name: tensor.float() for name, tensor in load_tensors(content).items()}, strict=False)
        return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # a fifth faster on a CPU


@cache
def shipped(device: torch.device) -> ProcFace:
    """The shipped network on a device, read once a process."""
    return ProcFace.load().to(device)


def resized(images: Tensor) -> Tensor:
    """Pictures ``B 3 H W`` at the network's own size: antialiased bilinear downwards, bilinear upwards.

    Raises:
        ValueError: If a shape is wrong.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"The pictures are {tuple(images.shape)}; pass RGB pictures B 3 H W.")
    if images.shape[-1] == SIDE:
        return images
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)


def _halved(width: int, wider: int) -> BasicBlock:
    shortcut = nn.Sequential(nn.Conv2d(width, wider, 1, 2, bias=False), nn.BatchNorm2d(wider))
    return BasicBlock(width, wider, 2, shortcut)


def _centres(heat: Tensor) -> Tensor:
    """Centres of mass ``B L 2`` (x, y) in [-1, 1] of the softmax of heatmaps ``B L H H``."""
    side = heat.shape[-1]
    mass = heat.contiguous().flatten(2).softmax(-1).unflatten(2, (side, side))
    axis = (2 * torch.arange(side, device=heat.device, dtype=heat.dtype) + 1) / side - 1
    return torch.stack([mass.sum(2) @ axis, mass.sum(3) @ axis], -1)


def _sampled(maps: Tensor, points: Tensor) -> Tensor:
    """What maps ``B C H H`` hold at points ``B L 2`` in [-1, 1], ``B CL``."""
    return F.grid_sample(maps, points[:, :, None], align_corners=False).flatten(1)


def _rotations(six: Tensor) -> Tensor:
    """Proper rotations ``B 3 3`` whose first two columns come from six numbers by Gram and Schmidt."""
    first = F.normalize(six[:, :3] + six.new_tensor([1.0, 0, 0]), dim=1)
    second = six[:, 3:] + six.new_tensor([0, 1.0, 0])
    second = F.normalize(second - (first * second).sum(1, keepdim=True) * first, dim=1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)
