import pytest
import torch
from kornia.filters import gaussian_blur2d

from models.errors import UserError
from models.reference import (
    BlurredCopy,
    ConstantDepth,
    CopySource,
    FittedDepth,
    LuminanceDepth,
    MeanDepth,
    NextFrame,
    Oracle,
    ShadedDepth,
    TrainMean,
)
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


@pytest.fixture
def portraits(video):
    """A training batch of two references with two targets each."""
    image = torch.stack([video[0, 1:3], video[0, 3:5]])
    depth = torch.linspace(0.5, 0.8, 4).view(2, 2, 1, 1, 1).expand(2, 2, 1, 16, 16)
    mask = torch.zeros(2, 2, 1, 16, 16, dtype=torch.bool)
    mask[..., :8], mask[1, ..., 8:12] = True, True
    return {"image": image, "depth": depth, "mask": mask, "reference": video[0, [0, 2]], "video_id": ["a", "b"]}


def test_copy_source_paints_the_reference(portraits):
    assert torch.equal(CopySource(16).paint_depth(portraits["reference"], None, Context()), portraits["reference"])


def test_blurred_copy_of_references_finds_the_blur_that_made_their_targets(portraits):
    reference = portraits["reference"]
    blurred = gaussian_blur2d(reference, (13, 13), (2.0, 2.0), "reflect")
    made = portraits | {"image": blurred[:, None].expand(2, 2, 3, 16, 16)}
    model = fit(BlurredCopy(16, [0, 0.0625, 0.125, 0.25]), made)
    torch.testing.assert_close(model.paint_depth(reference, None, Context()), blurred)
    crossed = fit(BlurredCopy(16, [0, 0.0625, 0.125, 0.25]), made | {"reference": reference.flip(0)})
    assert int(crossed.errors.argmin()) != 2  # a target belongs to its own reference


def test_train_mean_of_portraits_is_that_of_their_targets(portraits):
    painted = fit(TrainMean(16), portraits).paint_depth(portraits["reference"], None, Context())
    torch.testing.assert_close(painted[1], portraits["image"].flatten(0, 1).mean(0))
    assert painted.shape == (2, 3, 16, 16)


def test_mean_depth_of_portraits_counts_masked_pixels_of_all_targets(portraits):
    found = fit(MeanDepth(16), portraits, portraits).estimate_depth(torch.zeros(1, 3, 16, 16), Context())
    torch.testing.assert_close(found.map[0, 0, 0, [0, 8]], torch.tensor([0.65, 0.75]))
    torch.testing.assert_close(found.map[0, 0, 0, 15], torch.tensor((0.65 * 4 + 0.75) / 5))
    single = {name: portraits[name].flatten(0, 1) for name in ("depth", "mask")}
    again = fit(TrainMean(16), single).estimate_depth(torch.zeros(1, 3, 16, 16), Context())  # as it is of stills
    torch.testing.assert_close(again.map, found.map)


def test_oracle_paints_the_truth_but_coded():
    truth = torch.linspace(0, 1, 32).expand(2, 3, 32, 32)
    out = Oracle(32, 95).paint_depth(truth, None, Context(truth=truth))
    assert 0 < (out - truth).abs().mean() < 0.01


def test_shading_is_lamberts_law_on_an_inclined_plane():
    ambient, relief, side = 0.3, 0.5, 17
    depth = torch.linspace(0.5, 0.6, side).expand(1, 1, side, side).clone()
    depth[..., :4, :] = 0
    reference = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    painted = ShadedDepth(side, ambient, relief).paint_depth(reference, depth, Context())
    assert torch.equal(painted[..., :4, :], reference[..., :4, :])
    slope = relief * side / (side - 1)
    light = torch.full((side, side), ambient + (1 - ambient) * torch.cos(torch.tensor(slope).atan()))
    light[4] = 1  # beside what has no depth it counts as flat
    inner = slice(1, side - 1)  # at the picture's own edge a slope is half of a difference
    colour = painted[0, :, 4:, inner] / light[4:, inner]
    torch.testing.assert_close(colour, colour[:, -1:, :1].expand_as(colour))
    mean = reference[..., 4:, :].mean((2, 3))
    torch.testing.assert_close(painted[..., 4:, :].mean((2, 3)), mean, rtol=1e-4, atol=1e-4)


def test_shading_of_a_plane_that_faces_the_viewer_is_the_mean_colour_and_of_no_face_the_reference():
    reference = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    depth = torch.full((2, 1, 8, 8), 0.6)
    depth[1] = 0
    painted = ShadedDepth(8, 0.4, 0.9).paint_depth(reference, depth, Context())
    torch.testing.assert_close(painted[0], reference[0].mean((1, 2))[:, None, None].expand(3, 8, 8))
    assert torch.equal(painted[1], reference[1])


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


def test_the_fit_is_what_the_test_gives():
    fit = torch.rand(2, 1, 4, 4)
    estimate = FittedDepth(4).estimate_depth(torch.rand(2, 3, 4, 4), Context(conditions={"fitted_depth": fit}))
    assert estimate.kind == "depth"
    assert torch.equal(estimate.map, fit)
    with pytest.raises(UserError, match=r"set test\.condition to fitted_depth"):
        FittedDepth(4).estimate_depth(torch.rand(2, 3, 4, 4), Context())


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
