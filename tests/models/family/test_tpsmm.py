import numpy as np
import pytest
import torch
from kornia.geometry.transform import get_tps_transform, warp_points_tps
from scipy.interpolate import RBFInterpolator

from models.dagan.tpsmm import TPSMMScheduleConfig, there_and_back_error
from models.dagan.tpsmm_networks import kept_softmax, splines
from models.dagan.transform import RandomTransform
from models.tasks import Context


def points(*shape, seed=0):
    return 1.6 * torch.rand(*shape, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.8


def grid(height, width):
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    return np.stack([x.ravel(), y.ravel()], -1)


@pytest.mark.parametrize("smoothing", [0, 0.01, 0.5])
def test_splines_are_scipys(smoothing):
    driving, source = points(2, 3, 5), points(2, 3, 5, seed=1)
    found = splines(driving, source, (9, 12), smoothing, 0)
    for b in range(2):
        for k in range(3):  # scipy's basis, r^2 log r, is half of ours
            fitted = RBFInterpolator(driving[b, k], source[b, k], kernel="thin_plate_spline", smoothing=smoothing / 2)
            expected = fitted(grid(9, 12)).reshape(9, 12, 2)
            np.testing.assert_allclose(found[b, k], expected, atol=1e-6)


def test_the_ridge_is_that_of_a_least_squares_fit():
    """A spline of great smoothing is the affine least-squares fit, its linear part shrunk to that of rest."""
    driving, source, smoothing, ridge = points(1, 1, 5), points(1, 1, 5, seed=1), 1e7, 1e-7
    centred = (driving - driving.mean(2, keepdim=True))[0, 0].numpy()
    gram = centred.T @ centred + smoothing * ridge * np.eye(2)
    linear = np.linalg.solve(gram, centred.T @ (source - driving)[0, 0].numpy())
    mean = (source - driving)[0, 0].mean(0).numpy()
    where = grid(9, 12)
    expected = where + mean + (where - driving[0, 0].mean(0).numpy()) @ linear
    found = splines(driving, source, (9, 12), smoothing, ridge)[0, 0].flatten(0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_shipped_ridge_changes_little():
    driving, source = points(1, 8, 5), points(1, 8, 5, seed=1)
    with_it, without = (splines(driving, source, (9, 12), 0.01, ridge) for ridge in (0.001, 0))
    assert (with_it - without).abs().mean() < 0.05 * (
        without - torch.from_numpy(grid(9, 12)).view(9, 12, 2)
    ).abs().mean()


def test_kornias_splines_pass_through_the_points_and_bend_more():
    driving, source = points(1, 5), points(1, 5, seed=1)
    there = torch.from_numpy(grid(9, 12))[None]
    weights = get_tps_transform(driving, source)
    theirs = warp_points_tps(there, source, *weights)
    through = warp_points_tps(driving, source, *weights)
    torch.testing.assert_close(through, source, atol=1e-6, rtol=0)
    assert (
        theirs.view(1, 9, 12, 2) - splines(driving[:, None], source[:, None], (9, 12), 0, 0)[:, 0]
    ).abs().max() > 0.1


def test_keypoints_that_did_not_move_are_rest_even_on_a_line():
    line = torch.linspace(-0.4, 0.4, 5)[None, None, :, None].expand(1, 1, 5, 2)
    same = line * 0 + 0.1
    for keypoints in (line, same):
        found = splines(keypoints, keypoints, (6, 7), 0.01, 0.001)
        torch.testing.assert_close(found[0, 0].flatten(0, 1), torch.from_numpy(grid(6, 7)).float(), atol=1e-3, rtol=0)


def test_every_spline_has_a_finite_gradient_at_coinciding_points():
    keypoints = torch.zeros(1, 1, 5, 2, requires_grad=True)
    splines(
        keypoints, keypoints.detach() + 0.1, (5, 5), 0.01, 0.001
    ).sum().backward()  # the grid's centre is a keypoint
    assert keypoints.grad.isfinite().all()


def test_what_is_kept_is_equation_6_and_the_background_always_is():
    torch.manual_seed(3)
    logits, dropout = torch.randn(4, 6, 2, 3, dtype=torch.float64), 0.4
    torch.manual_seed(5)
    kept = np.concatenate([np.ones((4, 1)), (torch.rand(4, 5, 1, 1)[..., 0, 0] >= dropout).numpy() / 0.6], 1)
    assert 0 < (kept == 0).sum() < 20
    torch.manual_seed(5)
    shares = kept[:, :, None, None] * np.exp(logits.numpy())
    found = kept_softmax(logits, dropout)
    np.testing.assert_allclose(found, shares / shares.sum(1, keepdims=True), atol=1e-12)


def test_all_left_out_is_the_background_and_none_is_a_softmax():
    logits = torch.randn(2, 4, 3, 3)
    logits[:, 0] = -200
    kept = kept_softmax(logits, 1 - 1e-9)
    torch.testing.assert_close(kept[:, 0], torch.ones(2, 3, 3))
    assert torch.equal(kept_softmax(logits, 0), logits.softmax(1))


@pytest.mark.parametrize(("epoch", "chance"), [(0, 0.1), (2, 0.2), (4, 0.3), (5, 0.0), (50, 0.0)])
def test_dropout_rises_and_ends(epoch, chance):
    assert TPSMMScheduleConfig(0.1, 0.3, 5, 1).dropout(epoch) == pytest.approx(chance)


def test_the_backgrounds_motion_there_and_back_is_rest():
    there = torch.eye(3) + 0.1 * torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert there_and_back_error(there, torch.linalg.inv(there)) < 1e-6
    shift = torch.eye(3).repeat(1, 1, 1)
    shift[0, 0, 2] = 0.9
    assert there_and_back_error(shift, torch.eye(3)[None]) == pytest.approx(0.1)  # one of nine entries


def test_the_flow_is_rest_where_nothing_moved_and_the_backgrounds_where_it_alone_does(smallest):
    model = smallest("tpsmm").eval()
    image = torch.rand(2, 3, 64, 64)
    keypoints, rest = model.detector(image), torch.eye(3).expand(2, 3, 3)
    flow, occlusions = model.move(image, keypoints, keypoints, rest)
    identity = torch.from_numpy(grid(16, 16)).float().view(16, 16, 2)
    torch.testing.assert_close(flow, identity.expand_as(flow), atol=2e-3, rtol=0)
    assert [tuple(x.shape[1:]) for x in occlusions] == [(1, 64, 64), (1, 32, 32), (1, 16, 16)]
    model.motion.mask.bias.data[0] = 1e4  # the background has all the weight
    turned = torch.tensor([[0.0, -1, 0.1], [1, 0, 0.2], [0, 0, 1]]).expand(2, 3, 3)
    expected = torch.stack([0.1 - identity[..., 1], 0.2 + identity[..., 0]], -1)
    flow, _ = model.move(image, keypoints, keypoints + 0.1, turned)
    torch.testing.assert_close(flow, expected.expand_as(flow), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("halvings", "scale"), [(0, 0.25), (1, 0.25), (3, 0.25), (2, 0.5), (1, 1)])
def test_there_is_a_mask_of_every_size_of_the_generator(smallest, halvings, scale):
    model = smallest("tpsmm", **{"inpainting.num_down_blocks": halvings, "motion.scale_factor": scale}).eval()
    image = torch.rand(1, 3, 64, 64)
    keypoints = model.detector(image)
    masks = model.move(image, keypoints, keypoints, torch.eye(3)[None]).occlusions
    sizes = [x.shape[-2:] for x in model.generator.encode(image)]
    assert [x.shape[-2:] for x in masks] == sizes
    assert len(sizes) == halvings + 1
    assert all(0 < x.min() <= x.max() < 1 for x in masks)


def test_nothing_of_the_source_is_left_where_every_mask_is_closed(smallest):
    model = smallest("tpsmm").eval()
    features = model.generator.encode(torch.rand(2, 3, 64, 64))
    closed = model.generator(features, [torch.zeros_like(x[:, :1]) for x in features])
    torch.testing.assert_close(closed[0], closed[1])


def test_relative_motion_leaves_the_background_to_the_driver(smallest):
    model = smallest("tpsmm").eval()
    torch.nn.init.normal_(model.background.affine.weight, std=0.1)
    source, driving, initial = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    here = model.detector(source)
    there = here + model.detector(driving[:, 0]) - model.detector(initial)
    flow, masks = model.move(source, here, there, model.background(initial, driving[:, 0]))
    expected = model.generator(model.generator.deform(model.generator.encode(source), flow), masks)
    found = model.reenact(source, driving, Context("relative", initial))[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("background_from", [0, 1])
def test_a_step_has_the_gradient_of_its_losses_one_by_one(smallest, fit, monkeypatch, background_from):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    settings = {"schedule.dropout_epochs": 0, "schedule.background_from": background_from}
    model, plain = (smallest("tpsmm", **settings).double() for _ in range(2))
    torch.manual_seed(2)
    source, driving = torch.rand(2, 2, 3, 64, 64, dtype=torch.float64)
    transform = RandomTransform(2, model.transform, driving)
    monkeypatch.setattr("models.dagan.tpsmm.RandomTransform", lambda *_: transform)
    plain.setup("fit")
    images = torch.cat([source, driving, transform.image(driving, True)])
    at_source, at_driving, at_moved = plain.detector(images).chunk(3)
    there, back = plain.background(torch.cat([source, driving]), torch.cat([driving, source])).chunk(2)
    used = there if background_from == 0 else torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    flow, masks = plain.motion(source, at_source, at_driving, used, 0.0)
    deformed = plain.generator.deform(plain.generator.encode(source), flow)
    loss = plain.perceptual_loss(plain.generator(deformed, masks), driving)
    loss = loss + 10 * (at_driving.flatten(1, 2) - transform.points(at_moved.flatten(1, 2))).abs().mean()
    wanted = [x.detach() for x in plain.generator.encode(driving)]
    loss = loss + 10 * sum((a - b).abs().mean() for a, b in zip(deformed, wanted, strict=True))
    if background_from == 0:
        loss = loss + 10 * (back @ there - torch.eye(3)).abs().mean()
    parameters = dict(plain.named_parameters())
    gradients = torch.autograd.grad(loss, parameters.values(), allow_unused=True)
    kept = {}
    model.on_before_optimizer_step = lambda _: kept.update({n: p.grad.clone() for n, p in model.named_parameters()})
    fit(model, {"source": source, "driving": driving}, 1)
    largest = max(gradient.abs().max() for gradient in gradients if gradient is not None)
    for name, gradient in zip(parameters, gradients, strict=True):
        expected = torch.zeros_like(kept[name]) if gradient is None else gradient
        assert (kept[name] - expected).abs().max() < 1e-7 * largest, name


def test_the_papers_size(paper):
    model = paper("tpsmm")
    assert model.detector.shape == (10, 5, 2)
    assert [len(blocks) for blocks in model.generator.res_blocks] == [2, 2, 2]
    assert model.detector.points.in_features == 512
