import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from models.dagan.monkey_networks import GaussianKeypoints, heatmaps, moments, transfer_gaussians
from models.tasks import Context


def covariances(*shape, seed=0):
    factor = 0.15 * torch.randn(*shape, 2, 2, generator=torch.Generator().manual_seed(seed))
    return factor @ factor.mT + 0.004 * torch.eye(2)


def some(seed):
    generator = torch.Generator().manual_seed(seed)
    return GaussianKeypoints(torch.rand(2, 5, 2, generator=generator) - 0.5, covariances(2, 5, seed=seed))


def test_keypoints_are_numpys_weighted_mean_and_covariance():
    weights = torch.rand(2, 3, 9, 12, dtype=torch.float64).flatten(2).softmax(2).view(2, 3, 9, 12)
    x, y = np.meshgrid(np.linspace(-1, 1, 12), np.linspace(-1, 1, 9))
    points = np.stack([x.ravel(), y.ravel()])
    found = moments(weights, 0.01)
    for b in range(2):
        for k in range(3):
            flat = weights[b, k].flatten().numpy()
            np.testing.assert_allclose(found.mean[b, k], points @ flat, atol=1e-12)
            expected = np.cov(points, aweights=flat, ddof=0) + 0.01 * np.eye(2)
            np.testing.assert_allclose(found.covariance[b, k], expected, atol=1e-12)


def test_a_heatmap_is_scipys_normal_density_over_its_peak():
    keypoints = some(0)
    drawn = heatmaps(keypoints, (17, 21))
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 17)), -1)
    normal = multivariate_normal(keypoints.mean[1, 2].numpy(), keypoints.covariance[1, 2].numpy())
    np.testing.assert_allclose(drawn[1, 2], normal.pdf(grid) / normal.pdf(normal.mean), atol=1e-5)


def test_what_is_drawn_of_a_keypoint_has_its_moments():
    keypoints = GaussianKeypoints(torch.tensor([[[0.1, -0.2]]]), torch.tensor([[[[0.02, 0.01], [0.01, 0.03]]]]))
    drawn = heatmaps(keypoints, (201, 201))
    again = moments(drawn / drawn.sum((2, 3), keepdim=True), 0)
    torch.testing.assert_close(again.mean, keypoints.mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(again.covariance, keypoints.covariance, atol=1e-3, rtol=0)


def test_the_covariance_follows_a_linear_change_of_the_driver():
    """If every driving offset is mapped by A since the initial frame, the source's ellipse is mapped likewise."""
    source, initial = some(0), some(1)
    scale = 1.7  # a change that commutes with all others: the only kind whose answer does not depend on the root taken
    driving = GaussianKeypoints(initial.mean, scale**2 * initial.covariance)
    moved = transfer_gaussians(source, driving, initial)
    torch.testing.assert_close(moved.covariance, scale**2 * source.covariance, atol=1e-5, rtol=1e-3)


def test_transferred_covariances_are_covariances():
    moved = transfer_gaussians(some(0), some(1), some(2)).covariance
    torch.testing.assert_close(moved, moved.mT)
    assert (torch.linalg.eigvalsh(moved) > 0).all()


def test_the_flow_at_the_start_is_the_masked_mean_of_shifts(smallest):
    """F = sum_k M_k (x_s - x_d) + residual, whose head starts at zero; where all agree the masks do not matter."""
    model = smallest("monkey_net").eval()
    image, here = torch.rand(2, 3, 64, 64), GaussianKeypoints(torch.zeros(2, 10, 2), covariances(2, 10))
    there = GaussianKeypoints(here.mean + torch.tensor([0.2, -0.1]), here.covariance)
    flow = model.motion(image, here, there)
    height, width = flow.shape[1:3]
    x, y = torch.meshgrid(torch.linspace(-1, 1, width), torch.linspace(-1, 1, height), indexing="xy")
    moved = torch.stack([x, y], -1) - flow
    ratio = moved / torch.tensor([0.2, -0.1])  # the share of all but the background's mask
    assert 0 < ratio.min() < ratio.max() < 1
    torch.testing.assert_close(ratio[..., 0], ratio[..., 1], atol=1e-4, rtol=0)
    with torch.no_grad():
        model.motion.residual.bias.copy_(torch.tensor([0.3, 0.4]))
    torch.testing.assert_close(model.motion(image, here, there) - flow, torch.tensor([0.3, 0.4]).expand_as(flow))


def test_without_motion_the_generator_sees_undeformed_skips_and_empty_differences(smallest):
    model = smallest("monkey_net").eval()
    image = torch.rand(1, 3, 64, 64)
    keypoints = model.keypoint_detector(image)
    seen = []
    model.generator.final.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.generator.refinement = torch.nn.Identity()
    model.draw(image, model.generator.encode(image), keypoints, keypoints)
    torch.testing.assert_close(seen[0][:, -13:-10], image, atol=1e-4, rtol=0)
    assert not seen[0][:, -10:].any()


def test_the_discriminator_sees_heatmaps_without_a_gradient_to_the_keypoints(smallest):
    model = smallest("monkey_net")
    image = torch.rand(1, 3, 64, 64)
    keypoints = model.keypoint_detector(image)
    beside = model.beside_heatmaps(image, keypoints)
    torch.testing.assert_close(beside[:, :3], image)
    torch.testing.assert_close(beside[:, 3:], heatmaps(keypoints, (64, 64)))
    assert not beside.requires_grad
    blind = smallest("monkey_net", **{"discriminator.keypoints": False})
    assert blind.beside_heatmaps(image, keypoints) is image


def test_a_step_has_the_gradients_of_its_losses_one_by_one(smallest, fit):
    """Least squares, and lambda_rec times the L1 of the picture and of the discriminator's features (section 3.5)."""
    model = smallest("monkey_net", **{"loss_weights.adversarial": 1}).double()
    torch.manual_seed(2)
    source, driving = torch.rand(2, 2, 3, 64, 64, dtype=torch.float64)
    plain = smallest("monkey_net", **{"loss_weights.adversarial": 1}).double()
    plain.load_state_dict(model.state_dict())
    here, there = plain.keypoint_detector(torch.cat([source, driving])).chunk(2)
    fake = plain.draw(source, plain.generator.encode(source), here, there)
    shown = heatmaps(there, (64, 64)).detach()
    wanted, real = plain.discriminator(torch.cat([driving, shown], 1))
    found, score = plain.discriminator(torch.cat([fake, shown], 1))
    loss = (1 - score).square().mean() + 10 * (fake - driving).abs().mean()
    loss += sum((a.detach() - b).abs().mean() for a, b in zip(wanted, found, strict=True))
    of_pictures = {n: p for n, p in plain.named_parameters() if not n.startswith("discriminator")}
    expected = dict(zip(of_pictures, torch.autograd.grad(loss, of_pictures.values(), retain_graph=True), strict=True))
    made = plain.discriminator(torch.cat([fake.detach(), shown], 1))[1]
    against = (1 - real).square().mean() + made.square().mean()
    judges = {f"discriminator.{n}": p for n, p in plain.discriminator.named_parameters()}
    expected |= dict(zip(judges, torch.autograd.grad(against, judges.values()), strict=True))
    fit(model, {"source": source, "driving": driving}, 1)
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        assert (model.get_parameter(name).grad - gradient).abs().max() < 1e-6 * largest, name


def test_the_papers_size(paper):
    model = paper("monkey_net")
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model.keypoint_detector.kp.out_channels == 10
    assert len(model.generator.refinement) == 4


@pytest.mark.parametrize("residual", [True, False])
def test_the_residual_flow_has_a_switch(smallest, residual):
    model = smallest("monkey_net", **{"flow.residual": residual}).eval()
    assert (model.motion.residual is not None) == residual
    assert model.reenact(torch.rand(1, 3, 64, 64), torch.rand(1, 1, 3, 64, 64), Context()).isfinite().all()
