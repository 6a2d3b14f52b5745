"""The joint model: its step, its gradients, its tasks (j10: 2, 3, 8, 10)."""

from types import SimpleNamespace

import pytest
import torch

from models.diffusion.autoencoders import KLCodec, KLConfig
from models.errors import UserError
from models.joint.denoiser import ReferenceNetwork
from models.joint.masks import draw_masks
from models.joint.objective import make_noisy
from models.joint.sampling import SamplerConfig
from models.tasks import Context
from tests.models.joint.conftest import MIXTURE, codec, joint

VARIANTS = {
    "masked": {},
    "first stage": {"masked": False},
    "separate depth": {"generated": ["depth"], "given": ["image"], "masked": False},
    "separate image": {"generated": ["image"], "given": ["depth"], "masked": False},
    "no reference network": {"reference": "concatenated"},
    "both": {"reference": "both"},
    "composed": {"reference": "both", "composed": True},
    "a level each": {"masked": False, "levels": "per_modality"},
    "normals": {"generated": ["image", "depth", "normals"]},
}


def step(model, batch):
    torch.manual_seed(3)
    return model.training_step(batch, 0)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_parameter_that_may_learn_gets_gradient(changes, batch):
    model = joint(**changes)
    step(model, batch).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            if "class_embedding.linear_1" not in name:  # behind a layer that starts from zero
                assert parameter.grad.abs().max() > 0, name
        else:
            assert parameter.grad is None, name


def test_frozen_parameters_do_not_move_and_the_others_do(batch):
    model = joint()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimiser, _ = model.optimiser.build(model.parameters(), 10)
    for _ in range(3):
        optimiser.zero_grad()
        step(model, batch).backward()
        optimiser.step()
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name in frozen), name


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_gradients_are_the_same_with_checkpointed_activations(changes, batch):
    found = []
    for checkpointing in (False, True):
        model = joint(checkpointing=checkpointing, **changes).train()
        step(model, batch).backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(plain, again, rtol=1e-5, atol=1e-6)


def test_the_loss_of_a_step_is_that_of_the_papers_equation(batch):
    """Eq. 5 by hand: everything from noise, no masks, no reference to drop; the draws repeated in the step's order."""
    model = joint(masked=False, masks=type(MIXTURE)(1, {}, {}, 0), reference_drop=0.0)
    loss = step(model, batch)
    clean, skin = model.encode(batch)
    features = model.reference(model.codec.encode(batch["reference"]))
    torch.manual_seed(3)
    draw_masks(model.mixture, ["image", "depth"], skin)
    level = torch.randint(1000, (6, 1))
    noise = torch.randn_like(clean)
    kept = model.schedule.scheduler.alphas_cumprod[level[:, 0]].view(-1, 1, 1, 1, 1)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * clean
    context = model.denoiser.context.expand(6, -1, -1)
    said = model.denoiser.unet(
        noisy.flatten(1, 2), level[:, 0], context, cross_attention_kwargs={"reference": features}
    ).sample
    wanted = (said - velocity.flatten(1, 2)).square().mean()
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"reference": "both", "composed": True}], ids=["told", "composed"])
def test_a_step_and_every_task_work_in_mixed_precision_and_the_first_levels_have_their_noise(changes, batch):
    kl = KLCodec(KLConfig(widths=(4, 4, 8), layers=1, groups=2, channels=4, scaling=1, shift=None), None)
    kl.ready.fill_(True)
    model, picture = joint(codec=kl, **changes), batch["reference"]
    with torch.autocast("cpu", torch.bfloat16):
        model.training_step(batch, 0).backward()
        clean, _ = model.encode(batch)
        noisy = make_noisy(clean, torch.zeros(clean.shape[:2], dtype=torch.long), model.schedule)
        maps = model.estimate_depth(picture, Context(seeds=torch.arange(2))).map
        model.paint(picture, maps, torch.arange(2))
    assert clean.dtype == maps.dtype == torch.float32
    added = (noisy.latents - clean).std() / (1 - model.schedule.scheduler.alphas_cumprod[0]).sqrt()
    torch.testing.assert_close(added, torch.tensor(1.0), atol=0.15, rtol=0)


def test_targets_of_one_reference_count_as_samples_of_their_own(batch):
    """Three targets of a shared reference, and the same six as batches of one target each."""
    model = joint(reference_drop=0.0)
    apart = {name: batch[name].flatten(0, 1)[:, None] for name in ("image", "depth", "mask", "K")}
    apart["reference"] = batch["reference"].repeat_interleave(3, 0)
    torch.testing.assert_close(step(model, batch), step(model, apart), rtol=1e-5, atol=1e-6)


def test_depth_is_a_function_of_the_sample_alone():
    model = joint().eval()
    torch.manual_seed(0)
    images, seeds = torch.rand(19, 3, 16, 16), torch.arange(100, 119)
    together = model.estimate_depth(images, Context(seeds=seeds)).map
    order = torch.randperm(19)
    mixed = model.estimate_depth(images[order], Context(seeds=seeds[order])).map
    torch.testing.assert_close(mixed, together[order], rtol=1e-4, atol=1e-5)
    other = model.estimate_depth(images[:1], Context(seeds=seeds[1:2])).map
    assert (other - together[:1]).abs().max() > 1e-4


def test_an_ensemble_is_the_mean_of_aligned_draws():
    model = joint().eval()
    image, context = torch.rand(2, 3, 16, 16), Context(seeds=torch.tensor([1, 2]))
    one = model.estimate_depth(image, context).map
    model.samplers["depth"] = SamplerConfig(2, 1.0, 3)
    assert (model.estimate_depth(image, context).map - one).abs().max() > 1e-5


def test_guidance_of_scale_one_is_none_and_a_reference_matters():
    model = joint().eval()
    reference, depth = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16) + 0.5
    context = Context(seeds=torch.tensor([1, 2]))
    painted = {}
    for scale in (1.0, 1.0 + 1e-6, 3.0):
        model.samplers["image"] = SamplerConfig(3, scale, 1)
        painted[scale] = model.paint_depth(reference, depth, context)
    torch.testing.assert_close(painted[1.0], painted[1.0 + 1e-6], rtol=1e-3, atol=1e-4)
    assert (painted[3.0] - painted[1.0]).abs().max() > 1e-4
    model.samplers["image"] = SamplerConfig(3, 1.0, 1)
    assert (model.paint_depth(reference.flip(0), depth, context) - painted[1.0]).abs().max() > 1e-5


def test_reenactment_paints_each_frame_over_the_depth_it_is_given_or_reads():
    model = joint().eval()
    source, driving = torch.rand(1, 3, 16, 16), torch.rand(1, 18, 3, 16, 16)
    depth, seeds = torch.rand(1, 18, 1, 16, 16) + 0.5, torch.arange(18)
    moved = model.reenact(source, driving, Context(seeds=seeds, conditions={"depth": depth}))
    assert moved.shape == driving.shape
    one = model.paint_depth(source, depth[0, 7:8], Context(seeds=seeds[7:8]))
    torch.testing.assert_close(moved[0, 7:8], one, rtol=1e-4, atol=1e-4)
    read = model.reenact(source, driving, Context(seeds=seeds))
    assert (read - moved).abs().max() > 1e-4


def test_the_reference_is_read_once_a_clip(monkeypatch):
    model, calls = joint().eval(), []
    forward = ReferenceNetwork.forward
    monkeypatch.setattr(ReferenceNetwork, "forward", lambda self, z: calls.append(len(z)) or forward(self, z))
    depth = torch.rand(1, 40, 1, 16, 16) + 0.5  # more than are painted at once
    model.reenact(torch.rand(1, 3, 16, 16), depth.expand(-1, -1, 3, -1, -1), Context(conditions={"depth": depth}))
    assert calls == [1]
    calls.clear()
    model.samplers["depth"] = SamplerConfig(2, 1.0, 3)
    model.estimate_depth(torch.rand(2, 3, 16, 16), Context())
    assert calls == [2]  # once for all draws of an ensemble


def test_an_edit_leaves_what_lies_outside_its_region():
    model = joint().eval()
    image, closeness = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16)
    region = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    region[:, :, 4:8, 4:12] = True
    edited = model.repaint(image, closeness, region, Context())
    assert edited[~region.expand_as(edited)].equal(image[~region.expand_as(image)])
    assert (edited - image)[region.expand_as(image)].abs().max() > 1e-3


def test_a_region_needs_a_network_that_sees_what_is_around_it():
    picture, closeness = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    with pytest.raises(UserError, match=r"would not see what is around a region; set model.init_args.put_back"):
        joint(masked=False, levels="per_modality").repaint(picture, closeness, closeness > -1, Context())


def test_inpainting_of_all_is_the_joint_sampler():
    """All asked for, region and all: bit for bit the joint sample (j10: 8)."""
    model = joint().eval()
    reading, seeds = model.look(torch.rand(2, 3, 16, 16)), torch.arange(2)
    both, sampler = ["image", "depth"], SamplerConfig(3, 1.0, 1)
    plain = model.complete(both, {}, reading, seeds, sampler)
    known = {name: torch.rand_like(plain[name]) for name in both}
    white = {name: torch.ones_like(plain[name][:, :1]) for name in both}
    painted = model.complete(both, known, reading, seeds, sampler, regions=white)
    assert all(plain[name].equal(painted[name]) for name in both)


@pytest.mark.parametrize("changes", [{"put_back": True}, {"put_back": True, "masked": False}])
def test_what_is_put_back_comes_out_as_it_went_in(changes):
    """All given: both inputs are reproduced, to the codec's own error (j10: 8)."""
    model = joint(**changes).eval()
    image, grey = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16).expand(-1, 3, -1, -1)
    known = {"image": model.codec.encode(image), "depth": model.codec.encode(grey)}
    out = model.complete(["image", "depth"], known, model.read(image), torch.arange(2), SamplerConfig(3, 1.0, 1))
    for name, picture in (("image", image), ("depth", grey)):
        torch.testing.assert_close(out[name], model.codec.encode(picture), rtol=1e-4, atol=1e-4)


def test_joint_samples_are_both_modalities_of_as_many_people():
    picture, closeness = joint().eval().draw(torch.rand(3, 3, 16, 16), Context())
    assert picture.shape == (3, 3, 16, 16)
    assert closeness.shape == (3, 1, 16, 16)
    for drawn in (picture, closeness):
        assert drawn.min() >= 0
        assert drawn.max() <= 1


def test_a_network_that_cannot_answer_says_so():
    image, depth = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16) + 0.5
    with pytest.raises(UserError, match=r"together and cannot be given image; set model.init_args.put_back"):
        joint(masked=False).estimate_depth(image, Context())
    separate = joint(generated=["depth"], given=["image"], masked=False)
    with pytest.raises(UserError, match=r"generates depth, not image"):
        separate.paint_depth(image, depth, Context())
    with pytest.raises(UserError, match=r"needs image, which is not given"):
        separate.complete(["depth"], {}, separate.read(image), torch.arange(1), SamplerConfig(1, 1.0, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generated": ["image", "depht"]}, r"'depht' is no modality"),
        ({"generated": ["image", "depth", "normals"], "masked": False, "levels": "per_modality"}, r"told of two"),
        ({"generated": ["depth"], "given": ["image"], "masks": MIXTURE}, r"name 'image', which this network does not"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_before_a_fit(change, message):
    with pytest.raises(UserError, match=message):
        joint(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantiles": (0.02, 0.98)}, r"fitted with quantiles \[0.02, 0.98\], not \[0.005, 0.995\]"),
        ({"masked": False}, r"fitted with masked False, not True"),
    ],
)
def test_a_checkpoint_of_another_contract_is_refused(change, message):
    held = {}
    joint(**change).on_save_checkpoint(held)
    ours = joint()
    ours._trainer = None
    with pytest.raises(UserError, match=message):
        ours.on_load_checkpoint(held | {"state_dict": ours.state_dict()})


def test_a_checkpoint_keeps_channels_sign_and_schedule():
    held = {}
    joint().on_save_checkpoint(held)
    assert held["contract"]["depth"] == "closeness"
    assert held["contract"]["latent_channels"] == 4
    assert held["contract"]["prediction"] == "v"
    assert held["contract"]["zero_snr"] is True


def test_a_loss_that_is_not_finite_ends_the_fit_in_one_sentence(batch):
    model = joint()
    with torch.no_grad():
        model.denoiser.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(UserError, match=r"lower model.init_args.optimiser.lr"):
        step(model, batch)


def test_thirty_steps_lower_the_loss(batch):
    model = joint()
    optimiser, _ = model.optimiser.build(model.parameters(), 30)
    seen = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = step(model, batch)  # the same draws each time
        loss.backward()
        optimiser.step()
        seen.append(float(loss.detach()))
    assert seen[-1] < 0.8 * seen[0]


NAMES = {
    "frame_name": [("a/0", "b/0"), ("a/1", "b/1"), ("a/2", "b/2")],
    "reference_name": ["a/0", "b/7"],
}  # as collated


class Counting(torch.nn.Module):
    """A codec that counts the pictures it encodes."""

    def __init__(self, made):
        super().__init__()
        self.made, self.channels, self.factor, self.fingerprint = made, made.channels, made.factor, made.fingerprint
        self.encoded = 0

    def encode(self, pictures):
        self.encoded += len(pictures)
        return self.made.encode(pictures)


def test_with_kept_latents_the_loss_is_the_same_to_half_precision_and_nothing_is_encoded_twice(batch, tmp_path):
    plain = step(joint(), batch)
    model = joint(codec=Counting(codec()), latents=str(tmp_path))
    for _ in range(2):
        torch.testing.assert_close(step(model, batch | NAMES), plain, rtol=2e-3, atol=0)
    assert model.codec.encoded == 13  # 6 targets and their depth, and the reference that is no target
    other = joint(codec=Counting(codec()), latents=str(tmp_path), quantiles=(0.02, 0.98))
    step(other, batch | NAMES)
    assert other.codec.encoded == 6  # depth, which is drawn in another way


def test_pictures_whose_latents_are_kept_are_not_drawn(batch, tmp_path, monkeypatch):
    model = joint(latents=str(tmp_path))
    first, _ = model.encode(batch | NAMES)
    monkeypatch.setattr("models.joint.target_pictures", None)
    assert torch.equal(model.encode(batch | NAMES)[0], first)


def test_kept_latents_are_those_of_their_own_frames(batch, tmp_path):
    """Whatever the order in which collation leaves the names."""
    exact, _ = joint().encode(batch)
    model = joint(latents=str(tmp_path))
    model.encode(batch | NAMES)
    turned = {name: value.flip(0) for name, value in batch.items() if torch.is_tensor(value)}
    turned["frame_name"] = [names[::-1] for names in NAMES["frame_name"]]
    kept, _ = model.encode(turned)
    torch.testing.assert_close(kept, exact.unflatten(0, (2, 3)).flip(0).flatten(0, 1), rtol=1e-3, atol=1e-3)


def test_data_that_name_no_frames_cannot_be_kept(batch, tmp_path):
    with pytest.raises(UserError, match=r"do not name their frames: set model.init_args.latents to null"):
        step(joint(latents=str(tmp_path)), batch)


def test_gradients_are_clipped_by_whoever_shares_them_out(monkeypatch):
    model, asked = joint(), []
    over_devices = SimpleNamespace(clip_grad_norm_=asked.append)
    model._trainer = SimpleNamespace(model=over_devices)
    model.configure_gradient_clipping(None, 0.7, "norm")
    assert asked == [0.7]
