"""The losses of DaGAN's second stage (DaGAN, eq. 10 and appendix A.1)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.dagan.keypoints import AffineKeypoints
from models.dagan.precision import in_full_precision
from models.dagan.transform import RandomTransform
from models.dagan.warping import inverse_2x2


@dataclass
class DaGANLossConfig:
    """Weights of the losses, beside those of the perceptual loss.

    Args:
        adversarial: Least-squares loss of the generator.
        feature_matching: Distance of the discriminator's features.
        equivariance_value: Keypoints under a known transform.
        equivariance_jacobian: Their jacobians under a known transform.
        keypoint_distance: Crowding of the keypoints, of source and driving each.
        keypoint_distance_kind: ``sign`` (eq. 13, no gradient), ``hinge`` (its differentiable twin) or ``none``.
        keypoint_distance_threshold: The distance in [-1, 1] coordinates below which a pair is crowded.
    """

    adversarial: float
    feature_matching: float
    equivariance_value: float
    equivariance_jacobian: float
    keypoint_distance: float
    keypoint_distance_kind: Literal["sign", "hinge", "none"]
    keypoint_distance_threshold: float


def generator_adversarial(fake: Tensor) -> Tensor:
    """Least squares: the discriminator should say 1 of every patch of the fake."""
    return (1 - fake).square().mean()


def discriminator_adversarial(real: Tensor, fake: Tensor) -> Tensor:
    """Least squares: 1 for every patch of the real image, 0 for every patch of the fake."""
    return (1 - real).square().mean() + fake.square().mean()


def feature_matching(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Sum over the discriminator's blocks of the mean distance of their features (pix2pixHD, eq. 4)."""
    return torch.stack([(a.detach() - b).abs().mean() for a, b in zip(real, fake, strict=True)]).sum()


def equivariance_value(driving: AffineKeypoints, transformed: AffineKeypoints, transform: RandomTransform) -> Tensor:
    """Keypoints of the transformed image, mapped back, should be those of the image (DaGAN, eq. 12)."""
    return (driving.value - transform.points(transformed.value)).abs().mean()


@in_full_precision
def equivariance_jacobian(
    driving: AffineKeypoints, transformed: AffineKeypoints, transform: RandomTransform, determinant_floor: float
) -> Tensor:
    """The same of their jacobians: J_d^-1 T'(x_T) J_T should be the identity (FOMM, eq. 13; not in DaGAN's text)."""
    assert driving.jacobian is not None
    assert transformed.jacobian is not None
    mapped = transform.jacobian(transformed.value) @ transformed.jacobian
    product = inverse_2x2(driving.jacobian, determinant_floor) @ mapped
    return (torch.eye(2).to(product) - product).abs().mean()


def keypoint_distance(points: Tensor, threshold: float, kind: Literal["sign", "hinge"]) -> Tensor:
    """Keeps the keypoints ``B K 2`` apart.

    Args:
        points: Coordinates in [-1, 1].
        threshold: The distance below which a pair counts.
        kind: ``sign`` is the mean over all pairs of 1 - sign(d - threshold) (DaGAN, eq. 13), whose gradient is zero;
            ``hinge`` is the mean of max(0, threshold - d), which does move them.
    """
    apart = ~torch.eye(points.shape[1], dtype=torch.bool, device=points.device)
    offset = (points[:, :, None] - points[:, None])[:, apart]
    if kind == "hinge":
        return (threshold - offset.square().sum(-1).clamp(min=1e-12).sqrt()).clamp(min=0).mean()
    close = (1 - torch.sign(offset.norm(dim=-1) - threshold)).sum(-1)
    return close.mean() / points.shape[1] ** 2
