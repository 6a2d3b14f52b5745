"""Depth, pose and camera to a warp, and the photometric losses of the first stage (DaGAN, section 3.2)."""

import torch
from kornia.geometry.conversions import axis_angle_to_rotation_matrix
from kornia.losses import inverse_depth_smoothness_loss
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from models.dagan.depth import RigidMotion
from models.dagan.precision import in_full_precision


def disparity_to_depth(disparity: Tensor, nearest: float, farthest: float) -> Tensor:
    """Maps disparity in (0, 1) to depth between ``nearest`` and ``farthest`` (monodepth2)."""
    low, high = 1 / farthest, 1 / nearest
    return 1 / (low + (high - low) * disparity)


@in_full_precision
def rigid_transform(motion: RigidMotion, invert: bool) -> tuple[Tensor, Tensor]:
    """The rotation ``B 3 3`` and translation ``B 3`` of a motion x -> Rx + t, or of its inverse."""
    rotation = axis_angle_to_rotation_matrix(motion.axis_angle)
    if not invert:
        return rotation, motion.translation
    return rotation.mT, -(rotation.mT @ motion.translation[..., None])[..., 0]


@in_full_precision
def reproject(depth: Tensor, rotation: Tensor, translation: Tensor, camera: Tensor) -> Tensor:
    """Where every pixel of a frame lies in another: K (R D(p) K^-1 p + t) (DaGAN, eq. 3).

    Args:
        depth: Camera z of the frame, ``B 1 H W``.
        rotation: From the frame's camera to the other's, ``B 3 3``.
        translation: The same, ``B 3``, in the unit of depth.
        camera: Intrinsics of both, ``B 3 3`` in pixels, zero skew.

    Returns:
        Pixels (x, y), ``B H W 2``.
    """
    height, width = depth.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=depth.device), torch.arange(width, device=depth.device), indexing="ij"
    )
    pixels = torch.stack([x, y], -1).to(depth)
    focal = camera.diagonal(dim1=1, dim2=2)[:, None, None, :2]
    centre = camera[:, None, None, :2, 2]
    rays = pad((pixels - centre) / focal, (0, 1), value=1.0)
    points = torch.einsum("bij,bhwj->bhwi", rotation, rays * depth[:, 0, ..., None]) + translation[:, None, None]
    return points[..., :2] / points[..., 2:].clamp(min=1e-4) * focal + centre


def sample_pixels(image: Tensor, pixels: Tensor, align_corners: bool) -> Tensor:
    """Samples ``B C H W`` at pixels ``B h w 2``; beyond the border, the border's colour."""
    size = torch.tensor([image.shape[3], image.shape[2]]).to(pixels)
    grid = pixels / (size - 1) * 2 - 1
    return grid_sample(image, grid, padding_mode="border", align_corners=align_corners)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity over 3 x 3 windows, at every pixel and channel.

    Args:
        a: Images ``... C H W`` in [0, 1].
        b: The same, or fewer axes: what all of ``a`` is compared with is looked at once.
    """
    a, b = _bordered(a), _bordered(b)
    mean_a, mean_b = _mean_3x3(a), _mean_3x3(b)
    var_a = _mean_3x3(a * a) - mean_a**2
    var_b = _mean_3x3(b * b) - mean_b**2
    covariance = _mean_3x3(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return structure / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def _bordered(x: Tensor) -> Tensor:
    """One pixel more on each side, by reflection; torch takes no more than four axes."""
    return pad(x.flatten(0, -4), (1, 1, 1, 1), mode="reflect").unflatten(0, x.shape[:-3])


def _mean_3x3(x: Tensor) -> Tensor:
    """The mean over windows without padding; by sums, for avg_pool2d takes four times as long on a CPU."""
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def photometric_error(preds: Tensor, target: Tensor, alpha: float, halve_ssim: bool) -> Tensor:
    """The error alpha (1 - SSIM) + (1 - alpha) |a - b| at every pixel, ``... 1 H W`` (DaGAN, eq. 5).

    Args:
        preds: The reconstructed images, ``... 3 H W`` in [0, 1].
        target: The images, ``B 3 H W``.
        alpha: Weight of the structural term.
        halve_ssim: Whether that term is (1 - SSIM)/2 (released code) or 1 - SSIM (eq. 5).
    """
    dissimilarity = ((1 - ssim(preds, target)) / 2).clamp(0, 1) * (1 if halve_ssim else 2)
    return (alpha * dissimilarity + (1 - alpha) * (preds - target).abs()).mean(-3, keepdim=True)


@in_full_precision
def smoothness(disparity: Tensor, image: Tensor) -> Tensor:
    """Change of the mean-normalised disparity where the image does not change (monodepth2, eq. 3)."""
    image = interpolate(image, size=disparity.shape[-2:], mode="area")
    disparity = disparity / (disparity.mean((2, 3), keepdim=True) + 1e-7)
    return inverse_depth_smoothness_loss(disparity, image)
