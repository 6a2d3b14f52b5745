import math

import numpy as np
import pytest
import torch

from models.base import check_finite
from models.depth_losses import (
    DepthLossConfig,
    align,
    depth_losses,
    gradient_matching,
    masked_l1,
    normal_angle,
)
from models.errors import UserError

HOW = ["least_squares", "robust"]


@pytest.fixture
def maps():
    """A target, a map that is like it up to scale, shift and noise, and a mask with a ragged edge."""
    rng = torch.Generator().manual_seed(3)
    target = torch.rand(3, 1, 12, 10, generator=rng, dtype=torch.float64)
    noise = torch.rand(3, 1, 12, 10, generator=rng, dtype=torch.float64)
    mask = torch.rand(3, 1, 12, 10, generator=rng) < 0.8
    return 40 * target + 12 * noise - 7, target, mask


def ramp(across, down, size=9):
    """A plane that rises by so many pixels a pixel."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (across * x + down * y)[None, None].double()


def test_least_squares_is_that_of_numpy(maps):
    preds, target, mask = maps
    aligned = align(*maps, "least_squares")
    for i in range(len(preds)):
        inside = mask[i].numpy()
        p, t = preds[i].numpy()[inside], target[i].numpy()[inside]
        scale, shift = np.linalg.lstsq(np.stack([p, np.ones_like(p)], 1), t, rcond=None)[0]
        np.testing.assert_allclose(aligned[i].numpy()[inside], scale * p + shift, rtol=1e-10)


def test_robust_alignment_is_that_of_midas(maps):
    preds, target, mask = maps
    aligned = align(*maps, "robust")
    for i in range(len(preds)):
        inside = mask[i].numpy()
        p, t = preds[i].numpy()[inside], target[i].numpy()[inside]
        lower = [np.sort(x)[(len(x) - 1) // 2] for x in (p, t)]
        spread = [np.abs(x - m).mean() for x, m in zip((p, t), lower, strict=True)]
        expected = (p - lower[0]) / spread[0] * spread[1] + lower[1]
        np.testing.assert_allclose(aligned[i].numpy()[inside], expected, rtol=1e-10)


@pytest.mark.parametrize("how", HOW)
def test_a_map_that_is_right_up_to_scale_and_shift_costs_nothing(how, maps):
    preds, target, mask = maps
    relief = torch.full((3,), 5.0)
    config = DepthLossConfig(how, 1, 1, 1, 3)
    right = depth_losses(config, 0.01 * target + 300, target, mask, relief)
    assert all(float(loss) < 1e-9 for loss in right.values())
    inverted, other = (masked_l1(align(each, target, mask, how), target, mask) for each in (-target, preds.flip(0)))
    assert inverted > 1.2 * other


@pytest.mark.parametrize(("how", "least"), [("least_squares", -0.2), ("robust", 0.8)])
def test_descent_turns_a_map_that_starts_the_wrong_way(how, least, maps):
    """By least squares it lingers where map and target have little in common, for there the scale is small."""
    _, target, mask = maps
    preds = (-target + 1.5 * torch.rand(target.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()

    def likeness():
        return float(torch.corrcoef(torch.stack([preds.detach()[0][mask[0]], target[0][mask[0]]]))[0, 1])

    assert likeness() < -0.4
    optimiser = torch.optim.Adam([preds], 0.04)
    for _ in range(60):
        optimiser.zero_grad()
        masked_l1(align(preds, target, mask, how), target, mask).backward()
        optimiser.step()
    assert likeness() > least


def test_robust_alignment_is_pulled_less_by_an_outlier(maps):
    _, target, mask = maps
    preds = target.clone()
    mask[:, 0, 5, 5] = True
    preds[:, 0, 5, 5] += 3
    mask_of_others = mask.clone()
    mask_of_others[:, 0, 5, 5] = False
    errors = [masked_l1(align(preds, target, mask, how), target, mask_of_others) for how in HOW]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("term", ["l1", "normals", "gradient"])
def test_gradients_are_those_of_differences(how, term, maps):
    preds, target, mask = (x[:2, :, :6, :6] for x in maps)
    config = DepthLossConfig(how, 1, 1, 1, 2)
    relief = torch.tensor([3.0, 5.0], dtype=torch.float64)

    def loss(x):
        return depth_losses(config, x, target, mask, relief)[term]

    assert torch.autograd.gradcheck(loss, preds.clone().requires_grad_())


def test_l1_is_the_mean_over_images_of_their_means(maps):
    preds, target, mask = maps
    mask[1] = False
    mask[2, :, 3:] = False
    expected = [(preds - target)[i][mask[i]].abs().mean() for i in (0, 2)]
    torch.testing.assert_close(masked_l1(preds, target, mask), torch.stack(expected).mean())


@pytest.mark.parametrize(("first", "second"), [((1, 0), (0, 0)), ((0.5, 0.2), (-0.3, 1)), ((2, 2), (2, 2))])
def test_the_angle_of_planes_is_exact(first, second):
    normals = [np.array([-a, -b, 1]) / np.linalg.norm([a, b, 1]) for a, b in (first, second)]
    expected = math.acos(min(1.0, normals[0] @ normals[1]))
    mask = torch.ones(1, 1, 9, 9, dtype=torch.bool)
    # A relief of 4 makes four pixels of one unit.
    angle = normal_angle(ramp(*first) / 4, ramp(*second) / 4, mask, torch.tensor([4.0], dtype=torch.float64))
    assert float(angle) == pytest.approx(expected, abs=1e-7)


def test_normals_at_the_edge_of_the_mask_do_not_count():
    flat, bent = ramp(0, 0), ramp(0, 0)
    bent[..., 4] = 1.0
    mask = torch.ones_like(flat, dtype=torch.bool)
    mask[..., 4] = False
    assert normal_angle(bent, flat, mask, torch.ones(1)) == 0
    assert normal_angle(bent, flat, torch.ones_like(mask), torch.ones(1)) > 0.1


def test_gradients_are_compared_as_midas_does(maps):
    preds, target, mask = maps
    total = 0.0
    for step in (1, 2, 4):
        d = (preds - target)[0, 0, ::step, ::step].numpy()
        m = mask[0, 0, ::step, ::step].numpy()
        for axis in (0, 1):
            change = np.abs(np.diff(d, axis=axis))
            n = m.shape[axis]
            both = np.take(m, range(1, n), axis) & np.take(m, range(n - 1), axis)
            total += change[both].mean()
    assert float(gradient_matching(preds[:1], target[:1], mask[:1], 3)) == pytest.approx(total)


def test_gradient_matching_of_a_plane_is_its_slope_at_each_scale():
    mask = torch.ones(1, 1, 9, 9, dtype=torch.bool)
    assert float(gradient_matching(ramp(0.5, 0.25), ramp(0, 0), mask, 3)) == pytest.approx(0.75 * (1 + 2 + 4))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("case", ["no mask", "constant", "constant target", "nan outside", "one pixel"])
def test_odd_images_give_finite_losses_and_gradients(how, case, maps):
    preds, target, mask = (x.float() if x.is_floating_point() else x for x in maps)
    if case == "no mask":
        mask[:] = False
    elif case == "constant":
        preds[0] = 3.7
    elif case == "constant target":
        target[0] = 0.3
    elif case == "one pixel":
        mask[:] = False
        mask[0, 0, 4, 4] = True
    else:
        preds[~mask], target[~mask] = torch.nan, torch.inf
    preds = preds.clone().requires_grad_()
    losses = depth_losses(DepthLossConfig(how, 1, 1, 1, 3), preds, target, mask, torch.full((3,), 5.0))
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert torch.isfinite(preds.grad).all()
    if case == "no mask":
        assert all(loss == 0 for loss in losses.values())
    if case == "nan outside":
        assert preds.grad[mask].any()
        assert not preds.grad[~mask].any()
    if case == "constant":  # it is scored as the best constant, not as a map stretched from its rounding errors
        aligned = align(preds, target, mask, how)[0]
        assert aligned.detach().std() < 1e-5


@pytest.mark.parametrize("how", HOW)
def test_a_nan_inside_ends_a_fit(how, maps):
    preds, target, mask = maps
    preds[mask] = torch.where(torch.arange(int(mask.sum())) == 5, torch.nan, preds[mask])
    with pytest.raises(UserError, match="training loss is nan"):
        check_finite(masked_l1(align(preds, target, mask, how), target, mask))
