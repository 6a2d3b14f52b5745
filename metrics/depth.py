"""Affine-invariant depth errors inside a mask: one value an image, float64, metres."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.base import PerSampleMetric, Status, check_finite, check_mask

KINDS = ("depth", "disparity", "closeness")
DEPTH_FLOOR, DISPARITY_FLOOR = 1e-6, 1e-3  # metres, 1/metres


class Alignment(NamedTuple):
    """A map brought to metres: ``depth`` ``B 1 H W``; ``scale``, ``shift`` and ``status`` ``B``."""

    depth: Tensor
    scale: Tensor
    shift: Tensor
    status: Tensor


def affine_align(preds: Tensor, kind: str, depth: Tensor, mask: Tensor) -> Alignment:
    """Least-squares scale >= 0 and shift that bring a map nearest to the true depth inside the mask.

    ``depth`` and ``closeness`` (negated) are fitted to depth, ``disparity`` to 1/depth and then inverted. Where the
    best scale is not positive, as for an inverted or constant map, the best allowed one is 0: the map becomes a
    constant and its status DEGENERATE_ALIGNMENT. Preds and depth are not interchangeable.

    Args:
        preds: ``B 1 H W``, any affine scale.
        kind: What the map is: ``depth``, ``disparity`` or ``closeness``.
        depth: ``B 1 H W``, camera z in metres; positive inside the mask.
        mask: ``B 1 H W``, bool.

    Returns:
        The alignment in float64; depth is floored at 1e-6 m, disparity at 1e-3 / m.

    Raises:
        ValueError: If a shape, type, kind or value is wrong.

    Reference: Ranftl et al. 2020, Towards Robust Monocular Depth Estimation (MiDaS), section 5, eq. 5.
    """
    _check(preds, kind, depth, mask)
    values = -preds.double() if kind == "closeness" else preds.double()
    safe = torch.where(mask, depth.double(), 1.0)
    goal = 1 / safe if kind == "disparity" else safe
    centre, goal_centre = _mean(values, mask), _mean(goal, mask)
    deviation = values - _wide(centre)
    scale = _mean(deviation * (goal - _wide(goal_centre)), mask) / _mean(deviation**2, mask)
    flat = _mean(deviation**2, mask) <= (1e-12 * centre) ** 2  # rounding alone gives a constant map its variance
    degenerate = ~(scale > 0) | flat
    scale = torch.where(degenerate, 0.0, scale)
    shift = goal_centre - scale * centre
    aligned = _wide(scale) * values + _wide(shift)
    aligned = 1 / aligned.clamp(min=DISPARITY_FLOOR) if kind == "disparity" else aligned.clamp(min=DEPTH_FLOOR)
    status = torch.where(degenerate, int(Status.DEGENERATE_ALIGNMENT), int(Status.OK))
    return Alignment(aligned, scale, shift, torch.where(_is_empty(mask), int(Status.EMPTY_MASK), status))


def abs_rel(aligned: Tensor, depth: Tensor, mask: Tensor) -> Tensor:
    """Mean of |aligned - depth| / depth inside the mask; not symmetric, the truth is the second argument.

    Args:
        aligned: ``B 1 H W``, metres, as `affine_align` returns it.
        depth: ``B 1 H W``, true metres.
        mask: ``B 1 H W``, bool.

    Returns:
        ``B``, float64, dimensionless; nan where the mask is empty.

    Reference: Eigen et al. 2014, Depth map prediction from a single image using a multi-scale network, section 4.
    """
    aligned, safe = _pair(aligned, depth, mask)
    return _mean((aligned - safe).abs() / safe, mask)


def delta(aligned: Tensor, depth: Tensor, mask: Tensor, threshold: float = 1.25) -> Tensor:
    """Share of the mask's pixels where max(aligned / depth, depth / aligned) is under the threshold, in [0, 1].

    Args, result and reference are those of `abs_rel`; the maps are interchangeable.
    """
    aligned, safe = _pair(aligned, depth, mask)
    ratio = torch.maximum(aligned / safe, safe / aligned)
    return _mean((ratio < threshold).double(), mask)


def rmse(aligned: Tensor, depth: Tensor, mask: Tensor) -> Tensor:
    """Root of the mean squared difference inside the mask in metres; a set's value is the mean over images.

    Args, result and reference are those of `abs_rel`; the maps are interchangeable.
    """
    aligned, safe = _pair(aligned, depth, mask)
    return _mean((aligned - safe) ** 2, mask).sqrt()


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

    Reference: Eigen and Fergus 2015, Predicting depth, surface normals and semantic labels, section 5.2 (mean angle).
    """
    aligned, safe = _pair(aligned, depth, mask)
    inside = F.max_pool2d((~mask).double(), 3, stride=1) == 0
    first, second = _normals(aligned, intrinsics), _normals(safe, intrinsics)
    sine = torch.linalg.cross(first, second, dim=1).norm(dim=1, keepdim=True)
    cosine = (first * second).sum(1, keepdim=True)
    return _mean(torch.atan2(sine, cosine).rad2deg(), inside)  # acos loses half the digits near 0


class DepthMetric(PerSampleMetric):
    """A depth error after `affine_align`; an inverted map counts as the constant one, never as missing."""

    factor: ClassVar[float] = 1.0

    def update(
        self,
        preds: Tensor,
        kind: str,
        depth: Tensor,
        mask: Tensor,
        intrinsics: Tensor,
        sample_ids: Sequence[str],
    ) -> None:
        """Adds maps ``B 1 H W`` of a kind, with true depth in metres, masks, and intrinsics ``B 3 3`` in pixels."""
        alignment = affine_align(preds, kind, depth, mask)
        values = self.error(alignment.depth, depth, mask, intrinsics) * self.factor
        self.append(sample_ids, values, torch.where(values.isnan(), int(Status.EMPTY_MASK), alignment.status))

    def error(self, aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
        """The error ``B`` of aligned maps."""
        raise NotImplementedError


class AbsRel(DepthMetric):
    """`abs_rel` after alignment with positive scale."""

    name = "AbsRel"
    higher_is_better = False
    protocol = "face skin, scale > 0 and shift fitted per image, metric depth"
    digits = 4

    def error(self, aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
        """Implements `DepthMetric`."""
        return abs_rel(aligned, depth, mask)


class Delta1(DepthMetric):
    """`delta` at 1.25 after alignment with positive scale; near 1 for any face, since faces are shallow."""

    name = "Delta1"
    higher_is_better = True
    protocol = "share of skin pixels within a factor 1.25, aligned as AbsRel"
    digits = 3

    def error(self, aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
        """Implements `DepthMetric`."""
        return delta(aligned, depth, mask)


class RMSE(DepthMetric):
    """`rmse` after alignment with positive scale, in millimetres."""

    name = "RMSE"
    unit = "mm"
    higher_is_better = False
    protocol = "per image and then averaged, aligned as AbsRel"
    digits = 2
    factor = 1000.0

    def error(self, aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
        """Implements `DepthMetric`."""
        return rmse(aligned, depth, mask)


class NormalError(DepthMetric):
    """`normal_error` after alignment with positive scale."""

    name = "NormalError"
    unit = "°"
    higher_is_better = False
    protocol = "mean angle of normals inside the eroded skin, aligned as AbsRel"
    digits = 2

    def error(self, aligned: Tensor, depth: Tensor, mask: Tensor, intrinsics: Tensor) -> Tensor:
        """Implements `DepthMetric`."""
        return normal_error(aligned, depth, mask, intrinsics)


def _check(preds: Tensor, kind: str, depth: Tensor, mask: Tensor) -> None:
    if kind not in KINDS:
        raise ValueError(f"'{kind}' is no kind of depth map; say which it is of {', '.join(KINDS)}.")
    _check_pair("The predicted map", preds, depth, mask)
    check_finite("The predicted map", preds)


def _check_pair(name: str, preds: Tensor, depth: Tensor, mask: Tensor) -> None:
    if preds.ndim != 4 or preds.shape[1] != 1 or preds.shape != depth.shape:
        shapes = f"{tuple(preds.shape)} and {tuple(depth.shape)}"
        raise ValueError(f"{name} and the true depth are {shapes}; pass two batches of one shape, B 1 H W.")
    check_mask(mask, preds)
    check_finite(name, torch.where(mask, preds, 1))
    check_finite("The true depth", torch.where(mask, depth, 1))
    if (mask & (depth <= 0)).any():
        raise ValueError("The true depth is not positive inside the mask; pass metres, and mask what has no depth.")


def _pair(aligned: Tensor, depth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    _check_pair("The aligned depth", aligned, depth, mask)
    return aligned.double(), torch.where(mask, depth.double(), 1.0)


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


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of each image inside the mask; nan where that is empty."""
    return torch.where(mask, values, 0.0).sum((1, 2, 3)) / mask.sum((1, 2, 3))


def _is_empty(mask: Tensor) -> Tensor:
    return ~mask.flatten(1).any(1)


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
