"""Motion modules: nothing at the start, each frame normed by itself, frames before a window attended to (j10: 4)."""

from dataclasses import replace

import pytest
import torch
from diffusers import MotionAdapter

from models.errors import UserError
from models.joint.denoiser import Denoiser, ReferenceNetwork
from models.joint.masks import MaskMixture
from models.joint.motion import MotionModulesConfig, motion_modules
from models.tasks import Context
from tests.models.joint.conftest import UNET, joint, layout

K, MOTION = 4, MotionModulesConfig(3, 2, 0.0, 2, 8, True, None)
TRUTH = ("image", "depth", "mask")
DEPTH_GIVEN = MaskMixture(0, {"depth": 1}, {}, 0)


def inputs(frames: int):
    torch.manual_seed(5)
    noisy, clean = torch.randn(frames, 2, K, 4, 4), torch.randn(frames, 2, K, 4, 4)
    return noisy, torch.full((frames, 2), 300), clean, torch.ones(frames, 2, 1, 4, 4)


def awake(denoiser):
    torch.manual_seed(6)
    for module in motion_modules(denoiser):
        torch.nn.init.normal_(module.proj_out.weight, std=0.3)
    return denoiser


def clips(batch):
    """Two clips of five frames."""
    longer = {name: batch[name].repeat(1, 2, *[1] * (batch[name].ndim - 2))[:, :5] for name in TRUTH}
    return longer | {"reference": batch["reference"], "video_id": ["a", "b"]}


def made(**changes):
    return joint(**{"motion": MOTION, "masks": DEPTH_GIVEN, **changes})


@pytest.mark.parametrize("middle", [True, False])
def test_motion_modules_add_nothing_at_the_start(middle):
    config = MotionModulesConfig(3, 2, 0.0, 2, 8, middle, None)
    still, video = Denoiser(UNET, layout(), K).eval(), Denoiser(UNET, layout(), K, config).eval()
    video.receive(still.state_dict())
    assert len(motion_modules(video)) == 2 + 4 + middle  # after every block down and up, and in the middle
    told = inputs(6)
    features = ReferenceNetwork(UNET, K)(torch.randn(1, K, 4, 4))
    torch.testing.assert_close(
        video(*told, features=features, frames=3), still(*told, features=features), rtol=1e-5, atol=1e-5
    )


@pytest.fixture
def adapter(tmp_path):
    """Motion modules of random weights that diffusers wrote, and their folder."""
    made = MotionAdapter(
        block_out_channels=(8, 16), motion_layers_per_block=1, motion_num_attention_heads=2, motion_norm_num_groups=4,
        motion_max_seq_length=8,
    )  # fmt: skip
    made.save_pretrained(tmp_path)
    return made, str(tmp_path)


def test_an_adapters_weights_are_read_for_a_fit_and_start_without_a_say(adapter):
    written, folder = adapter
    model = made(motion=replace(MOTION, adapter=folder))
    before = model.denoiser.state_dict()
    before = {name: value.clone() for name, value in before.items() if "motion_modules" not in name}
    model.setup("fit")
    ours = model.denoiser.unet.state_dict()
    for name, value in written.state_dict().items():
        silent = "proj_out" in name
        torch.testing.assert_close(ours[name], torch.zeros_like(value) if silent else value, rtol=0, atol=0)
    assert all(torch.equal(model.denoiser.state_dict()[name], value) for name, value in before.items())


def test_without_the_adapters_files_a_checkpoint_is_tested_and_a_fit_is_refused():
    gone = made(motion=replace(MOTION, adapter="gone/adapter"))
    gone.load_state_dict(made().state_dict())
    gone.setup("test")
    with pytest.raises(UserError, match=r"'gone/adapter' is not on this machine: .*hf download gone/adapter"):
        gone.setup("fit")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"heads": 4}, r"motion_num_attention_heads 2, where model\.init_args\.motion\.heads is 4; say"),
        ({"longest": 16}, r"motion_max_seq_length 8, where model\.init_args\.motion\.longest is 16; say"),
        ({"middle": False}, r"use_motion_mid_block True, where model\.init_args\.motion\.middle is False; say"),
    ],
)
def test_an_adapter_of_other_settings_is_refused(change, told, adapter):
    model = made(motion=replace(MOTION, adapter=adapter[1], **change))
    with pytest.raises(UserError, match=told):
        model.setup("fit")


def test_one_picture_is_left_alone_by_motion_that_has_learnt():
    still, video = Denoiser(UNET, layout(), K).eval(), awake(Denoiser(UNET, layout(), K, MOTION)).eval()
    video.receive(still.state_dict())
    told = inputs(4)
    torch.testing.assert_close(video(*told), still(*told), rtol=1e-5, atol=1e-5)
    assert (video(*told, frames=2) - still(*told)).abs().max() > 1e-3


def test_videos_of_one_batch_do_not_meet():
    video, told = awake(Denoiser(UNET, layout(), K, MOTION)).eval(), inputs(6)
    together = video(*told, frames=3)
    alone = video(*(part[3:] for part in told), frames=3)
    torch.testing.assert_close(together[3:], alone, rtol=1e-4, atol=1e-5)


def test_each_frame_is_normed_by_itself():
    """A frame's normed tokens do not depend on how loud the other frames are; diffusers' own module's do."""
    module = motion_modules(Denoiser(UNET, layout(), K, MOTION))[0]
    frames = torch.randn(1, 3, 8, 4, 4)
    loud = frames * torch.tensor([1.0, 10.0, 0.1]).view(1, 3, 1, 1, 1)
    one, other = (module.norm(x.flatten(0, 1)) for x in (frames, loud))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    seen = []
    handle = module.norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    module(frames.flatten(0, 1), num_frames=3)
    handle.remove()
    assert seen == [(3, 8, 4, 4)]


def test_a_module_is_temporal_attention_of_each_place_apart():
    module = motion_modules(awake(Denoiser(UNET, layout(), K, MOTION)))[0].eval()
    frames = torch.randn(3, 8, 4, 4)
    moved = frames.clone()
    moved[0, :, 1, 2] += 1.0  # the first frame at one place; the norm spreads it within that frame only
    change = (module(moved, num_frames=3) - module(frames, num_frames=3)).abs().amax(1)
    assert change[1, 1, 2] > 1e-4
    assert change[0].amax() > change[1].amax()
    order = torch.tensor([2, 0, 1])
    assert (
        module(frames[order], num_frames=3) - module(frames, num_frames=3)[order]
    ).abs().max() > 1e-4  # has an order


def test_frames_before_a_window_count_as_if_they_stood_in_it():
    module = motion_modules(awake(Denoiser(UNET, layout(), K, MOTION)))[0].eval()
    frames = torch.randn(5, 8, 4, 4)
    whole = module(frames, num_frames=5)[2:]
    module.past = {module.site: frames[None, :2]}
    torch.testing.assert_close(module(frames[2:], num_frames=3), whole, rtol=1e-5, atol=1e-6)


def test_the_frames_before_a_window_are_attended_to_at_every_site():
    video, told = awake(Denoiser(UNET, layout(), K, MOTION)).eval(), inputs(3)
    reference = ReferenceNetwork(UNET, K).eval()
    sites = [module.site for module in motion_modules(video)]
    past = reference.record(torch.randn(1, 2, K, 4, 4), sites)
    assert set(past) == set(sites)
    alone = video(*told, frames=3)
    for site in sites:
        assert (video(*told, frames=3, past={site: past[site]}) - alone).abs().max() > 1e-6, site
    torch.testing.assert_close(video(*told, frames=3), alone, rtol=0, atol=0)  # nothing is left behind


def test_only_the_motion_modules_learn_and_all_of_them_do(batch):
    model = made()
    awake(model.denoiser)
    torch.manual_seed(3)
    model.training_step(clips(batch), 0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ("motion_modules" in name), name
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_what_is_remembered_changes_the_loss_only_once_something_is_learnt(batch):
    def loss(model, clip):
        torch.manual_seed(3)
        return float(model.training_step(clip, 0).detach())

    model, clip = made(reference_drop=0.0), clips(batch)
    other = {**clip, "image": clip["image"].clone()}
    other["image"][:, :2] = 0
    assert loss(model, clip) == pytest.approx(loss(model, other), abs=1e-6)
    awake(model.denoiser)
    assert loss(model, clip) != pytest.approx(loss(model, other), abs=1e-6)


@pytest.mark.parametrize("checkpointing", [True])
def test_gradients_are_the_same_with_checkpointed_activations(checkpointing, batch):
    found = []
    for again in (False, checkpointing):
        model = made(checkpointing=again).train()
        awake(model.denoiser)
        torch.manual_seed(3)
        model.training_step(clips(batch), 0).backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(plain, again, rtol=1e-4, atol=1e-6)


def test_clips_of_another_length_are_refused(batch):
    with pytest.raises(UserError, match=r"clips of 5 frames: set data.init_args.targets"):
        made().training_step(
            {**batch, "image": batch["image"][:, :2], "depth": batch["depth"][:, :2], "mask": batch["mask"][:, :2]}, 0
        )


def test_two_clips_whose_frames_add_up_to_whole_ones_are_refused(batch):
    longer = clips(batch)
    wrong = {name: part.flatten(0, 1).unflatten(0, (1, 10)) for name, part in longer.items() if name in TRUTH}
    with pytest.raises(UserError, match=r"clips of 5 frames: set data.init_args.targets"):
        made().training_step(longer | wrong | {"reference": longer["reference"][:1]}, 0)


def moved_in(model, source, depth, pieces, names):
    """The frames of a clip that is shown in pieces."""
    parts = []
    for piece, (frames, name) in enumerate(zip(torch.arange(depth.shape[1]).split(pieces), names, strict=True)):
        known = {"seeds": frames, "conditions": {"depth": depth[:, frames]}, "video": name, "piece": piece}
        parts.append(model.reenact(source, depth[:, frames].expand(-1, -1, 3, -1, -1), Context(**known)))
    return torch.cat(parts, 1)


def test_a_further_piece_of_a_clip_goes_on_where_the_last_one_ended():
    model = made().eval()
    awake(model.denoiser)
    source, depth = torch.rand(1, 3, 16, 16), torch.rand(1, 9, 1, 16, 16) + 0.5
    whole = moved_in(model, source, depth, [9], ["a"])
    torch.testing.assert_close(moved_in(model, source, depth, [3, 6], ["a", "a"]), whole, rtol=1e-4, atol=1e-4)
    other = moved_in(model, source, depth, [3, 6], ["b", "a"])
    assert (other - whole)[:, 3:6].abs().max() > 1e-6  # the first piece was of another clip
    assert torch.equal(moved_in(model, source, depth, [3, 6], ["", ""])[:, 3:6], other[:, 3:6])  # no name, no memory


def test_pieces_shorter_than_what_is_remembered_are_remembered_together():
    model = made().eval()
    source, depth = torch.rand(1, 3, 16, 16), torch.rand(1, 2, 1, 16, 16) + 0.5
    moved_in(model, source, depth[:, :1], [1], ["a"])
    (nothing, first) = model.painted[2]
    moved_in(model, source, depth, [1, 1], ["a", "a"])
    assert not nothing.any()
    assert len(model.painted[2]) == MOTION.history == 2
    torch.testing.assert_close(model.painted[2][0], first)


def test_the_last_frame_alone_remembers_those_before_it():
    model = made().eval()
    awake(model.denoiser)
    source, depth = torch.rand(1, 3, 16, 16), torch.rand(1, 4, 1, 16, 16) + 0.5
    before = moved_in(model, source, depth, [4], [""])
    depth[:, 2] += torch.rand(1, 1, 16, 16)
    assert (moved_in(model, source, depth, [4], [""]) - before)[:, 3].abs().max() > 1e-6


def test_a_clip_is_painted_window_after_window_also_the_last_short_one():
    model = made().eval()
    awake(model.denoiser)
    source, depth = torch.rand(1, 3, 16, 16), torch.rand(1, 7, 1, 16, 16) + 0.5
    driving, seeds = torch.rand(1, 7, 3, 16, 16), torch.arange(7)
    moved = model.reenact(source, driving, Context(seeds=seeds, conditions={"depth": depth}))
    assert moved.shape == driving.shape
    first = model.reenact(source, driving[:, :3], Context(seeds=seeds[:3], conditions={"depth": depth[:, :3]}))
    torch.testing.assert_close(moved[:, :3], first, rtol=1e-4, atol=1e-4)
    changed = depth.clone()
    changed[:, 0] += torch.rand(1, 1, 16, 16)
    later = model.reenact(source, driving, Context(seeds=seeds, conditions={"depth": changed}))
    assert (later[:, 3:] - moved[:, 3:]).abs().max() > 1e-6  # the second window remembers the first
