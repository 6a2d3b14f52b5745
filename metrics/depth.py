"""Affine-invariant depth errors inside a mask: one value an image, float64, metres."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.alignment import Space, affine_align, check_depths, check_space, depth_range, in_space, masked_mean
from metrics.base import Card, PerSampleMetric, Scored, Status, check_finite

VALUE_RANGE, PARITY = "[0, inf); 0 for a map that is right up to scale and shift", "20, 21, 22, 23"  # of most
SPACES = {
    "unit": "true depth over its range in the mask as [0.1, 1] (RMSE: as [0, 1])",
    "closeness": "nearest true pixel 1, farthest 0, floor 1e-3",
}
ILL_CONDITIONED = "ill-conditioned, for the pixels whose truth is nearly 0 rule it"  # a ratio in closeness


def abs_rel(aligned: Tensor, depth: Tensor, mask: Tensor) -> Tensor:
    """Mean of |aligned - depth| / depth inside the mask; not symmetric, the truth is the second argument.

    Args:
        aligned: ``B 1 H W``, metres, as `affine_align` returns it; positive inside the mask, as the truth.
        depth: ``B 1 H W``, true metres.
        mask: ``B 1 H W``, bool.

    Returns:
        ``B``, float64, dimensionless; nan where the mask is empty.

    Raises:
        ValueError: If a shape, type or value is wrong.

    Reference: Eigen et al. 2014, Depth map prediction from a single image using a multi-scale network, section 4.
    """
    aligned, safe = _pair(aligned, depth, mask)
    return masked_mean((aligned - safe).abs() / safe, mask)


def delta(aligned: Tensor, depth: Tensor, mask: Tensor, threshold: float = 1.25) -> Tensor:
    """Share of the mask's pixels where max(aligned / depth, depth / aligned) is under the threshold, in [0, 1].

    Args, result, errors and reference are those of `abs_rel`, and a threshold of at most 1; the maps are
    interchangeable.
    """
    if not threshold > 1:
        raise ValueError(f"The threshold of delta is {threshold}; pass a factor above 1, such as 1.25.")
    aligned, safe = _pair(aligned, depth, mask)
    ratio = torch.maximum(aligned / safe, safe / aligned)
    return masked_mean((ratio < threshold).double(), mask)


def rmse(aligned: Tensor, depth: Tensor, mask: Tensor) -> Tensor:
    """Root of the mean squared difference inside the mask in metres; a set's value is the mean over images.

    Args, result, errors and reference are those of `abs_rel`; the maps are interchangeable.
    """
    aligned, safe = _pair(aligned, depth, mask)
    return masked_mean((aligned - safe) ** 2, mask).sqrt()


def normal_error(aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
    """Mean angle in degrees between the surface normals of two depth maps, unprojected by the camera.

    A normal is the cross product of central differences of the points; it counts where the pixel and its eight
    neighbours lie inside the mask. The maps are interchangeable.

    Args:
        aligned: ``B 1 H W``, metres.
        depth: ``B 1 H W``, true metres.
        mask: ``B 1 H W``, bool.
        intrinsics: ``B 3 3``, pixels.

    Returns:
        ``B``, float64 in [0, 180]; nan where no pixel is left.

    Raises:
        ValueError: If a shape, type or value is wrong, a map is under 3 pixels, or a camera has no inverse.

    Reference: Eigen and Fergus 2015, Predicting depth, surface normals and semantic labels, section 5.2 (mean angle).
    """
    aligned, safe = _pair(aligned, depth, mask)
    _check_cameras(intrinsics, aligned)
    inside = F.max_pool2d((~mask).double(), 3, stride=1) == 0
    first, second = _normals(aligned, intrinsics), _normals(safe, intrinsics)
    sine = torch.linalg.cross(first, second, dim=1).norm(dim=1, keepdim=True)
    cosine = (first * second).sum(1, keepdim=True)
    return masked_mean(torch.atan2(sine, cosine).rad2deg(), inside)  # acos loses half the digits near 0


class DepthMetric(PerSampleMetric):
    """A depth error after `affine_align`; an inverted map counts as the constant one, never as missing.

    Args:
        space: Where the error is taken, see `in_space`; another than ``metric`` is named.
    """

    is_ratio: ClassVar[bool] = True  # of two maps, which a truth near 0 makes large

    def __init__(self, space: Space = "metric") -> None:
        super().__init__()
        check_space(space)
        self.space: Space = space
        self.card = self.card_in(space)

    @classmethod
    def card_in(cls, space: Space) -> Card:
        """The card of the metric in a space."""
        if space == "metric":
            return cls.card
        facts = [cls.card.protocol.replace(", metric depth", ""), SPACES[space]]
        facts += [ILL_CONDITIONED] if cls.is_ratio and space == "closeness" else []
        return replace(cls.card, name=f"{cls.card.name}-{space}", protocol=", ".join(facts))

    @classmethod
    def by(cls, space: Space) -> Scored:
        """The metric in that space, for a task's list."""
        return Scored(cls.card_in(space), partial(cls, space))

    def update(
        self,
        preds: Tensor,
        kind: str,
        depth: Tensor,
        mask: Tensor,
        intrinsics: Tensor,
        sample_ids: Sequence[str],
        status: Tensor | None = None,
    ) -> None:
        """Adds maps ``B 1 H W`` of a kind, with true depth in metres, masks, and intrinsics ``B 3 3`` in pixels."""
        alignment = affine_align(preds, kind, depth, mask)
        values = self.error(alignment.depth, depth, mask, intrinsics)
        own = alignment.status.masked_fill(values.isnan(), int(Status.EMPTY_MASK))
        self.append(sample_ids, values, own, status)

    def error(self, aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
        """The error ``B`` of aligned maps."""
        raise NotImplementedError


class AbsRel(DepthMetric):
    """`abs_rel` after alignment with positive scale."""

    card = Card(
        name="AbsRel",
        group="depth",
        higher_is_better=False,
        protocol="face skin, scale > 0 and shift fitted per image, metric depth",
        digits=4,
        definition="Mean over skin pixels of |d - d'| / d after the best scale and shift of each image.",
        value_range=VALUE_RANGE,
        reference="Eigen et al. 2014, Depth map prediction from a single image using a multi-scale network, section 4",
        traps=(
            "Governed by the space: a shallow face in metres scores near 0 with no geometry at all, and in a unit "
            "range the pixels whose truth is nearly 0 rule it. Read it beside the constant-depth row."
        ),
        parity=PARITY,
    )

    def error(self, aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
        """Implements `DepthMetric`."""
        return abs_rel(*in_space(aligned, depth, mask, self.space), mask)


class Delta1(DepthMetric):
    """`delta` at 1.25 after alignment with positive scale; near 1 for any face, since faces are shallow."""

    card = Card(
        name="Delta1",
        group="depth",
        higher_is_better=True,
        protocol="share of skin pixels within a factor 1.25, aligned as AbsRel",
        definition="Share of skin pixels whose aligned depth is within a factor 1.25 of the truth.",
        value_range="[0, 1]; 1 for a map that is right up to scale and shift",
        reference="Eigen et al. 2014, Depth map prediction from a single image using a multi-scale network, section 4",
        traps="In metres 1 for a constant map of a face; the space moves it more than methods do.",
        parity=PARITY,
    )
    threshold: ClassVar[float] = 1.25

    def error(self, aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
        """Implements `DepthMetric`."""
        return delta(*in_space(aligned, depth, mask, self.space), mask, self.threshold)


class Delta2(Delta1):
    """`delta` at 1.25² after alignment with positive scale."""

    card = replace(
        Delta1.card,
        name="Delta2",
        protocol="share of skin pixels within a factor 1.25², aligned as AbsRel",
        definition="Share of skin pixels whose aligned depth is within a factor 1.25² of the truth.",
    )
    threshold = 1.25**2


class Delta3(Delta1):
    """`delta` at 1.25³ after alignment with positive scale."""

    card = replace(
        Delta1.card,
        name="Delta3",
        protocol="share of skin pixels within a factor 1.25³, aligned as AbsRel",
        definition="Share of skin pixels whose aligned depth is within a factor 1.25³ of the truth.",
    )
    threshold = 1.25**3


class RMSE(DepthMetric):
    """`rmse` after alignment with positive scale: in millimetres, or else as a share of the true depth range."""

    card = Card(
        name="RMSE",
        group="depth",
        higher_is_better=False,
        protocol="per image and then averaged, aligned as AbsRel",
        unit="mm",
        digits=2,
        definition="Root of the mean squared difference over skin pixels after the best scale and shift of each image.",
        value_range=VALUE_RANGE,
        reference="Eigen et al. 2014, Depth map prediction from a single image using a multi-scale network, section 4",
        traps="The mean of images' RMSE is not the RMSE of the pooled error; fitting the background too inflates it.",
        parity=PARITY,
    )

    is_ratio = False

    @classmethod
    def card_in(cls, space: Space) -> Card:
        """The card of the metric in a space; a share of the depth range has no unit."""
        card = super().card_in(space)
        return card if space == "metric" else replace(card, unit="", digits=4)

    def error(self, aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
        """Implements `DepthMetric`."""
        root = rmse(aligned, depth, mask)
        return 1000 * root if self.space == "metric" else root / depth_range(depth, mask)[1]


class NormalError(DepthMetric):
    """`normal_error` after alignment with positive scale; there is no other space than the metric one."""

    card = Card(
        name="NormalError",
        group="depth",
        higher_is_better=False,
        protocol="mean angle of normals inside the eroded skin, aligned as AbsRel",
        unit="°",
        digits=2,
        definition="Mean angle between the normals of the aligned and of the true surface, unprojected by the camera.",
        value_range="[0, 180] degrees; 0 for a map that is right up to scale and shift",
        reference="Eigen and Fergus 2015, Predicting depth, surface normals and semantic labels, section 5.2",
        traps="Grows with resolution for a noisy map, since neighbours are differenced; needs the camera.",
        parity="21",
    )

    def __init__(self) -> None:
        super().__init__()

    def error(self, aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
        """Implements `DepthMetric`."""
        return normal_error(aligned, depth, mask, intrinsics)


def _pair(aligned: Tensor, depth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The two in float64, the truth 1 outside the mask, if they are metres."""
    check_depths("The aligned depth", aligned, depth, mask)
    if (mask & (aligned <= 0)).any():
        raise ValueError(
            "The aligned depth is not positive inside the mask; pass metres, as `affine_align` gives them."
        )
    return aligned.double(), torch.where(mask, depth.double(), 1.0)


def _check_cameras(intrinsics: Tensor, maps: Tensor) -> None:
    if intrinsics.shape != (len(maps), 3, 3) or min(maps.shape[2:]) < 3:
        shapes = f"{tuple(intrinsics.shape)} and {tuple(maps.shape)}"
        raise ValueError(f"Cameras and maps are {shapes}; pass intrinsics B 3 3, and maps of at least 3 x 3 pixels.")
    check_finite("A camera", intrinsics)
    if (torch.linalg.det(intrinsics.double()) == 0).any():
        raise ValueError("A camera has no inverse; pass intrinsics with focal lengths in pixels.")


def _normals(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Normals ``B 3 H-2 W-2`` of the unprojected interior pixels, not normalised, towards the camera."""
    height, width = depth.shape[2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)]).to(depth).reshape(3, -1)
    rays = (torch.linalg.inv(intrinsics.to(depth)) @ pixels).reshape(-1, 3, height, width)
    points = depth * rays
    right = points[..., 1:-1, 2:] - points[..., 1:-1, :-2]
    down = points[..., 2:, 1:-1] - points[..., :-2, 1:-1]
    return torch.linalg.cross(down, right, dim=1)
