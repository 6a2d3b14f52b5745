import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from models.dagan.keypoints import AffineKeypoints
from models.dagan.optimisation import DaGANOptimiserConfig
from models.dagan.transform import RandomTransform
from models.errors import UserError
from models.tasks import Context, perform
from models.tasks.reenactment import Reenactment
from tests.models.smallest_dagan import SMALL_SPADE, SMALLEST, TINY, pairs


@pytest.mark.parametrize("variant", ["released", "fomm", "fomm_vox", "baseline", "fdn", "cam", "sa", "spade"])
def test_every_variant_trains_and_reenacts(smallest, fit, variant):
    changes = {"generator": SMALLEST["generator"] | SMALL_SPADE} if variant == "spade" else {}
    model = smallest(f"variants/dagan/{variant}.yaml", **changes)
    fit(model, pairs(), 1)
    video = model.eval().reenact(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 3, 64, 64), Context())
    assert video.shape == (1, 3, 3, 64, 64)
    assert 0 <= video.min() <= video.max() <= 1


@pytest.mark.parametrize("query", ["warped", "driving"])
def test_the_other_queries_train(smallest, fit, query):
    model = smallest(generator={**SMALLEST["generator"], "attention": {"query": query, "reduction": 1}})
    fit(model, pairs(), 2)
    assert model.generator.src_first.conv.weight.grad.any()


@pytest.mark.parametrize(
    ("variant", "depth", "attends"),
    [("fomm", False, False), ("baseline", False, False), ("fdn", True, False), ("cam", True, True), ("sa", True, True)],
)
def test_variants_are_the_rows_of_table_4(smallest, variant, depth, attends):
    model = smallest(f"variants/dagan/{variant}.yaml")
    assert (model.depth_network is not None) == depth
    assert hasattr(model.generator, "AttnModule") == attends
    assert model.detector_sees_depth == (variant in ("fdn", "sa"))
    assert hasattr(model.generator, "src_first") == (variant == "cam")


def silent(name, model):
    """May have no gradient: biases that a batch norm takes out, and the depth network, which is fixed."""
    modules = dict(model.named_modules())
    parent = name.rpartition(".")[0].rpartition(".")[0]
    before_norm = name.endswith("conv.bias") and getattr(modules.get(parent), "norm", None) is not None
    return name.startswith("depth_network.") or before_norm or ("bottleneck" in name and name.endswith("conv1.bias"))


@pytest.mark.parametrize("variant", [None, "fomm", "sa", "spade"])
def test_every_trainable_parameter_gets_a_gradient(dagan, fit, variant):
    changes = {"generator": SMALL_SPADE} if variant == "spade" else {}
    model = dagan(TINY, *([f"variants/dagan/{variant}.yaml"] if variant else []), **changes)
    fit(model, pairs(), 2)  # two steps, because the attention's gate starts at zero
    without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert {n for n in without if not silent(n, model)} == set()


def test_the_gate_of_the_attention_lets_no_gradient_through_at_first(smallest, fit):
    model = smallest()
    fit(model, pairs(), 1)
    assert not model.generator.AttnModule.query_conv.weight.grad.any()
    assert model.generator.AttnModule.gamma.grad.any()


def test_the_generators_step_leaves_no_gradient_in_the_discriminator(smallest):
    model = smallest()
    image = torch.rand(2, 3, 64, 64)
    keypoints = model.find_keypoints(image, model.disparity(image))
    fake = image.clone().requires_grad_()
    model.setup("fit")
    _, slope, _ = model._picture_losses(fake, image, keypoints)
    assert all(p.grad is None and p.requires_grad for p in model.discriminator.parameters())
    assert slope.any()


def test_the_discriminators_step_computes_no_gradient_of_the_picture(smallest, fit):
    model, seen = smallest(), []
    whole = model._picture_losses

    def watched(fake, *rest):
        fake.register_hook(lambda slope: seen.append(slope))
        losses, slope, judged = whole(fake, *rest)
        seen.clear()  # what the generator's step asks for
        return losses, slope, judged

    model._picture_losses = watched
    fit(model, pairs(), 1)
    assert not seen
    assert all(p.grad.any() for p in model.discriminator.parameters() if p.ndim > 1)


def losses_one_by_one(model, source, driving, transform):
    """Those of the generator and of the discriminator, nothing computed for both."""
    images = torch.cat([source, driving, transform.image(driving, model.align_corners)])
    disparity = model.disparity(images)
    there, here, moved = model.find_keypoints(images, disparity).chunk(3)
    of_source, of_driving = (None, None) if disparity is None else disparity.chunk(3)[:2]
    fake = model.generator(model.generator.encode(source, of_source), there, here, of_driving)
    found, score = model.discriminator(fake, here)
    wanted = [features.detach() for features in model.discriminator(driving, here)[0]]
    generator = model.perceptual_loss(fake, driving) + model.loss.adversarial * (1 - score).square().mean()
    generator += model.loss.feature_matching * sum((a - b).abs().mean() for a, b in zip(wanted, found, strict=True))
    generator += sum(model._keypoint_losses(there, here, moved, transform).values())
    twice = AffineKeypoints(torch.cat([here.value] * 2), None)
    real, made = model.discriminator(torch.cat([driving, fake.detach()]), twice)[1].chunk(2)
    return generator, (1 - real).square().mean() + made.square().mean()


@pytest.mark.parametrize("variant", [None, "fomm"])
def test_a_step_has_the_gradients_of_its_losses_one_by_one(smallest, fit, variant, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # no sum is rounded to float32
    overlay = [f"variants/dagan/{variant}.yaml"] if variant else []
    model, batch = smallest(*overlay, perceptual={"kind": "pyramid"}).double(), pairs()
    batch = {name: images.double() for name, images in batch.items()}
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)  # the gate of the attention and the jacobians start at 0
    transform = RandomTransform(2, model.transform, batch["driving"])
    monkeypatch.setattr("models.dagan.RandomTransform", lambda *_: transform)
    plain = deepcopy(model).to(memory_format=torch.contiguous_format)
    plain.setup("fit")
    fit(model, batch, 1)
    for loss, whose in zip(losses_one_by_one(plain, **batch, transform=transform), ("gk", "d"), strict=True):
        mine = {n: p for n, p in plain.named_parameters() if n[0] in whose and not n.startswith("depth_")}
        expected = dict(zip(mine, torch.autograd.grad(loss, mine.values(), retain_graph=True), strict=True))
        largest = max(gradient.abs().max() for gradient in expected.values())
        for name, gradient in expected.items():
            assert silent(name, model) or gradient.any(), name
            assert (model.get_parameter(name).grad - gradient).abs().max() < 1e-9 * largest, name


def test_the_depth_network_stays_in_eval_mode_and_unchanged(smallest, fit):
    model = smallest()
    before = {k: v.clone() for k, v in model.depth_network.state_dict().items()}
    fit(model, pairs(), 2)
    assert not model.train().depth_network.training
    assert model.keypoint_detector.training
    for name, value in model.depth_network.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_depth_weights_are_handed_over_by_prefix(smallest, depth_stage):
    stage = depth_stage("tiny/dagan_depth.yaml", depth=SMALLEST["depth"], pose_features=8)
    prefix = "depth_network."
    model = smallest()
    weights = {k.removeprefix(prefix): v for k, v in stage.state_dict().items() if k.startswith(prefix)}
    model.depth_network.load_state_dict(weights)
    image = torch.rand(2, 3, 64, 64)
    ours, theirs = (m.eval().estimate_depth(image, Context()) for m in (model, stage))
    torch.testing.assert_close(ours.map, theirs.map)
    assert ours.kind == theirs.kind == "disparity"


def test_relative_motion_with_the_driving_frame_as_initial_rests(smallest):
    model = smallest().eval()
    source, frame = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    named = {"task": "self_reenactment", "sample_id": ["v/0"], "video_id": ["v"], "frame": [0], "number": [0]}
    batch = Reenactment(**named, source=source, driving=frame[:, None], initial=frame, motion="relative")
    moved = perform(model, batch)
    rest = perform(model, replace(batch, driving=source[:, None], motion="absolute"))
    torch.testing.assert_close(moved, rest, atol=1e-5, rtol=0)


def test_relative_motion_scaled_by_the_faces_is_drawn_where_gradients_are_asked_for(smallest):
    model = smallest(adapt_scale=True).eval()
    source, driving = torch.rand(1, 3, 64, 64), torch.rand(1, 2, 3, 64, 64)
    given = source, driving, Context("relative", driving[:, 0])
    drawn = model.reenact(*given)
    assert drawn.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(model.reenact(*given), drawn, atol=1e-5, rtol=0)


LINE = torch.linspace(-0.5, 0.5, 15)[:, None]
FLAT = {
    "in one place": torch.zeros(15, 2),
    "on a line": LINE.expand(15, 2),
    "on a line that rounding bends": LINE * torch.tensor([0.3, 0.7]),
    "two": torch.tensor([[0.0, 0.1], [0.2, 0.3]]),
    "one": torch.zeros(1, 2),
}


@pytest.mark.parametrize("name", FLAT)
def test_relative_motion_is_not_scaled_by_faces_without_area(smallest, monkeypatch, name):
    model = smallest(keypoints=SMALLEST["keypoints"] | {"number": len(FLAT[name])}, adapt_scale=True).eval()
    find, source, driving = model.find_keypoints, torch.rand(1, 3, 64, 64), torch.rand(1, 2, 3, 64, 64)

    def flat(images, disparity):
        moved = FLAT[name] + images.mean((1, 2, 3))[:, None, None]
        return find(images, disparity)._replace(value=moved)

    monkeypatch.setattr(model, "find_keypoints", flat)
    given = source, driving, Context("relative", driving[:, 0])
    with torch.no_grad():
        drawn = model.reenact(*given)
        model.adapt_scale = False
        assert torch.equal(model.reenact(*given), drawn)


def test_relative_motion_without_an_initial_frame_is_refused(smallest):
    with pytest.raises(UserError, match="initial driving frame"):
        smallest().reenact(torch.rand(1, 3, 64, 64), torch.rand(1, 1, 3, 64, 64), Context("relative"))


def test_frames_in_parts_or_at_once_are_the_same(smallest, monkeypatch):
    model = smallest().eval()
    source, driving = torch.rand(2, 3, 64, 64), torch.rand(2, 5, 3, 64, 64)
    together = model.reenact(source, driving, Context("relative", driving[:, 0]))
    monkeypatch.setattr("models.dagan.family.FRAMES_AT_ONCE", 2)
    torch.testing.assert_close(model.reenact(source, driving, Context("relative", driving[:, 0])), together)
    monkeypatch.setattr("models.dagan.family.PIXELS_AT_ONCE", 3 * 64**2)
    for frames in (2, 8):  # of two samples: three and one at full size, then three, three, three and one
        monkeypatch.setattr("models.dagan.family.FRAMES_AT_ONCE", frames)
        with torch.no_grad():
            parts = model.reenact(source, driving, Context("relative", driving[:, 0]))
        torch.testing.assert_close(parts, together, atol=1e-5, rtol=0)
    alone = model.reenact(source[1:], driving[1:, 3:4], Context("relative", driving[1:, 0]))
    torch.testing.assert_close(alone[0, 0], together[1, 3], atol=1e-5, rtol=0)


def test_a_clip_is_drawn_with_the_weights_as_they_are_and_leaves_none_behind(smallest):
    model, images = smallest().eval(), pairs()
    given = images["source"], images["driving"][:, None], Context()
    names = model.state_dict().keys()
    with torch.no_grad():
        before = model.reenact(*given)
        model.generator.first.conv.weight.mul_(2)
        model.generator.first.norm.running_var.fill_(3)
        after = model.reenact(*given)
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(
        after, model.reenact(*given), atol=1e-6, rtol=0
    )  # with a gradient nothing is put together
    assert model.state_dict().keys() == names


def test_a_variant_without_depth_says_so(smallest):
    with pytest.raises(UserError, match="no depth network"):
        smallest("variants/dagan/fomm.yaml").estimate_depth(torch.rand(1, 3, 64, 64), Context())


def test_weights_survive_saving_and_loading(smallest, fit, tmp_path):
    model = smallest()
    fit(model, pairs(), 1)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    again = smallest()
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    source, driving = torch.rand(1, 3, 64, 64), torch.rand(1, 2, 3, 64, 64)
    ours, theirs = (m.eval().reenact(source, driving, Context()) for m in (model, again))
    torch.testing.assert_close(ours, theirs)


def test_a_batch_of_one_and_an_odd_multiple_train(smallest, fit):
    model = smallest(image_size=76)
    fit(model, pairs(1, 76), 1)
    assert model.reenact(torch.rand(1, 3, 76, 76), torch.rand(1, 1, 3, 76, 76), Context()).shape[-1] == 76


def test_it_overfits_one_batch(dagan, fit):
    model = dagan(TINY, optimiser={"lr": 3.0e-3})
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")

    def disc(cx, cy):
        inside = torch.sigmoid(20 * (0.5 - ((x - cx) ** 2 + (y - cy) ** 2).sqrt()))
        return torch.stack([inside, 0.5 * inside + 0.2, 0.3 + 0 * inside])

    source = torch.stack([disc(-0.2, 0.1), disc(0.2, 0.0)])
    driving = torch.stack([disc(0.2, -0.1), disc(-0.1, 0.2)])
    fit(model, {"source": source, "driving": driving}, 44)
    video = model.train().reenact(source, driving[:, None], Context())[:, 0]
    assert (video - driving).abs().mean() < 0.3 * (source - driving).abs().mean()


def test_a_loss_that_is_not_finite_ends_in_one_sentence(smallest, fit):
    batch = pairs()
    batch["driving"][0, 0, 0, 0] = math.nan
    with pytest.raises(UserError, match=r"training loss is nan; lower model.init_args.optimiser.lr"):
        fit(smallest(), batch, 1)


def test_weights_that_are_not_finite_are_not_saved(smallest):
    model = smallest()
    model.on_save_checkpoint({})
    next(model.parameters()).data[0] = math.nan
    with pytest.raises(UserError, match=r"weights hold nan or inf, so they are not saved; lower model.init_args"):
        model.on_save_checkpoint({})


def test_the_record_names_the_perceptual_loss(smallest, dagan, monkeypatch, tmp_path):
    assert smallest().notes() == {"perceptual": "pyramid"}
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    assert smallest(perceptual={"kind": "auto"}).perceptual_name == "pyramid"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vgg19-dcbb9e9d.pth").touch()
    assert smallest(perceptual={"kind": "auto"}).perceptual_name == "vgg19"


def test_both_optimisers_follow_the_schedule(smallest):
    model = smallest(optimiser={"lr": 1.0, "cosine": True})
    trainer = Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
    trainer.fit(model, DataLoader([pairs()] * 3, batch_size=None))
    assert trainer.global_step == 12  # two optimisers count every batch twice
    assert [s.last_epoch for s in model.lr_schedulers()] == [6, 6]
    assert all(s.get_last_lr()[0] == pytest.approx(0, abs=1e-12) for s in model.lr_schedulers())


@pytest.mark.parametrize(
    ("settings", "step", "expected"),
    [
        ({"milestones": [15]}, 749, 1),
        ({"milestones": [15]}, 750, 0.1),
        ({"milestones": [5, 15]}, 999, 0.01),
        ({"milestones": []}, 999, 1),
        ({"cosine": True}, 0, 1 / 50),
        ({"cosine": True}, 500, 0.5),
        ({"cosine": True}, 750, 0.5 * (1 - math.sqrt(0.5))),
        ({"cosine": True}, 1000, 0),
    ],
)
def test_the_learning_rate_of_a_step(settings, step, expected):
    config = DaGANOptimiserConfig(**{"lr": 1.0, "betas": (0.5, 0.999), "milestones": [], "cosine": False} | settings)
    assert config.factor(step, epochs=20, steps=1000) == pytest.approx(expected, abs=1e-12)


def saved(model):
    held = {"state_dict": model.state_dict(), "pytorch-lightning_version": "2.6.0", "loops": {}}
    model.on_save_checkpoint(held)
    return held


def test_a_checkpoint_of_a_fit_from_before_the_contract_still_loads(smallest):
    model = smallest()
    model.on_load_checkpoint(saved(model) | {"contract": {}})


def test_a_checkpoint_that_does_not_say_its_settings_is_refused(smallest):
    held = saved(smallest())
    del held["contract"]
    with pytest.raises(UserError, match="does not say under which settings"):
        smallest().on_load_checkpoint(held)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"align_corners": False}, "align_corners True, not False"),
        ({"determinant_floor": 0.0}, "determinant_floor 0.0001, not 0.0"),
        ({"keypoints": SMALLEST["keypoints"] | {"temperature": 0.2}}, "keypoints.temperature 0.1, not 0.2"),
        ({"motion": SMALLEST["motion"] | {"kp_variance": 0.02}}, "motion.kp_variance 0.01, not 0.02"),
    ],
)
def test_a_checkpoint_is_read_under_the_settings_of_its_fit(smallest, changes, told):
    with pytest.raises(UserError, match=told):
        smallest(**changes).on_load_checkpoint(saved(smallest()))


def test_a_checkpoint_builds_its_model_again(smallest, tmp_path):
    model = smallest("variants/dagan/sa.yaml").eval()
    torch.save(saved(model), tmp_path / "fit.ckpt")
    again = type(model).load_from_checkpoint(tmp_path / "fit.ckpt", weights_only=True).eval()
    source, driving = torch.rand(1, 3, 64, 64), torch.rand(1, 2, 3, 64, 64)
    ours, theirs = (m.reenact(source, driving, Context()) for m in (model, again))
    torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
