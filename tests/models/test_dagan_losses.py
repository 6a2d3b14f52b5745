import math

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from models.dagan import losses
from models.dagan.blocks import AntiAliasDownsample
from models.dagan.keypoints import AffineKeypoints
from models.dagan.perceptual import PerceptualConfig, PerceptualLoss, VGG19Features
from models.dagan.reprojection import photometric_error, smoothness, ssim
from models.dagan.transform import RandomTransform, TransformConfig


def test_least_squares_values():
    real, fake = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 2.0])
    assert losses.generator_adversarial(fake) == pytest.approx((1 + 1) / 2)
    assert losses.discriminator_adversarial(real, fake) == pytest.approx(0.25 / 2 + 4 / 2)


def test_feature_matching_sums_blocks_and_spares_the_real_branch():
    real = [torch.zeros(2, 3, requires_grad=True), torch.ones(4)]
    fake = [torch.full((2, 3), 0.5, requires_grad=True), torch.full((4,), 3.0)]
    loss = losses.feature_matching(real, fake)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 + 2)
    assert real[0].grad is None
    assert fake[0].grad.abs().sum() > 0


@pytest.fixture
def transform():
    torch.manual_seed(3)
    config = TransformConfig(affine_sigma=0.05, spline_sigma=0.005, spline_points=5)
    return RandomTransform(2, config, torch.zeros(()))


def equivariant_pair(transform):
    """Keypoints of a transformed image, and those that an exactly equivariant detector finds in the image."""
    points = torch.rand(2, 6, 2) - 0.5
    jacobian = torch.eye(2) + 0.1 * torch.randn(2, 6, 2, 2)
    mapped = AffineKeypoints(transform.points(points), transform.jacobian(points) @ jacobian)
    return mapped, AffineKeypoints(points, jacobian)


def test_an_equivariant_detector_has_no_equivariance_loss(transform):
    driving, transformed = equivariant_pair(transform)
    assert losses.equivariance_value(driving, transformed, transform) == 0
    assert losses.equivariance_jacobian(driving, transformed, transform, 1e-4) < 1e-5


def test_equivariance_losses_of_a_known_error(transform):
    driving, transformed = equivariant_pair(transform)
    moved = AffineKeypoints(driving.value + 0.1, 2 * driving.jacobian)
    assert losses.equivariance_value(moved, transformed, transform) == pytest.approx(0.1, abs=1e-6)
    # I - (2 J)^-1 J = I/2, whose mean absolute entry is 1/4
    assert losses.equivariance_jacobian(moved, transformed, transform, 1e-4) == pytest.approx(0.25, abs=1e-5)


def plain_sign_distance(points, threshold):
    count = len(points)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    return sum(1 - np.sign(math.dist(points[i], points[j]) - threshold) for i, j in pairs) / count**2


def test_the_sign_distance_is_the_papers_formula_and_has_no_gradient():
    points = (torch.rand(3, 6, 2) * 0.6).requires_grad_()
    loss = losses.keypoint_distance(points, 0.2, "sign")
    expected = np.mean([plain_sign_distance(p, 0.2) for p in points.detach().numpy()])
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert not points.grad.any()


def test_the_hinge_distance_pushes_a_crowded_pair_apart():
    points = torch.tensor([[[0.0, 0.0], [0.05, 0.0], [0.9, 0.9]]], requires_grad=True)
    loss = losses.keypoint_distance(points, 0.2, "hinge")
    loss.backward()
    assert loss.item() == pytest.approx(2 * 0.15 / 6)
    assert points.grad[0, 0, 0] > 0 > points.grad[0, 1, 0]
    assert not points.grad[0, 2].any()


def test_keypoints_in_one_place_have_a_finite_gradient():
    points = torch.zeros(1, 3, 2, requires_grad=True)
    losses.keypoint_distance(points, 0.2, "hinge").backward()
    assert points.grad.isfinite().all()


def plain_ssim(a, b):
    """Every channel by scipy's box filter, whose 'mirror' border is torch's 'reflect'."""
    a, b = a.double().numpy()[0, 0], b.double().numpy()[0, 0]

    def mean(x):
        return uniform_filter(x, 3, mode="mirror")

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    return (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))


def test_ssim_is_the_plain_formula():
    a, b = torch.rand(2, 1, 1, 12, 17)
    np.testing.assert_allclose(ssim(a, b)[0, 0], plain_ssim(a, b), atol=2e-4)
    torch.testing.assert_close(ssim(a, a), torch.ones_like(a))


@pytest.mark.parametrize(("halve", "factor"), [(True, 0.5), (False, 1.0)])
def test_the_photometric_error_is_the_papers(halve, factor):
    a, b = torch.rand(2, 1, 1, 12, 17)
    expected = 0.8 * factor * (1 - plain_ssim(a, b)) + 0.2 * np.abs((a - b).numpy()[0, 0])
    np.testing.assert_allclose(photometric_error(a, b, 0.8, halve)[0, 0], expected, atol=2e-4)


def test_smoothness_forgives_depth_edges_at_image_edges():
    disparity = torch.ones(1, 1, 4, 4)
    disparity[..., 2:] = 3  # mean 2: one column of steps of 1
    flat = torch.zeros(1, 3, 4, 4)
    edge = flat.clone()
    edge[..., 2:] = 1
    assert smoothness(disparity, flat).item() == pytest.approx(1 / 3, rel=1e-5)
    assert smoothness(disparity, edge).item() == pytest.approx(math.exp(-1) / 3, rel=1e-5)
    assert smoothness(torch.full((1, 1, 4, 4), 0.3), flat) == 0


def test_the_weight_free_perceptual_loss_is_its_formula():
    torch.manual_seed(0)
    config = PerceptualConfig(kind="pyramid", scales=[1, 0.5], vgg19=[], pyramid=[2.0, 3.0, 4.0])
    a, b = torch.rand(2, 2, 3, 16, 16)
    half = AntiAliasDownsample(3, 0.5)
    expected = 0.0
    for x, y in ((a, b), (half(a), half(b))):
        along_x, along_y = ((x - y)[..., 1:] - (x - y)[..., :-1], (x - y)[..., 1:, :] - (x - y)[..., :-1, :])
        expected += 2 * (x - y).abs().mean() + 3 * along_x.abs().mean() + 4 * along_y.abs().mean()
    loss = PerceptualLoss(config)
    torch.testing.assert_close(loss(a, b), expected)
    assert loss.state_dict() == {}
    a.requires_grad_()
    value, slope = loss.with_slope(a, b)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope, torch.autograd.grad(loss(a, b), a)[0])


@pytest.mark.parametrize("pixels", [1, 2 * 16**2, 99**2])  # one image at once, two and then one, all three
def test_the_slope_of_the_perceptual_loss_is_that_of_all_images_however_few_are_kept(pixels, monkeypatch):
    monkeypatch.setattr("models.dagan.family.PIXELS_AT_ONCE", pixels)
    loss = PerceptualLoss(PerceptualConfig(kind="pyramid", scales=[1, 0.5], vgg19=[], pyramid=[2.0, 3.0, 4.0]))
    a, b = torch.rand(2, 3, 3, 16, 16)
    whole = loss(a.requires_grad_(), b)
    value, slope = loss.with_slope(a, b)
    torch.testing.assert_close(value, whole.detach())
    torch.testing.assert_close(slope, torch.autograd.grad(whole, a)[0])


def test_the_perceptual_loss_leaves_the_target_alone():
    config = PerceptualConfig(kind="pyramid", scales=[1], vgg19=[], pyramid=[1.0, 1.0, 1.0])
    preds, target = (torch.rand(1, 3, 8, 8, requires_grad=True) for _ in range(2))
    PerceptualLoss(config)(preds, target).backward()
    assert preds.grad.any()
    assert target.grad is None


@pytest.mark.parametrize("side", [32, 128])  # of the larger some layers are convolved by fewer products
def test_vgg_features_are_torchvisions_and_hold_no_parameter(side, monkeypatch):
    from torchvision.models import vgg19

    torch.manual_seed(0)
    network = vgg19()
    monkeypatch.setattr("models.weights.load", lambda name: network.state_dict())
    features = VGG19Features()
    image = torch.rand(1, 3, side, side)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    x, expected = (image - mean) / std, []
    for index, layer in enumerate(network.features[:30]):
        x = layer(x).clone()
        if index in (1, 6, 11, 20, 29):  # relu1_1, relu2_1, relu3_1, relu4_1, relu5_1
            expected.append(x)
    torch.testing.assert_close(features(image), expected)
    assert not list(features.parameters())
    assert features.state_dict() == {}
