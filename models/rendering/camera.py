"""Pinhole cameras in OpenCV axes: x right, y down, z forward; pixel centres at integers."""

import torch
from torch import Tensor


def intrinsics(focal: Tensor, height: int, width: int | None = None) -> Tensor:
    """Camera matrices of images with square pixels whose principal point is the image centre.

    Args:
        focal: ``B`` focal lengths as a multiple of the image height (35 mm-equivalent divided by 24 for a square crop).
        height: Rows of the image.
        width: Its columns; as many as rows if None.

    Returns:
        ``B 3 3`` matrices in pixels.

    Reference: Hartley and Zisserman, Multiple View Geometry, 2nd ed., eq. 6.4.
    """
    matrix = torch.zeros(len(focal), 3, 3, dtype=focal.dtype, device=focal.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = focal * height
    matrix[:, 0, 2] = ((width or height) - 1) / 2
    matrix[:, 1, 2] = (height - 1) / 2
    matrix[:, 2, 2] = 1
    return matrix


def rescaled(matrix: Tensor, factor: int) -> Tensor:
    """Camera matrices ``B 3 3`` of the same view sampled ``factor`` times as densely.

    With centres at integers a pixel x of the coarse image lies at ``factor * (x + 1/2) - 1/2`` of the fine one.

    Reference: Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 6.1.
    """
    scaled = matrix.clone()
    scaled[:, :2] *= factor
    scaled[:, :2, 2] += (factor - 1) / 2
    return scaled


def transform(points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Moves points ``B N 3`` by ``x -> R x + t`` with ``B 3 3`` and ``B 3``; metres.

    Reference: Hartley and Zisserman, Multiple View Geometry, 2nd ed., eq. 6.6.
    """
    # A product of three long rows; one of N rows of three is much slower on a CPU.
    return (rotation @ points.transpose(-1, -2) + translation[..., None]).transpose(-1, -2)


def project(points: Tensor, matrix: Tensor) -> Tensor:
    """Projects camera-space points ``B N 3`` in metres to (x pixels, y pixels, z metres), ``B N 3``.

    The perspective division is by the plain z: points at or behind the camera give values that the rasteriser drops.

    Reference: Hartley and Zisserman, Multiple View Geometry, 2nd ed., eq. 6.2.
    """
    depth = points[..., 2:]
    flat = points[..., :2] / torch.where(depth.abs() < 1e-9, torch.full_like(depth, 1e-9), depth)
    focal = torch.stack([matrix[:, 0, 0], matrix[:, 1, 1]], dim=-1)
    return torch.cat([flat * focal[:, None] + matrix[:, None, :2, 2], depth], dim=-1)


def unproject(depth: Tensor, matrix: Tensor) -> Tensor:
    """Lifts camera-z maps ``B 1 H W`` in metres to camera-space points ``B 3 H W``.

    Reference: Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 6.2.2.
    """
    height, width = depth.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=depth.dtype, device=depth.device),
        torch.arange(width, dtype=depth.dtype, device=depth.device),
        indexing="ij",
    )
    rays = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1)
    return (torch.linalg.solve(matrix, rays.expand(len(depth), 3, -1)) * depth.flatten(2)).reshape(
        len(depth), 3, height, width
    )
