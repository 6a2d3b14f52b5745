"""What holds for every method of DaGAN's tables that is no variant of DaGAN itself."""

import math
from dataclasses import replace

import pytest
import torch

from models.errors import UserError
from models.tasks import Context, perform
from models.tasks.reenactment import Reenactment
from tests.models.family.conftest import SMALLEST

METHODS = sorted(SMALLEST)
STEPS = {"monkey_net": 60, "osfv": 80, "tpsmm": 80, "x2face": 120}  # until a batch is learnt by heart

AT_ONCE = {"tpsmm": {"schedule.background_from": 0}}  # what a part waits for before it learns


def of_monkey_net(model, image):
    here, there = (model.keypoint_detector(x) for x in (image, image.flip(-1)))
    return *here, *there, model.motion(image, here, there)


def of_osfv(model, image):
    points, (here, there) = model.canonical_detector(image), (model.pose_estimator(x) for x in (image, image.flip(-1)))
    shape = model.encoder(image).shape
    volume = torch.linspace(-1, 1, math.prod(shape)).view(shape)
    return points, *here, *there, *model.motion(volume, here, there, points)


def of_tpsmm(model, image):
    here, there = (model.detector(x) for x in (image, image.flip(-1)))
    background = model.background(image, image.flip(-1))
    motion = model.motion(image, here, there, background, 0.0)
    return here, there, background, motion.flow, *motion.occlusions


COORDINATES = {"monkey_net": of_monkey_net, "osfv": of_osfv, "tpsmm": of_tpsmm, "x2face": lambda *_: ()}


def pairs(batch=2, size=64):
    torch.manual_seed(1)
    images = {name: torch.rand(batch, 3, size, size) for name in ("source", "driving")}
    return images | facing(batch)


def facing(batch):
    """The rotations of heads that look into the camera, which one of the methods asks for."""
    return {name: torch.eye(3).expand(batch, 3, 3) for name in ("source_rotation", "driving_rotation")}


def silent(name, model):
    """May have no gradient: a convolution's bias that a norm behind it takes out."""
    parent, _, leaf = name.rpartition(".")
    owner = model.get_submodule(parent.rpartition(".")[0])
    return leaf == "bias" and (parent.endswith("conv1") or (parent.endswith("conv") and hasattr(owner, "norm")))


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_gets_a_gradient_and_moves(tiny, fit, method):
    model = tiny(method, **AT_ONCE.get(method, {}))
    if method == "osfv":  # within the hinge's margins real and generated scores pull the last bias equally
        model.discriminator.conv.bias.data.fill_(1.5)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    fit(model, pairs(), 2)  # two steps, because some heads start at zero
    without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert {n for n in without if not silent(n, model)} == set()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert {n for n, p in model.named_parameters() if torch.equal(p, before[n])} <= without


@pytest.mark.parametrize("method", METHODS)
def test_it_reenacts_in_range(smallest, method):
    video = smallest(method).eval().reenact(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 3, 64, 64), Context())
    assert video.shape == (1, 3, 3, 64, 64)
    assert 0 <= video.min() <= video.max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_it_overfits_one_batch(tiny, fit, method):
    model = tiny(method, **{"optimiser.lr": 3.0e-3})
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")

    def disc(cx, cy):
        inside = torch.sigmoid(20 * (0.5 - ((x - cx) ** 2 + (y - cy) ** 2).sqrt()))
        return torch.stack([inside, 0.5 * inside + 0.2, 0.3 + 0 * inside])

    source = torch.stack([disc(-0.2, 0.1), disc(0.2, 0.0)])
    driving = torch.stack([disc(0.2, -0.1), disc(-0.1, 0.2)])
    fit(model, {"source": source, "driving": driving} | facing(2), STEPS[method])
    video = model.train().reenact(source, driving[:, None], Context())[:, 0]
    assert (video - driving).abs().mean() < 0.3 * (source - driving).abs().mean()


@pytest.mark.parametrize("method", METHODS)
def test_relative_motion_with_the_driving_frame_as_initial_rests(smallest, method):
    model = smallest(method).eval()
    source, frame = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    named = {"task": "self_reenactment", "sample_id": ["v/0"], "video_id": ["v"], "frame": [0], "number": [0]}
    batch = Reenactment(**named, source=source, driving=frame[:, None], initial=frame, motion="relative")
    moved = perform(model, batch)
    rest = perform(model, replace(batch, driving=source[:, None], motion="absolute"))
    torch.testing.assert_close(moved, rest, atol=2e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_relative_motion_from_the_sources_own_frame_is_absolute_motion(smallest, method):
    model = smallest(method).eval()
    source, driving = torch.rand(1, 3, 64, 64), torch.rand(1, 2, 3, 64, 64)
    relative = model.reenact(source, driving, Context("relative", source))
    torch.testing.assert_close(relative, model.reenact(source, driving, Context()), atol=2e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_relative_motion_without_an_initial_frame_is_refused(smallest, method):
    with pytest.raises(UserError, match="initial driving frame"):
        smallest(method).reenact(torch.rand(1, 3, 64, 64), torch.rand(1, 1, 3, 64, 64), Context("relative"))


@pytest.mark.parametrize("method", METHODS)
def test_frames_in_parts_or_at_once_are_the_same(smallest, method, monkeypatch):
    model = smallest(method).eval()
    source, driving = torch.rand(2, 3, 64, 64), torch.rand(2, 5, 3, 64, 64)
    together = model.reenact(source, driving, Context("relative", driving[:, 0]))
    monkeypatch.setattr("models.dagan.family.FRAMES_AT_ONCE", 2)
    parts = model.reenact(source, driving, Context("relative", driving[:, 0]))
    torch.testing.assert_close(parts, together, atol=1e-5, rtol=0)
    alone = model.reenact(source[1:], driving[1:, 3:4], Context("relative", driving[1:, 0]))
    torch.testing.assert_close(alone[0, 0], together[1, 3], atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("motion", ["absolute", "relative"])
def test_half_precision_leaves_coordinates_alone_and_pictures_whole(smallest, method, motion):
    model = smallest(method).eval()
    for parameter in model.parameters():
        parameter.data += 0.03 * torch.randn_like(parameter)  # heads that start at zero say something
    source, driving = torch.rand(2, 3, 64, 64), torch.rand(2, 2, 3, 64, 64)
    context = Context(motion, driving[:, 0])
    with torch.no_grad():
        whole, drawn = COORDINATES[method](model, source), model.reenact(source, driving, context)
        with torch.autocast("cpu", torch.bfloat16):
            half, roughly = COORDINATES[method](model, source), model.reenact(source, driving, context)
    assert all(torch.equal(one, other) for one, other in zip(whole, half, strict=True))
    assert roughly.dtype == torch.float32
    assert not torch.equal(roughly, drawn)
    torch.testing.assert_close(roughly, drawn, atol=0.02, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_it_trains_in_half_precision(smallest, fit, method):
    model = smallest(method)
    fit(model, pairs(), 1, precision="bf16-mixed")
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_of_one_trains_and_weights_survive_saving(smallest, fit, method, tmp_path):
    model = smallest(method)
    fit(model, pairs(1), 1)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    again = smallest(method)
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    source, driving = torch.rand(1, 3, 64, 64), torch.rand(1, 2, 3, 64, 64)
    ours, theirs = (m.eval().reenact(source, driving, Context()) for m in (model, again))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_not_finite_ends_in_one_sentence(smallest, fit, method):
    batch = pairs()
    batch["driving"][0, 0, 0, 0] = math.nan
    with pytest.raises(UserError, match=r"training loss is nan; lower model.init_args.optimiser.lr"):
        fit(smallest(method), batch, 1)
