import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from scipy.stats import multivariate_normal

from models.dagan.osfv import keypoint_prior, transfer_head_motion
from models.dagan.osfv_volumes import (
    HeadMotion,
    binned_angles,
    rotations,
    volume_grid,
    volume_heatmaps,
    volume_motions,
    warp_volume,
)
from models.dagan.transform import RandomTransform
from models.errors import UserError

SHAPE = (4, 6, 7)


def head(seed, batch=2, keypoints=5):
    generator = torch.Generator().manual_seed(seed)
    shift, deltas = (0.2 * torch.randn(batch, *n, generator=generator) for n in ((3,), (keypoints, 3)))
    return HeadMotion(rotations(0.4 * torch.randn(batch, 3, generator=generator)), shift, deltas)


def canonical(batch=2, keypoints=5):
    return torch.rand(batch, keypoints, 3, generator=torch.Generator().manual_seed(9)) - 0.5


def test_rotations_are_scipys():
    angles = torch.tensor([[0.3, -0.2, 0.5], [-1.0, 0.4, 0.1], [0, 0, 0]])
    expected = Rotation.from_euler("YXZ", angles.numpy()).as_matrix()
    np.testing.assert_allclose(rotations(angles), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("axis", "point", "moved"), [(0, (0, 0, 1), (1, 0, 0)), (1, (0, 1, 0), (0, 0, 1)), (2, (1, 0, 0), (0, 1, 0))]
)
def test_yaw_turns_about_y_pitch_about_x_and_roll_about_z(axis, point, moved):
    quarter = torch.zeros(1, 3)
    quarter[0, axis] = torch.pi / 2
    torch.testing.assert_close(
        rotations(quarter)[0] @ torch.tensor(point).float(), torch.tensor(moved).float(), atol=1e-6, rtol=0
    )


def test_binned_angles_are_the_mean_of_the_bins():
    assert binned_angles(torch.zeros(1, 3, 66)).abs().max() < 1e-5
    logits = torch.full((1, 3, 66), -1e3)
    logits[0, 0, 0] = logits[0, 1, 33] = logits[0, 2, 65] = 1e3
    torch.testing.assert_close(torch.rad2deg(binned_angles(logits)), torch.tensor([[-97.5, 1.5, 97.5]]))
    logits = torch.randn(4, 3, 66, dtype=torch.float64)
    weights = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(-1, keepdims=True)
    expected = np.deg2rad((weights * np.linspace(-97.5, 97.5, 66)).sum(-1))
    np.testing.assert_allclose(binned_angles(logits), expected, atol=1e-9)


def test_keypoints_are_placed_by_equation_1():
    pose, points = head(0), canonical()
    placed = pose.place(points)
    for b in range(2):
        for k in range(5):
            expected = pose.rotation[b] @ points[b, k] + pose.translation[b] + pose.expression[b, k]
            torch.testing.assert_close(placed[b, k], expected)


def test_the_volumes_motions_are_equation_3():
    source, driving, points = head(0), head(1), canonical()
    found = volume_motions(source, driving, points, SHAPE)
    grid = volume_grid(*SHAPE, points)
    torch.testing.assert_close(found[:, 0], grid.expand(2, *grid.shape))
    here, there = source.place(points), driving.place(points)
    turn = source.rotation[1] @ torch.linalg.inv(driving.rotation[1])
    expected = turn @ (grid[2, 3, 4] - there[1, 2]) + here[1, 2]
    torch.testing.assert_close(found[1, 3, 2, 3, 4], expected, atol=1e-5, rtol=0)
    still = volume_motions(source, source, points, SHAPE)
    torch.testing.assert_close(still, grid.expand_as(still), atol=1e-5, rtol=0)


def test_the_grid_counts_x_then_y_then_z():
    grid = volume_grid(*SHAPE, torch.zeros(1))
    assert grid.shape == (*SHAPE, 3)
    torch.testing.assert_close(grid[3, 0, 6], torch.tensor([1.0, -1.0, 1.0]))
    torch.testing.assert_close(grid[0, 5, 0], torch.tensor([-1.0, 1.0, -1.0]))


def test_heatmaps_are_scipys_normal_densities_over_their_peak():
    points = canonical()
    normal = multivariate_normal(points[1, 3].numpy(), 0.01 * np.eye(3))
    expected = normal.pdf(volume_grid(*SHAPE, points).numpy()) / normal.pdf(normal.mean)
    np.testing.assert_allclose(volume_heatmaps(points, SHAPE, 0.01)[1, 3], expected, atol=1e-6)


def test_the_warp_of_a_volume_is_scipys_linear_interpolation():
    torch.manual_seed(0)
    volume = torch.rand(1, 1, *SHAPE, dtype=torch.float64)
    grid = volume_grid(*SHAPE, volume)
    torch.testing.assert_close(warp_volume(volume, grid[None], True), volume)
    where = grid + 0.3 * torch.randn_like(grid)
    pixels = [(where[..., axis].numpy() + 1) / 2 * (n - 1) for axis, n in ((2, 4), (1, 6), (0, 7))]
    expected = map_coordinates(volume[0, 0].numpy(), pixels, order=1, mode="grid-constant")
    np.testing.assert_allclose(warp_volume(volume, where[None], True)[0, 0], expected, atol=1e-9)


def test_the_keypoint_prior_written_out():
    points = 0.3 * torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for sample in points.numpy():
        pairs = ((i, j) for i in range(6) for j in range(6) if i != j)
        total += sum(max(0, 0.1 - ((sample[i] - sample[j]) ** 2).sum()) for i, j in pairs)
        total += abs(sample[:, 2].mean() - 0.33)
    assert keypoint_prior(points, 0.1, 0.33) == pytest.approx(total / 3, rel=1e-5)


def test_relative_motion_of_heads_from_anothers_start():
    source, driving, start = head(0), head(1), head(2)
    moved = transfer_head_motion(source, driving, start)
    expected = driving.rotation[1] @ torch.linalg.inv(start.rotation[1]) @ source.rotation[1]
    torch.testing.assert_close(moved.rotation[1], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.expression, source.expression + driving.expression - start.expression)
    torch.testing.assert_close(transfer_head_motion(source, start, start).rotation, source.rotation, atol=1e-6, rtol=0)


def test_canonical_keypoints_are_expectations_over_the_volume(smallest):
    detector = smallest("osfv").canonical_detector.eval()
    logits = []
    detector.kp.register_forward_hook(lambda *args: logits.append(args[2]))
    found = detector(torch.rand(1, 3, 64, 64))[0, 1].detach()
    flat = logits[0][0, 1].detach().double().numpy() / 0.1
    weights = np.exp(flat - flat.max())
    weights /= weights.sum()
    axes = [np.linspace(-1, 1, n) for n in weights.shape]
    expected = [
        (weights.sum((0, 1)) * axes[2]).sum(),
        (weights.sum((0, 2)) * axes[1]).sum(),
        (weights.sum((1, 2)) * axes[0]).sum(),
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert logits[0].shape[2] == 4


def test_the_head_at_the_start_is_turned_but_neither_moved_nor_bent(smallest):
    pose = smallest("osfv").pose_estimator.eval()(torch.rand(2, 3, 64, 64))
    assert not pose.translation.any()
    assert not pose.expression.any()
    assert pose.expression.shape == (2, 5, 3)
    torch.testing.assert_close(pose.rotation @ pose.rotation.mT, torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0)


def test_the_true_pose_costs_nothing_and_another_its_distance(smallest):
    model = smallest("osfv")
    one, other = head(0), head(1)
    batch = {"source_rotation": one.rotation, "driving_rotation": other.rotation}
    assert model.pose_losses(batch, one, other)["head_pose"] == 0
    batch["driving_rotation"] = one.rotation
    expected = 20 * (one.rotation - other.rotation).abs().mean() / 2
    assert model.pose_losses(batch, one, other)["head_pose"] == pytest.approx(expected.item())


def test_samples_without_pose_are_refused_unless_none_is_asked_for(smallest, fit):
    batch = {"source": torch.rand(2, 3, 64, 64), "driving": torch.rand(2, 3, 64, 64)}
    with pytest.raises(UserError, match=r"set data.init_args.sample to posed_pairs"):
        fit(smallest("osfv"), batch, 1)
    model = smallest("osfv", **{"loss_weights.head_pose": 0})
    fit(model, batch, 1)
    assert model.notes()["pose"] == "no head pose"


def test_a_discriminator_that_asks_for_keypoints_is_refused(smallest):
    with pytest.raises(ValueError, match="sees pictures alone"):
        smallest("osfv", **{"discriminator.keypoints": True})


def test_a_size_that_cannot_be_halved_so_often_is_refused(smallest):
    with pytest.raises(ValueError, match="image_size 72 is not a multiple of"):
        smallest("osfv", image_size=72)


def test_the_pose_is_learnt_from_the_truth(tiny, fit):
    """The pictures of two heads, one turned to either side, and nothing else to learn."""
    model = tiny("osfv", **{"optimiser.lr": 3.0e-3})
    torch.manual_seed(1)
    images = torch.rand(2, 2, 3, 64, 64)
    turns = rotations(torch.tensor([[0.5, 0.0, 0.0], [-0.5, 0.1, 0.0], [0.3, -0.2, 0.1], [0.0, 0.2, -0.2]])).view(
        2, 2, 3, 3
    )
    batch = {"source": images[0], "driving": images[1], "source_rotation": turns[0], "driving_rotation": turns[1]}
    before = model.train().pose_estimator(images.flatten(0, 1)).rotation
    fit(model, batch, 40)
    after = model.train().pose_estimator(images.flatten(0, 1)).rotation
    errors = [(rotation - turns.flatten(0, 1)).abs().mean() for rotation in (before, after)]
    assert errors[1] < 0.5 * errors[0]


def test_a_step_has_the_gradients_of_its_losses_one_by_one(smallest, fit, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    weights = {"loss_weights.adversarial": 1, "loss_weights.feature_matching": 10}
    model, plain = (smallest("osfv", **weights).double() for _ in range(2))
    torch.manual_seed(2)
    with torch.no_grad():
        model.pose_estimator.rest.weight.normal_(std=0.1)
    plain.load_state_dict(model.state_dict())
    source, driving = torch.rand(2, 2, 3, 64, 64, dtype=torch.float64)
    turns = [head(seed).rotation.double() for seed in (0, 1)]
    transform = RandomTransform(2, model.transform, driving)
    monkeypatch.setattr("models.dagan.osfv.RandomTransform", lambda *_: transform)
    plain.setup("fit")
    points = plain.canonical_detector(source)
    poses = plain.pose_estimator(torch.cat([source, driving, transform.image(driving, True)]))
    here, there, moved = poses.chunk(3)
    fake = plain.draw(plain.encoder(source), here, there, points)
    wanted, real = plain.discriminator(driving)
    found, score = plain.discriminator(fake)
    at_driving, at_moved = there.place(points), moved.place(points)
    loss = plain.perceptual_loss(fake, driving) - score.mean()
    loss = loss + 10 * sum((a.detach() - b).abs().mean() for a, b in zip(wanted, found, strict=True))
    loss = loss + 20 * (at_driving[..., :2] - transform.points(at_moved[..., :2])).abs().mean()
    loss = loss + 10 * keypoint_prior(at_driving, 0.1, 0.33) + 5 * there.expression.abs().mean()
    loss = loss + 10 * sum((p.rotation - t).abs().mean() for p, t in zip((here, there), turns, strict=True))
    pictures = {n: p for n, p in plain.named_parameters() if not n.startswith("discriminator")}
    expected = dict(zip(pictures, torch.autograd.grad(loss, pictures.values(), retain_graph=True), strict=True))
    made = plain.discriminator(fake.detach())[1]
    against = (1 - real).clamp(min=0).mean() + (1 + made).clamp(min=0).mean()
    judges = {f"discriminator.{n}": p for n, p in plain.discriminator.named_parameters()}
    expected |= dict(zip(judges, torch.autograd.grad(against, judges.values()), strict=True))
    fit(model, {"source": source, "driving": driving, "source_rotation": turns[0], "driving_rotation": turns[1]}, 1)
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        assert (model.get_parameter(name).grad - gradient).abs().max() < 1e-7 * largest, name


def test_the_papers_size(paper):
    model = paper("osfv")
    assert model.canonical_detector.kp.out_channels == 20
    assert model.pose_estimator.angles.out_features == 3 * 66
    assert model.encoder.lift.out_channels == 32 * 16
