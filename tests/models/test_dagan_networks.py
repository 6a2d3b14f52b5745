import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, elu, interpolate, relu, scaled_dot_product_attention
from torchvision.models import resnet18, resnet50

from models.dagan import blocks, depth
from models.dagan.blocks import AntiAliasDownsample, DownBlock, Hourglass, SameBlock, UpBlock
from models.dagan.depth import DepthConfig, DepthNetwork, ResNetTrunk
from models.dagan.generator import AttentionConfig, CrossModalAttention, attend
from models.dagan.keypoints import AffineKeypoints, transfer_motion
from models.errors import UserError
from tests.models.released_files import published


def shapes(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def millions(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


@pytest.fixture
def paper(dagan):
    with torch.device("meta"):
        return dagan(image_size=256)


@pytest.fixture
def paper_depth(depth_stage):
    with torch.device("meta"):
        return depth_stage(image_size=256)


@pytest.mark.parametrize(
    ("part", "attribute"),
    [("generator", "generator"), ("kp_detector", "keypoint_detector"), ("discriminator", "discriminator")],
)
def test_the_paper_size_has_the_names_and_shapes_of_the_released_weights(paper, part, attribute):
    assert shapes(getattr(paper, attribute)) == published(part)


def test_the_depth_stage_has_the_names_and_shapes_of_the_released_weights(paper_depth):
    decoder = {k: v for k, v in shapes(paper_depth.depth_network).items() if k.startswith("decoder.")}
    heads = {k: v for k, v in shapes(paper_depth.pose_network).items() if k.startswith("net.")}
    trunk = {k: v for k, v in shapes(resnet18()).items() if not k.startswith("fc.")}
    assert decoder == published("dec18")
    assert heads == published("pose")
    assert shapes(paper_depth.depth_network.encoder) == trunk
    assert shapes(paper_depth.pose_network.encoder) == trunk | {"conv1.weight": (64, 6, 7, 7)}


def test_the_paper_size_has_the_published_parameter_counts(paper, paper_depth):
    assert millions(paper.generator) == pytest.approx(46.10, abs=0.005)
    assert millions(paper.generator.dense_motion_network) == pytest.approx(37.80, abs=0.005)
    assert millions(paper.generator.bottleneck) == pytest.approx(7.09, abs=0.005)
    assert millions(paper.generator.AttnModule) == pytest.approx(0.082, abs=0.0005)
    assert millions(paper.keypoint_detector) == pytest.approx(14.26, abs=0.005)
    assert millions(paper.discriminator) == pytest.approx(2.77, abs=0.005)
    assert millions(paper.depth_network.encoder) == pytest.approx(11.18, abs=0.005)
    assert millions(paper.depth_network.decoder) == pytest.approx(3.15, abs=0.005)
    assert millions(paper_depth.pose_network.net) == pytest.approx(1.32, abs=0.005)


def test_fomm_has_its_published_parameter_count(dagan):
    with torch.device("meta"):
        model = dagan("variants/dagan/fomm.yaml", image_size=256)
    assert millions(model.keypoint_detector) == pytest.approx(14.22, abs=0.01)
    assert model.depth_network is None
    assert not any(name.startswith(("src_", "AttnModule")) for name in model.generator.state_dict())


@pytest.mark.parametrize("size", [70, 90])
def test_an_image_size_that_the_blocks_cannot_halve_is_refused(dagan, size):
    with pytest.raises(UserError, match=f"image_size {size} is not a multiple of"):
        dagan(image_size=size)


@pytest.mark.parametrize(("make", "layers"), [(resnet18, 18), (resnet50, 50)])
def test_the_trunk_is_torchvisions_resnet(make, layers):
    torch.manual_seed(0)
    theirs, ours = make().eval(), ResNetTrunk(layers, 64).eval()
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")})
    image = torch.rand(1, 3, 64, 64)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1((image - 0.45) / 0.225))))
    for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        x = layer(x)
    torch.testing.assert_close(ours(image)[-1], x)


@pytest.mark.parametrize("size", [(64, 64), (70, 90)])
def test_disparity_has_the_size_of_the_image_and_its_pyramid_halves_it(size):
    network = DepthNetwork(DepthConfig(layers=10, width=8, decoder_width=4)).eval()
    image = torch.rand(1, 3, *size)
    pyramid = network.pyramid(image)
    assert [level.shape[-1] for level in pyramid] == [-(-size[1] // 2**i) for i in range(4)]
    torch.testing.assert_close(network(image), pyramid[0])
    assert 0 < pyramid[0].min() < pyramid[0].max() < 1


@pytest.mark.parametrize(("scale", "sigma", "kernel"), [(0.5, 0.5, 5), (0.25, 1.5, 13), (0.125, 3.5, 29)])
def test_the_downsampling_is_a_gaussian_blur_then_a_stride(scale, sigma, kernel):
    image = np.random.default_rng(0).random((48, 48))
    down = AntiAliasDownsample(1, scale)
    radius = kernel // 2
    expected = gaussian_filter(image, sigma, mode="constant", truncate=radius / sigma)
    preds = down(torch.from_numpy(image).float()[None, None])[0, 0]
    assert down.weight.shape[-1] == kernel
    np.testing.assert_allclose(preds, expected[:: round(1 / scale), :: round(1 / scale)], atol=1e-6)


def test_scale_one_leaves_the_image_alone():
    image = torch.rand(1, 3, 8, 8)
    assert AntiAliasDownsample(3, 1)(image) is image
    assert AntiAliasDownsample(3, 1).state_dict() == {}


@pytest.mark.parametrize("size", [(32, 32), (21, 37)])
def test_the_hourglass_keeps_the_size_and_passes_its_input_through(size):
    hourglass = Hourglass(4, block_expansion=8, num_blocks=3, max_features=16).eval()
    x = torch.rand(2, 4, *size)
    y = hourglass(x)
    assert y.shape == (2, 12, *size)
    torch.testing.assert_close(y[:, 8:], x)
    levels, skips = hourglass.levels(x), hourglass.encoder(x)
    assert [level.shape[2:] for level in levels] == [skip.shape[2:] for skip in skips]
    assert torch.equal(levels[0], y)
    assert torch.equal(levels[-1], skips[-1])


@pytest.mark.parametrize("scale", ["legacy", "scaled"])
def test_attention_equals_an_explicit_softmax(scale):
    torch.manual_seed(0)
    module = CrossModalAttention(16, AttentionConfig(query="source", scale=scale, reduction=4, pool=1))
    module.gamma.data.fill_(0.7)
    query, warped = torch.randn(2, 16, 5, 6), torch.randn(2, 16, 5, 6)

    def projected(layer, x):
        weight = layer.weight[:, :, 0, 0]
        return (torch.einsum("oc,bcn->bon", weight, x.flatten(2)) + layer.bias[:, None]).clamp(min=0)

    q, k = projected(module.query_conv, query), projected(module.key_conv, warped)
    v = projected(module.value_conv, warped)
    logits = torch.einsum("bci,bcj->bij", q, k) / (2 if scale == "scaled" else 1)
    expected = torch.einsum("bij,bcj->bci", logits.exp() / logits.exp().sum(-1, keepdim=True), v)
    torch.testing.assert_close(module(query, warped), 0.7 * expected.view_as(warped) + warped)


def test_attention_of_many_tokens_is_taken_in_parts_that_do_not_show(monkeypatch):
    monkeypatch.setattr("models.dagan.generator.MAP_AT_ONCE", 900 * 400)
    torch.manual_seed(0)
    module = CrossModalAttention(8, AttentionConfig(query="source", scale="legacy", reduction=2, pool=1))
    module.gamma.data.fill_(1.0)
    query, warped = torch.randn(1, 8, 30, 30), torch.randn(1, 8, 30, 30)
    order = torch.randperm(900)  # of the queries: each of them lands in another part
    shuffled = query.flatten(2)[..., order].view_as(query)
    attended, moved = (module(q, warped) - warped for q in (query, shuffled))
    torch.testing.assert_close(moved.flatten(2), attended.flatten(2)[..., order], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_attention_in_rows_is_that_in_one_piece_and_so_are_its_gradients(scale, monkeypatch):
    monkeypatch.setattr("models.dagan.generator.MAP_AT_ONCE", 90 * 50)
    torch.manual_seed(0)
    shapes = ((2, 188, 4), (2, 90, 4), (2, 90, 6))
    q, k, v = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    same_value_and_gradients(
        lambda: attend(q, k, v, scale), lambda: scaled_dot_product_attention(q, k, v, scale=scale), (q, k, v)
    )


def test_attention_elsewhere_than_on_a_cpu_has_the_four_axes_that_fused_kernels_want(monkeypatch):
    given = []

    def fused(*tensors, scale):
        given.extend(tensors)
        return scaled_dot_product_attention(*tensors, scale=scale)

    monkeypatch.setattr("models.dagan.generator.scaled_dot_product_attention", fused)
    q, k, v = (torch.rand(*shape, device="meta") for shape in ((2, 9, 4), (2, 5, 4), (2, 5, 6)))
    assert attend(q, k, v, 0.5).shape == (2, 9, 6)
    assert [tuple(x.shape) for x in given] == [(2, 1, 9, 4), (2, 1, 5, 4), (2, 1, 5, 6)]
    q, k, v = (torch.rand(*shape) for shape in ((2, 9, 4), (2, 5, 4), (2, 5, 6)))
    heads = (x.unsqueeze(1) for x in (q, k, v))
    found = scaled_dot_product_attention(*heads, scale=0.5).squeeze(1)
    torch.testing.assert_close(found, attend(q, k, v, 0.5))


def same_value_and_gradients(ours, theirs, inputs):
    found, expected = ours(), theirs()
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    weights = torch.randn_like(expected)
    pairs = zip(*(torch.autograd.grad(y, inputs, weights) for y in (found, expected)), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_the_exponential_linear_unit_is_torchs_and_so_is_its_gradient():
    values = [*np.linspace(-8, 8, 161), 0, 1e-9, -1e-9, -800, 800]
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    same_value_and_gradients(lambda: depth.elu(x), lambda: elu(x), (x,))
    small = torch.tensor([1e-6, 3e-8, 1e-20])
    assert torch.equal(depth.elu(small), small)


@pytest.mark.parametrize("width", [5, 8])
def test_a_doubling_and_its_convolution_are_one_transposed_convolution(width):
    torch.manual_seed(0)
    shapes = ((2, 3, 6, width), (4, 3, 3, 3), (4,))
    x, weight, bias = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    same_value_and_gradients(
        lambda: blocks.doubled(x, weight, bias),
        lambda: conv2d(interpolate(x, scale_factor=2), weight, bias, padding=1),
        (x, weight, bias),
    )


@pytest.mark.parametrize("side", [1, 3, 7])
def test_a_narrow_convolution_is_torchs(side):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 3, side, padding=side // 2).double()
    x = torch.randn(2, 4, 9, 12, dtype=torch.float64, requires_grad=True)
    same_value_and_gradients(lambda: blocks.narrow(conv, x), lambda: conv(x), (x, conv.weight, conv.bias))


@pytest.mark.parametrize("make", [SameBlock, DownBlock, UpBlock])
@pytest.mark.parametrize("size", [2, 16])
def test_a_block_that_only_draws_has_its_norm_in_its_weights_as_they_are_now(make, size):
    """The small map is less than the weights, the large one is more."""
    torch.manual_seed(0)
    block = make(4, 6).double().eval()
    for tensor in (*block.norm.parameters(), block.norm.running_mean, block.norm.running_var):
        tensor.data = torch.rand_like(tensor) + 0.5
    x = torch.randn(1, 4, size, size, dtype=torch.float64)
    for _ in range(2):
        with torch.no_grad():
            drawn = block(x)
            assert relu(block.conv(x)).any()
        doubled = interpolate(x, scale_factor=2) if make is UpBlock else x
        expected = relu(block.norm(block.conv(doubled)))
        expected = avg_pool2d(expected, 2) if make is DownBlock else expected
        torch.testing.assert_close(drawn, expected, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(block(x), expected, atol=1e-12, rtol=1e-12)  # and where it learns, too
        block.conv.weight.data *= 1.5


def test_pooled_attention_sees_the_means_of_windows():
    torch.manual_seed(0)
    module = CrossModalAttention(8, AttentionConfig(query="source", scale="legacy", reduction=2, pool=4))
    module.gamma.data.fill_(1.0)
    query, warped = torch.randn(1, 8, 12, 8), torch.randn(1, 8, 12, 8)
    means = warped.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5))
    flat = means.repeat_interleave(4, 2).repeat_interleave(4, 3)  # each window counts as often as any other
    pooled = module(query, warped) - warped
    module.pool = 1
    torch.testing.assert_close(pooled, module(query, flat) - flat)


def test_attention_starts_as_the_identity():
    module = CrossModalAttention(8, AttentionConfig(query="source", scale="legacy", reduction=2, pool=1))
    query, warped = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)
    torch.testing.assert_close(module(query, warped), warped)


def some_keypoints(seed):
    generator = torch.Generator().manual_seed(seed)
    jacobian = torch.eye(2) + 0.2 * torch.randn(2, 5, 2, 2, generator=generator)
    return AffineKeypoints(torch.randn(2, 5, 2, generator=generator) / 2, jacobian)


@pytest.mark.parametrize("adapt_scale", [True, False])
def test_relative_motion_from_the_driving_frame_itself_is_no_motion(adapt_scale):
    source, driving = some_keypoints(0), some_keypoints(1)
    moved = transfer_motion(source, driving, driving, adapt_scale, 1e-4)
    torch.testing.assert_close(moved.value, source.value)
    torch.testing.assert_close(moved.jacobian, source.jacobian)


def test_relative_motion_is_scaled_by_the_size_of_the_face():
    source, initial = some_keypoints(0), some_keypoints(1)
    larger = AffineKeypoints(3 * source.value, None)
    driving = AffineKeypoints(initial.value + 0.1, None)
    moved = transfer_motion(larger, driving, AffineKeypoints(source.value, None), True, 0)
    torch.testing.assert_close(moved.value, larger.value + 3 * (driving.value - source.value))


def test_relative_motion_from_the_sources_own_frame_is_absolute_motion():
    source, driving = some_keypoints(0), some_keypoints(1)
    moved = transfer_motion(source, driving, source, False, 0)
    torch.testing.assert_close(moved.value, driving.value)
    torch.testing.assert_close(moved.jacobian, driving.jacobian)


def test_keypoints_are_expectations_of_the_heatmap(dagan):
    detector = dagan("tiny/dagan.yaml").keypoint_detector.eval()
    image, disparity = torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64)
    logits = detector.kp(detector.predictor(detector.down(torch.cat([image, disparity], 1)))).detach().double()
    weights = np.exp(10 * (logits - logits.amax((2, 3), keepdim=True)).numpy())
    weights /= weights.sum((2, 3), keepdims=True)
    axis = np.linspace(-1, 1, logits.shape[-1])
    expected = np.stack([(weights * axis).sum((2, 3)), (weights * axis[:, None]).sum((2, 3))], -1)
    found = detector(image, disparity)
    np.testing.assert_allclose(found.value.detach(), expected, atol=1e-5)
    torch.testing.assert_close(found.jacobian, torch.eye(2).expand(2, 15, 2, 2))  # at the start
