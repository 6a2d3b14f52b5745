"""Layers and networks of the Deep Appearance Model and the encoders, and the drawing of meshes."""

import math

import pytest
import torch

from models.errors import UserError
from models.lipflow.encoders import HeadsetConfig, HeadsetEncoder, KeypointEncoder, KeypointEncoderConfig
from models.lipflow.layers import UntiedDeconvolution, convolution, linear
from models.lipflow.networks import AppearanceConfig, AppearanceModel, ColourCorrection, Decoder, Encoder
from models.rendering import mesh
from models.tasks.avatar import Cameras, Keypoints, Pictures


def sizes(texture=64, vertices=5, **changes):
    levels = int(math.log2(texture)) - 2
    given = {
        "latent": 8, "texture": texture, "vertices": vertices, "faces": 2, "cameras": 3,
        "encoder": [4] * levels, "decoder": [4] * (levels - 1), "features": 8, "view_features": 4,
        "mean_scale": 0.1, "log_sigma_scale": 0.01, "log_sigma_start": -2, "log_sigma_range": (-4, 1),
    }  # fmt: skip
    return AppearanceConfig(**given | changes)


def test_a_normed_layer_starts_as_an_ordinary_one_and_ignores_the_length_of_its_weight():
    layer = linear(6, 4)
    raw = layer.parametrizations.weight.original
    torch.testing.assert_close(layer.weight, raw)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        raw.mul_(3)
    torch.testing.assert_close(layer.weight, before)
    with torch.no_grad():
        layer.parametrizations.weight[0].gain[2] *= 2  # one gain an output
    torch.testing.assert_close(layer.weight[2], 2 * before[2])
    torch.testing.assert_close(layer.weight[3], before[3])


def test_glorots_bound_has_the_leaky_gain_or_none():
    bound = math.sqrt(6 / 600)
    assert linear(300, 300).weight.abs().max().item() == pytest.approx(math.sqrt(2 / 1.04) * bound, rel=1e-3)
    assert linear(300, 300, gain=1).weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert not linear(3, 3).bias.any()
    assert not convolution(3, 3).bias.any()


def test_a_deconvolution_starts_with_equal_phases_and_a_bias_for_every_texel():
    layer = UntiedDeconvolution(3, 2, 8)
    weight = layer.layer.weight
    for row, column in ((0, 1), (1, 0), (1, 1)):
        torch.testing.assert_close(weight[:, :, row::2, column::2], weight[:, :, ::2, ::2])
    flat = layer(torch.ones(1, 3, 4, 4))[0, :, 1:-1, 1:-1]
    assert (flat - flat[:, :1, :1]).abs().max() < 1e-5  # no checkerboard from a constant
    layer.bias.data[1, 2, 3] = 5
    changed = layer(torch.zeros(1, 3, 4, 4))
    assert changed[0, 1, 2, 3] == 5
    assert changed.abs().sum() == 5


@pytest.mark.parametrize("texture", [64, 128, 256, 512, 1024])
def test_any_texture_and_topology_pass_through(texture):
    config = sizes(texture, vertices=7)
    q = Encoder(config)(torch.randn(2, 3, texture, texture), torch.randn(2, 7, 3))
    assert q.mean.shape == q.log_sigma.shape == (2, 8)
    vertices, textures = Decoder(config)(q.mean, torch.randn(2, 3, 3))
    assert vertices.shape == (2, 7, 3)
    assert textures.shape == (2, 3, 3, texture, texture)


def test_the_paper_sized_model_has_multifaces_parameters():
    config = sizes(
        1024, vertices=7306, latent=256, features=256, view_features=8,
        encoder=[16, 16, 32, 32, 64, 64, 128, 128], decoder=[64, 64, 32, 32, 16, 16, 16],
    )  # fmt: skip
    with torch.device("meta"):
        model = AppearanceModel(config)
    biases = sum(m.bias.numel() for m in model.modules() if isinstance(m, UntiedDeconvolution))
    assert biases == sum(
        c * s * s for c, s in zip([64, 64, 32, 32, 16, 16, 16, 3], [8 << i for i in range(8)], strict=True)
    )
    last = [m.bias.numel() for m in model.modules() if isinstance(m, UntiedDeconvolution)][-3:]
    assert sum(last) > 0.9 * biases  # nearly all of them in the last three layers
    assert model.encoder.mesh_features.weight.shape == (256, 21918)


def test_the_mesh_does_not_depend_on_the_view_and_the_texture_does():
    torch.manual_seed(0)
    decoder, codes = Decoder(sizes()), torch.randn(2, 8)
    (one, first), (other, second) = (decoder(codes, torch.randn(2, 1, 3)) for _ in range(2))
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(decoder.geometry(codes), one)
    assert not torch.allclose(first, second)


def test_log_sigmas_keep_their_floor_and_start():
    config = sizes(log_sigma_scale=1000)
    q = Encoder(config)(torch.randn(4, 3, 64, 64), torch.randn(4, 5, 3))
    assert q.log_sigma.min() >= -4
    assert q.log_sigma.max() <= 1
    start = Encoder(sizes(log_sigma_scale=0))(torch.randn(4, 3, 64, 64), torch.randn(4, 5, 3)).log_sigma
    assert (start == -2).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texture": 48, "encoder": [4] * 4}, "cannot be halved"),
        ({"encoder": [4] * 3}, "takes 4 numbers in appearance.enc"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        AppearanceModel(sizes(64, **changes) if "texture" not in changes else sizes(**{"texture": 64} | changes))


def test_the_anchor_camera_and_cameras_of_no_dome_keep_their_colours():
    colour, textures = ColourCorrection(3), torch.randn(1, 3, 3, 4, 4)
    colour.gain.data.fill_(1)
    colour.bias.data.fill_(0.5)
    corrected = colour(textures, torch.tensor([[0, 2, -1]]))
    torch.testing.assert_close(corrected[0, [0, 2]], textures[0, [0, 2]])
    torch.testing.assert_close(corrected[0, 1], 2 * textures[0, 1] + 0.5)


def cameras(batch, count, size):
    eye = torch.eye(3).expand(batch, count, 3, 3)
    return Cameras(eye, eye, torch.tensor([0, 0, 1.0]).expand(batch, count, 3), size, torch.zeros(batch, count).long())


def test_the_headset_fusion_is_a_learnt_mixture_that_starts_even():
    torch.manual_seed(0)
    encoder = HeadsetEncoder(HeadsetConfig([4, 4], (2, 2)), 6)
    pictures = Pictures(torch.rand(2, 3, 1, 16, 16), torch.ones(2, 3, 1, 16, 16), cameras(2, 3, (16, 16)))
    deviation, mean = torch.std_mean(pictures.image, (2, 3, 4), correction=0, keepdim=True)
    images = (pictures.image - mean) / deviation
    each = torch.stack([net(images[:, i]) for i, net in enumerate(encoder.views)], -1)
    torch.testing.assert_close(encoder(pictures), each.mean(-1))
    encoder.attention.data[2] = torch.tensor([0.0, 50.0, 0.0])  # feature 2 looks at the second view alone
    torch.testing.assert_close(encoder(pictures)[:, 2], each[:, 2, 1])
    torch.testing.assert_close(encoder(pictures)[:, 0], each[:, 0].mean(-1))


def test_what_the_headset_does_not_see_changes_nothing():
    encoder = HeadsetEncoder(HeadsetConfig([4, 4], (2, 2)), 6)
    mask = (torch.rand(1, 3, 1, 16, 16) > 0.5).float()
    one, other = (Pictures(torch.rand(1, 3, 1, 16, 16), mask, cameras(1, 3, (16, 16))) for _ in range(2))
    other.image = torch.where(mask > 0, one.image, other.image)
    torch.testing.assert_close(encoder(one), encoder(other))


def test_the_headset_encoder_reads_contrast_whatever_the_light():
    encoder = HeadsetEncoder(HeadsetConfig([4, 4], (2, 2)), 6)
    mask = (torch.rand(2, 3, 1, 16, 16) > 0.3).float()
    pictures = Pictures(torch.rand(2, 3, 1, 16, 16), mask, cameras(2, 3, (16, 16)))
    brighter = Pictures(
        torch.tensor([0.5, 1.0, 2.0])[:, None, None, None] * pictures.image + 0.1, mask, pictures.cameras
    )
    torch.testing.assert_close(encoder(brighter), encoder(pictures))
    flat = Pictures(torch.full((2, 3, 1, 16, 16), 0.3), mask, pictures.cameras)
    hidden = Pictures(pictures.image, torch.zeros_like(mask), pictures.cameras)
    torch.testing.assert_close(encoder(flat), encoder(hidden))  # nothing to see, and no division by zero
    assert not torch.allclose(encoder(pictures), encoder(hidden))


def test_keypoints_are_standardised_by_their_deviation_and_absent_ones_count_as_the_mean():
    encoder = KeypointEncoder(KeypointEncoderConfig(4, 2), 6)
    encoder.mean.copy_(torch.rand(4, 2))
    encoder.std.fill_(0.1)
    seen = Keypoints(torch.rand(2, 4, 2) * 16, torch.ones(2, 4, dtype=torch.bool), cameras(2, 1, (16, 16)))
    h = encoder(seen)
    seen.present[1, 2] = False
    seen.points[1, 2] = torch.nan
    hidden = encoder(seen)
    torch.testing.assert_close(hidden[0], h[0])
    assert hidden[1].isfinite().all()
    seen.points[1, 2], seen.present[1, 2] = 16 * encoder.mean[2], True
    torch.testing.assert_close(encoder(seen)[1], hidden[1])


def triangle():
    points = torch.tensor([[[-0.4, -0.3, 0.0], [0.5, -0.2, 0.05], [0.0, 0.5, -0.05]]], dtype=torch.float64)
    return points, torch.tensor([[0, 1, 2]]), torch.tensor([[[0.1, 0.1], [0.9, 0.2], [0.4, 0.9]]], dtype=torch.float64)


def test_drawing_samples_the_texture_and_leaves_the_rest_black():
    points, faces, uv = triangle()
    colour = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    K = torch.tensor([[[12.0, 0, 7.5], [0, 12, 7.5], [0, 0, 1]]], dtype=torch.float64)
    pose = torch.eye(3, dtype=torch.float64)[None], torch.tensor([[0, 0, 1.0]], dtype=torch.float64)
    drawn, covered = mesh.draw(points, colour, faces, uv, K, *pose, (16, 16))
    assert 20 < covered.sum() < 120
    torch.testing.assert_close(drawn, colour[..., :1, :1] * covered)
    assert torch.equal(mesh.coverage(points, faces, K, *pose, (16, 16)), covered)


def test_drawing_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    points, faces, uv = triangle()
    texture = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4), size=32, mode="bilinear").double()
    K = torch.tensor([[[12.0, 0, 7.5], [0, 12, 7.5], [0, 0, 1]]], dtype=torch.float64)
    pose = torch.eye(3, dtype=torch.float64)[None], torch.tensor([[0, 0, 1.0]], dtype=torch.float64)
    weights = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    inside = torch.nn.functional.max_pool2d((~mesh.coverage(points, faces, K, *pose, (16, 16))).double(), 3, 1, 1) == 0

    def value(moved, painted):  # inside of the silhouette, through which no gradient passes
        return (mesh.draw(moved, painted, faces, uv, K, *pose, (16, 16))[0] * weights * inside).sum()

    points.requires_grad_()
    texture.requires_grad_()
    for_points, for_texture = torch.autograd.grad(value(points, texture), (points, texture))
    step = 1e-6
    for index in range(9):
        offset = torch.zeros(9, dtype=torch.float64)
        offset[index] = step
        offset = offset.view_as(points)
        numeric = (value(points + offset, texture) - value(points - offset, texture)) / (2 * step)
        assert numeric.item() == pytest.approx(for_points.flatten()[index].item(), rel=1e-4, abs=1e-6)
    offset = torch.randn_like(texture)
    numeric = (value(points, texture + offset) - value(points, texture - offset)) / 2
    assert numeric.item() == pytest.approx((for_texture * offset).sum().item(), rel=1e-9)
