import math
from functools import partial

import pytest
import torch

from models.dagan.depth import RigidMotion
from models.dagan.depth_stage import NEXT, PREVIOUS, TARGET
from models.dagan.reprojection import smoothness
from models.errors import UserError
from models.tasks import Context
from tests.models.conftest import init_args

TINY = "tiny/dagan_depth.yaml"
SMALLEST = {"depth": {"layers": 10, "width": 4, "decoder_width": 2}, "pose_features": 8}


def triplets(batch=2, size=64):
    """A texture that moves by two pixels a frame."""
    torch.manual_seed(1)
    texture = torch.nn.functional.interpolate(torch.rand(batch, 3, 12, 12), size + 8, mode="bicubic").clamp(0, 1)
    return {"frames": torch.stack([texture[..., 4 : 4 + size, s : s + size] for s in (2, 4, 6)], 1)}


@pytest.fixture
def smallest(depth_stage):
    return lambda **changes: depth_stage(TINY, **SMALLEST | changes)


def test_every_parameter_gets_a_gradient(smallest, fit):
    model = smallest()
    fit(model, triplets(), 1)
    without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == set()


def test_the_released_camera_gets_none(smallest, fit):
    model = smallest(intrinsics="truncated")
    fit(model, triplets(), 1)
    without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == {f"pose_network.net.{i}.{p}" for i in (4, 5) for p in ("weight", "bias")}


def plane_motion(model, shift, focal=32.0):
    """The motion, of a plane at the depth of disparity 1/2, that moves the image by some pixels."""
    depth = 1 / (1 / model.farthest + (1 / model.nearest - 1 / model.farthest) / 2)
    camera = torch.tensor([[focal, 0, 31.5], [0, focal, 31.5], [0, 0, 1]]).expand(2, 3, 3)
    translation = torch.tensor([shift * depth / focal, 0, 0]).expand(2, 3)
    return RigidMotion(torch.zeros(2, 3), translation, camera)


def test_the_true_motion_of_a_plane_explains_both_neighbours(smallest):
    model, frames = smallest(auto_mask=False), triplets()["frames"]
    plane = torch.full((2, 1, 32, 32), 0.5)
    # The window moves right, so the scene moves left by two pixels from each frame to the next.
    right, wrong = (model.photometric_loss([plane], (plane_motion(model, s),) * 2, frames, []) for s in (-2.0, 2.0))
    assert right < 0.02 * wrong


def test_a_still_scene_is_masked(smallest):
    model = smallest()
    frames = triplets()["frames"][:, [TARGET] * 3]
    moving = (plane_motion(model, 3.0), plane_motion(model, 3.0))
    plane = torch.full((2, 1, 64, 64), 0.5)
    assert model.photometric_loss([plane], moving, frames, model.still_errors(frames)).abs() < 1e-4
    assert model.photometric_loss([plane], moving, frames, []) > 0.01


def test_the_better_neighbour_counts(smallest):
    model, frames = smallest(auto_mask=False), triplets()["frames"].clone()
    still = (plane_motion(model, 0.0), plane_motion(model, 0.0))
    frames[:, PREVIOUS] = frames[:, TARGET]
    frames[:, NEXT] = 1 - frames[:, TARGET]
    assert model.photometric_loss([torch.full((2, 1, 64, 64), 0.5)], still, frames, []).abs() < 1e-5


def test_the_loss_of_all_levels_at_once_is_the_mean_of_theirs_and_so_are_its_gradients(smallest):
    model, frames = smallest().double(), triplets()["frames"].double()
    motions = [RigidMotion(*(x.double() for x in plane_motion(model, shift))) for shift in (-2.0, 1.0)]
    still = model.still_errors(frames)
    sizes = (64, 32, 16, 8)
    pyramid = [torch.rand(2, 1, size, size, dtype=torch.float64, requires_grad=True) for size in sizes]
    together = model.photometric_loss(pyramid, motions, frames, still)
    alone = sum(model.photometric_loss([level], motions, frames, still) for level in pyramid) / len(sizes)
    torch.testing.assert_close(together, alone, atol=0, rtol=1e-12)
    for one, other in zip(*(torch.autograd.grad(loss, pyramid) for loss in (together, alone)), strict=True):
        assert other.any()
        torch.testing.assert_close(one, other, atol=1e-14, rtol=1e-10)


def test_motions_are_those_of_the_pairs_in_time(smallest):
    model, frames = smallest().eval(), triplets()["frames"]
    before, after = model.motions(frames)
    torch.testing.assert_close(before, model.pose_network(frames[:, PREVIOUS], frames[:, TARGET]))
    torch.testing.assert_close(after, model.pose_network(frames[:, TARGET], frames[:, NEXT]))
    assert not torch.equal(before.camera, after.camera)


def test_the_released_camera_is_that_of_the_last_pair(smallest):
    before, after = smallest(intrinsics="truncated").eval().motions(triplets()["frames"])
    assert torch.equal(before.camera, after.camera)


def test_jitter_changes_what_the_networks_see_alike_in_all_frames(smallest):
    model = smallest(jitter=[0.2, 0.2, 0.2, 0.1], jitter_probability=1.0)
    frames = triplets()["frames"][:, [TARGET] * 3]
    seen = model.jitter(frames)
    torch.testing.assert_close(seen[:, 0], seen[:, 2])
    assert (seen - frames).abs().mean() > 0.01
    assert not torch.allclose(seen[0] - frames[0], seen[1] - frames[1], atol=1e-2)


def test_disparity_is_to_be_smooth_where_the_unchanged_target_is_half_as_much_at_each_smaller_scale(
    smallest, monkeypatch
):
    model = smallest(jitter=[0.2, 0.2, 0.2, 0.1], jitter_probability=1.0, smoothness_weight=0.5)
    frames, pyramid = triplets()["frames"], [torch.rand(2, 1, size, size) for size in (64, 32, 16, 8)]
    monkeypatch.setattr(model.depth_network, "pyramid", lambda image: pyramid)
    monkeypatch.setattr(model, "photometric_loss", lambda *given: torch.tensor(3.0))
    monkeypatch.setattr(model, "log", lambda *given, **words: None)
    rough = [smoothness(level, frames[:, TARGET]) for level in pyramid]
    expected = 3 + 0.5 * (rough[0] + rough[1] / 2 + rough[2] / 4 + rough[3] / 8) / 4
    torch.testing.assert_close(model.training_step({"frames": frames}, 0), expected)


def test_it_learns_the_motion_of_one_batch(smallest, fit):
    model, batch = smallest(optimiser={"lr": 3.0e-3}), triplets()
    losses = []
    model.log = lambda name, value, **kwargs: losses.append(value.item())
    fit(model, batch, 60)
    assert losses[-1] < 0.6 * losses[0]


def test_it_trains_in_half_precision_which_leaves_disparity_motion_and_camera_alone(smallest, fit):
    model, batch = smallest(jitter=[0.2, 0.2, 0.2, 0.1], jitter_probability=1.0), triplets()
    fit(model, batch, 1, precision="bf16-mixed")
    assert all(p.grad.isfinite().all() for p in model.parameters())
    image, features = batch["frames"][:, TARGET], torch.randn(2, 32, 2, 2)
    read = partial(model.eval().pose_network._read, features, torch.tensor([64, 64]))
    with torch.no_grad():
        whole, seen = model.estimate_depth(image, Context()).map, read()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model.estimate_depth(image, Context()).map, whole)
            assert all(torch.equal(one, other) for one, other in zip(read(), seen, strict=True))
            found = *model.motions(batch["frames"])[0], *model.depth_network.pyramid(image)
    assert {x.dtype for x in found} == {torch.float32}


@pytest.fixture
def published(monkeypatch):
    """The weights of ImageNet, as if they were in the cache."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    held = resnet18().state_dict()
    monkeypatch.setattr("models.weights.load", lambda name: dict(held))
    monkeypatch.setattr("models.weights.find", lambda name: "there")
    return held


def test_imagenet_weights_start_both_trunks(depth_stage, published):
    model = depth_stage(pretrained="imagenet")
    model.setup("fit")
    assert torch.equal(model.depth_network.encoder.layer4[1].conv2.weight, published["layer4.1.conv2.weight"])
    # The same frame twice is what the filters were trained on.
    halves = model.pose_network.encoder.conv1.weight
    torch.testing.assert_close(halves[:, :3] + halves[:, 3:], published["conv1.weight"])
    assert model.notes() == {"pretrained": "resnet18_imagenet"}


@pytest.mark.parametrize(
    ("files", "start"), [([], "resnet18_imagenet"), (["small/dagan_depth.yaml"], "none"), ([TINY], "none")]
)
def test_trunks_start_from_imagenet_by_themselves_where_its_weights_fit(depth_stage, published, files, start):
    model = depth_stage(*files, pretrained="auto")
    model.setup("fit")
    assert model.notes() == {"pretrained": start}
    assert model.resolved(init_args("dagan_depth.yaml", *files, pretrained="auto")) == model.notes()


@pytest.mark.parametrize("depth", [{"layers": 34}, {"width": 32}])
def test_imagenet_for_trunks_of_another_size_is_refused(depth_stage, published, depth):
    with pytest.raises(UserError, match=r"No ImageNet weights fit trunks of .*: set model.init_args.pretrained"):
        depth_stage(pretrained="imagenet", depth=depth)


def test_a_batch_of_one_and_an_odd_size_train(smallest, fit):
    model = smallest(image_size=70)
    fit(model, triplets(1, 70), 1)
    assert model.depth_network(torch.rand(1, 3, 70, 70)).shape == (1, 1, 70, 70)


def test_a_loss_that_is_not_finite_ends_in_one_sentence(smallest, fit):
    batch = triplets()
    batch["frames"][0, TARGET, 0, 5, 5] = math.nan
    with pytest.raises(UserError, match="training loss is nan; lower"):
        fit(smallest(), batch, 1)
