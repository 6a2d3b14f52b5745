import pytest
import torch
from kornia.filters import gaussian_blur2d

from models.errors import UserError
from models.reference import BlurredCopy, ConstantDepth, CopySource, LuminanceDepth, NextFrame, Oracle, TrainMean
from models.tasks import Context, TaskBatch, perform
from models.tasks.reenactment import Reenactment


@pytest.fixture
def video():
    return torch.rand(1, 5, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def fit(model, *batches):
    model.log = lambda *args, **kwargs: None
    for i, batch in enumerate(batches):
        model.training_step(batch, i)
    return model


def test_copy_source_repeats_the_source(video):
    out = CopySource(16).reenact(video[:, 0], video, Context())
    assert torch.equal(out, video[:, :1].expand(1, 5, 3, 16, 16))


def test_blurred_copy_finds_the_blur_that_made_the_driving_frames(video):
    source = video[0]
    driving = gaussian_blur2d(source, (13, 13), (2.0, 2.0), "reflect")
    model = fit(BlurredCopy(16, [0, 0.0625, 0.125, 0.25]), {"source": source, "driving": driving})
    assert model.sigmas[int(model.errors.argmin())] == 0.125
    torch.testing.assert_close(model.reenact(source, source[:, None], Context())[:, 0], driving)


def test_blurred_copy_keeps_the_sharp_copy_of_a_still_video(video):
    model = fit(BlurredCopy(16, [0, 0.0625]), {"source": video[0], "driving": video[0]})
    assert torch.equal(model.reenact(video[0], video[0][:, None], Context())[:, 0], video[0])


def test_train_mean_is_the_mean_over_unequal_batches(video):
    frames = video[0]
    model = fit(TrainMean(16), {"driving": frames[:3]}, {"driving": frames[3:]})
    torch.testing.assert_close(model.reenact(frames[:1], video, Context())[0, 4], frames.mean(0))


def test_train_mean_depth_counts_masked_pixels_only():
    depth = torch.full((2, 1, 4, 4), 0.5)
    depth[1] = 0.7
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[:, :, 0], mask[0, :, 1] = True, True
    model = fit(TrainMean(4), {"depth": depth, "mask": mask})
    estimate = model.estimate_depth(torch.zeros(1, 3, 4, 4), Context())
    torch.testing.assert_close(estimate.map[0, 0, :, 0], torch.tensor([0.6, 0.5, 6.8 / 12, 6.8 / 12]))
    assert estimate.kind == "depth"


def test_next_frame_is_one_step_late(video):
    out = NextFrame(16).reenact(video[:, 0], video, Context(truth=video))
    assert torch.equal(out[:, :4], video[:, 1:])
    assert torch.equal(out[:, 4], video[:, 3])


def test_oracle_is_close_to_the_truth_but_coded():
    truth = torch.linspace(0, 1, 32).expand(1, 2, 3, 32, 32)
    out = Oracle(32, 95).reenact(truth[:, 0], truth, Context(truth=truth))
    assert 0 < (out - truth).abs().mean() < 0.01


def test_oracle_depth_is_rounded_to_a_millimetre():
    truth = torch.tensor([0.61234]).view(1, 1, 1, 1)
    estimate = Oracle(1, 95).estimate_depth(truth, Context(truth=truth))
    torch.testing.assert_close(estimate.map.item(), 0.612)


def test_luminance_reads_brighter_as_nearer():
    image = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).view(2, 3, 1, 1)
    estimate = LuminanceDepth(1).estimate_depth(image, Context())
    assert estimate.kind == "closeness"
    torch.testing.assert_close(estimate.map.flatten(), torch.tensor([0.299, 0.587]))


def test_constant_depth_is_flat():
    assert ConstantDepth(4).estimate_depth(torch.rand(2, 3, 4, 4), Context()).map.unique().numel() == 1


def test_only_oracles_are_given_the_truth(video):
    frames = list(range(video.shape[1]))
    named = {"task": "self_reenactment", "sample_id": [f"v/{t}" for t in frames], "video_id": ["v"] * len(frames)}
    shown = {"initial": video[:, 0], "source": video[:, 0], "driving": video, "target": video}
    batch = Reenactment(**named, frame=frames, number=frames, **shown)
    seen = {}

    class Spy(CopySource):
        def reenact(self, source, driving, context):
            seen["truth"] = context.truth
            return super().reenact(source, driving, context)

    perform(Spy(16), batch)
    assert seen["truth"] is None
    assert torch.equal(perform(NextFrame(16), batch)[:, 0], video[:, 1])


def test_a_method_without_the_task_is_named():
    with pytest.raises(UserError, match="CopySource has no method 'estimate_depth'"):
        perform(CopySource(16), TaskBatch(task="depth", sample_id=[], video_id=[], frame=[]))
