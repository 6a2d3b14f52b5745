"""The random transform of the equivariance losses: affine and thin-plate spline (FOMM, section 3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.dagan.precision import in_full_precision
from models.dagan.warping import coordinate_grid, warp


@dataclass
class TransformConfig:
    """The random transform.

    Args:
        affine_sigma: Standard deviation of the six affine coefficients around the identity.
        spline_sigma: Standard deviation of the spline coefficients.
        spline_points: Control points on a side.
    """

    affine_sigma: float
    spline_sigma: float
    spline_points: int


class RandomTransform:
    """A smooth change of coordinates T, drawn anew for every sample; the transformed image is the image at T(z).

    Its spline has the basis r^2 log(r + 1e-6) of the L1 distance r, and moves x and y alike, as released.
    """

    def __init__(self, batch: int, config: TransformConfig, like: Tensor) -> None:
        def noise(*shape: int) -> Tensor:
            return torch.randn(shape, device=like.device, dtype=like.dtype)

        points = config.spline_points
        self.affine = torch.eye(2, 3).to(like) + config.affine_sigma * noise(batch, 2, 3)
        self.centres = coordinate_grid(points, points, like).flatten(0, 1)
        self.weights = config.spline_sigma * noise(batch, points**2)

    def image(self, image: Tensor, align_corners: bool) -> Tensor:
        """Transforms images ``B C H W``, reflected beyond the border."""
        grid = coordinate_grid(image.shape[2], image.shape[3], image)
        moved = self.points(grid.flatten(0, 1)[None])
        return warp(image, moved.unflatten(1, grid.shape[:2]), align_corners, "reflection")

    @in_full_precision
    def points(self, points: Tensor) -> Tensor:
        """Maps points ``B N 2`` in [-1, 1], or ``1 N 2`` for the whole batch, to T of them."""
        distance = self._offsets(points).abs().sum(-1)
        spline = (distance.square() * torch.log(distance + 1e-6)) @ self.weights[..., None]
        return points @ self.affine[:, :, :2].mT + self.affine[:, None, :, 2] + spline

    @in_full_precision
    def jacobian(self, points: Tensor) -> Tensor:
        """The derivative of T at points ``B N 2``, in closed form: ``B N 2 2``."""
        offsets = self._offsets(points)
        r = offsets.abs().sum(-1)
        slope = 2 * r * torch.log(r + 1e-6) + r.square() / (r + 1e-6)
        gradient = ((self.weights[:, None] * slope)[..., None] * offsets.sign()).sum(-2)
        return self.affine[:, None, :, :2] + gradient[..., None, :]

    def _offsets(self, points: Tensor) -> Tensor:
        return points[:, :, None] - self.centres
