"""What the joint system costs, by counts: times are printed, and not tested."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed import diffusion
from benchmarks.speed.diffusion import TINY, bytes_per_card, counted, fitted, graphs, model, painted_anew, parameters
from models.tasks import Context

SMALLER = ["--model.init_args.unet.widths=[8,16]", "--model.init_args.unet.attention=[false,true]"]


def flops(work):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@pytest.fixture(scope="module")
def at_the_root():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(diffusion.__file__.rpartition("/benchmarks/")[0])
        yield


@pytest.fixture(scope="module")
def joint(at_the_root):
    return fitted(TINY, *SMALLER).eval()


def test_cached_latents_and_shared_references_save_what_is_asked_at_the_papers_scale(at_the_root):
    plain, ours = counted(diffusion.PAPER, "meta", False)
    assert ours / plain < diffusion.STEP
    assert plain == pytest.approx(8.6e12, rel=0.03)  # the specification's own count


def test_activations_that_are_computed_twice_cost_a_forward_pass_more(at_the_root):
    once, twice = (
        diffusion.step_flops(model(TINY, "meta", diffusion.checkpointing(on), *SMALLER), 2) for on in (False, True)
    )
    assert 1.1 < twice / once < 4 / 3  # of three; what is outside the blocks is computed once


def test_a_reference_is_projected_once_for_all_that_it_serves(joint):
    """Keys and values of two targets of one reference, and of two of their own."""
    clean, seen = torch.zeros(2, 2, 16, 16, 16), torch.zeros(1, 16, 16, 16)
    shared = flops(lambda: diffusion.pass_of(joint, clean, seen))
    apart = flops(lambda: diffusion.pass_of(joint, clean, seen.expand(2, -1, -1, -1)))
    reference = flops(lambda: joint.reference(seen))
    layers = [module for name, module in joint.denoiser.named_modules() if name.endswith("attn1")]
    tokens = {name: value.shape[1] for name, value in joint.reference(seen).items()}
    projected = sum(
        2 * 2 * count * layer.inner_dim * layer.query_dim
        for layer, count in zip(
            layers, (tokens[n] for n, _ in joint.denoiser.unet.named_modules() if n in tokens), strict=True
        )
    )
    assert apart - shared == reference + projected


def test_two_steps_of_depth_cost_a_fifteenth_of_fifty(joint):
    image, cost = torch.rand(2, 3, 64, 64), {}
    for steps in (2, 3):
        joint.samplers["depth"].steps = steps
        cost[steps] = flops(lambda: joint.estimate_depth(image, Context()))
    fifty = cost[2] + 48 * (cost[3] - cost[2])
    assert cost[2] / fifty <= diffusion.DEPTH_TIME


def test_a_reference_that_is_read_once_a_clip_paints_the_same_for_less(joint):
    joint.samplers["image"].steps = 3
    shown = diffusion.batch_of(joint, 1, 3)
    parts = shown["reference"], shown["depth"][0]
    with torch.no_grad():
        once, anew = joint.paint_depth(*parts, Context()), painted_anew(joint, *parts)
    torch.testing.assert_close(once, anew, rtol=1e-4, atol=1e-4)
    cost = flops(lambda: joint.paint_depth(*parts, Context())), flops(lambda: painted_anew(joint, *parts))
    assert cost[0] / cost[1] < diffusion.CLIP_TIME + 0.1  # of 3 frames and steps; the more of them the less


def test_the_step_is_one_graph_also_where_activations_are_computed_twice(at_the_root):
    assert graphs(model(TINY, "meta", diffusion.checkpointing(True), *SMALLER)) == (1, 0, [])


def test_the_memory_plan_is_counted_from_the_parameters(at_the_root):
    paper = model((*diffusion.PAPER, "variants/joint/memory.yaml"), "meta")
    learning, frozen = parameters(paper)
    unread = sum(p.numel() for p in paper.reference.parameters() if not p.requires_grad)
    assert learning == pytest.approx(2 * 859.55e6, rel=2e-3)
    assert unread == pytest.approx(2.45e6, rel=5e-3)
    assert frozen == unread + sum(p.numel() for p in paper.codec.parameters())
    plans = list(bytes_per_card(1000, 10).values())
    assert plans == [16040, 10040, 6040, 6040, 4040]
