import pytest
import torch
from torch.autograd import grad
from torch.nn.functional import conv2d

from models.dagan import winograd
from models.dagan.blocks import DownBlock, ResBlock, SameBlock, same
from models.dagan.winograd import Winograd, pays


def some(*shape):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def torchs(x, weight, bias):
    return conv2d(x, weight, bias, padding=1)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def calls(monkeypatch):
    """Shapes of the weights that are convolved by."""
    seen = []
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda x, w, b: seen.append(tuple(w.shape)) or convolve(x, w, b))
    return seen


@pytest.mark.parametrize("numbers", [1, 2000, 2**20])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (9, 13), (33, 8), (3, 5)])
@pytest.mark.parametrize("laid", [torch.contiguous_format, torch.channels_last])
def test_it_is_torchs_convolution_and_so_are_its_gradients(size, numbers, laid, monkeypatch):
    monkeypatch.setattr(winograd, "NUMBERS", numbers)
    inputs = some(2, 3, *size), some(5, 3, 3, 3), some(5)
    found, expected = (
        convolved(inputs[0].to(memory_format=laid), *inputs[1:]) for convolved in (Winograd.apply, torchs)
    )
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    slope = torch.randn_like(expected)
    pairs = zip(grad(found, inputs, slope), grad(expected, inputs, slope), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


def test_a_layer_without_a_bias_has_none_added():
    x, weight = some(1, 2, 6, 6), some(3, 2, 3, 3)
    torch.testing.assert_close(Winograd.apply(x, weight, None), conv2d(x, weight, padding=1), atol=1e-12, rtol=1e-12)
    assert grad(Winograd.apply(x, weight, None).sum(), x)[0].shape == x.shape


def test_only_the_gradients_that_are_asked_for_are_computed(calls, monkeypatch):
    monkeypatch.setattr(winograd, "correlate", None)  # that of a weight cannot be computed
    x, weight, bias = some(1, 2, 8, 8), some(3, 2, 3, 3).detach(), some(3).detach()
    (slope,) = grad(Winograd.apply(x, weight, bias).sum(), x)
    torch.testing.assert_close(slope, grad(torchs(x, weight, bias).sum(), x)[0], atol=1e-12, rtol=1e-12)
    assert calls == [(3, 2, 3, 3), (2, 3, 3, 3)]


@pytest.mark.parametrize("which", ["image", "data", "weight"])
def test_it_rounds_a_few_times_as_much_as_torchs_convolution(which):
    """Its sums make more of rounding, but none of it is more than a few parts in a million."""
    x, weight, bias = some(1, 128, 32, 32), some(128, 128, 3, 3), some(128)
    slope = torch.randn(1, 128, 32, 32, dtype=torch.float64)

    def parts(convolve, dtype):
        given = [t.detach().to(dtype).requires_grad_() for t in (x, weight, bias)]
        drawn = convolve(*given)
        of_x, of_weight, _ = grad(drawn, given, slope.to(dtype))
        return {"image": drawn, "data": of_x, "weight": of_weight}[which].double()

    exact = parts(torchs, torch.float64)
    ours, theirs = ((parts(each, torch.float32) - exact).std() for each in (Winograd.apply, torchs))
    assert 0 < ours < 8 * theirs
    assert ours < 4e-6 * exact.std()


def test_a_backward_pass_under_autocast_is_in_full_precision():
    x, weight, bias = (t.detach().float().requires_grad_() for t in (some(1, 64, 8, 8), some(64, 64, 3, 3), some(64)))
    expected = grad(torchs(x, weight, bias).square().sum(), (x, weight, bias))
    with torch.autocast("cpu", torch.bfloat16):
        with torch.autocast("cpu", enabled=False):
            drawn = Winograd.apply(x, weight, bias)
            loss = drawn.square().sum()
        found = grad(loss, (x, weight, bias))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=1e-4 * theirs.abs().max().item(), rtol=0)


def test_wide_layers_of_large_images_are_convolved_so(calls):
    x, weight, bias = (t.detach().float() for t in (some(1, 128, 32, 32), some(128, 128, 3, 3), some(128)))
    torch.testing.assert_close(same(x, weight, bias), torchs(x, weight, bias), atol=1e-3, rtol=1e-4)
    assert calls == [(128, 128, 3, 3)]


@pytest.mark.parametrize("block", [ResBlock(128), SameBlock(64, 128), DownBlock(64, 128)])
def test_blocks_that_learn_and_that_only_draw_are_made_of_them(block, calls):
    layers = [tuple(p.shape) for p in block.parameters() if p.dim() == 4]
    x = torch.rand(1, layers[0][1], 32, 32)
    block.train()(x)
    assert calls == layers
    with torch.no_grad():
        block.eval()(x)
    assert calls == 2 * layers


@pytest.mark.parametrize(
    ("image", "weight", "answer"),
    [
        ((1, 128, 32, 32), (128, 128, 3, 3), True),
        ((1, 64, 32, 32), (128, 64, 3, 3), True),
        ((1, 512, 32, 32), (256, 512, 3, 3), True),
        ((1, 64, 64, 64), (64, 64, 3, 3), False),  # few features
        ((1, 32, 64, 64), (512, 32, 3, 3), False),
        ((8, 512, 32, 32), (512, 512, 3, 3), False),  # very many
        ((8, 128, 16, 32), (128, 128, 3, 3), False),  # a small image
        ((1, 128, 32, 32), (128, 128, 5, 5), False),  # another kernel
        ((1, 128, 32, 32), (128, 128, 1, 3), False),
    ],
)
def test_it_is_taken_where_it_pays(image, weight, answer):
    assert pays(torch.empty(image), torch.empty(weight)) == answer


def test_it_is_taken_on_a_processor_in_full_precision_alone():
    x, weight = torch.rand(1, 128, 32, 32), torch.rand(128, 128, 3, 3)
    assert pays(x, weight)
    assert not pays(x.to("meta"), weight.to("meta"))
    assert not pays(x.bfloat16(), weight.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert not pays(x, weight)


def test_a_graph_that_is_exported_holds_the_convolution_itself():
    x, weight, bias = torch.rand(1, 128, 32, 32), torch.rand(128, 128, 3, 3), torch.rand(128)
    traced = torch.jit.trace(lambda x: same(x, weight, bias), x, check_trace=False)
    assert "_convolution" in str(traced.graph)
    assert "bmm" not in str(traced.graph)
