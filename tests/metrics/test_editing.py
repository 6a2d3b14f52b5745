import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from metrics import editing
from metrics.base import Status
from metrics.editing import (
    BoxSSIM,
    Evaluations,
    InsideL1,
    OutsideL1,
    OutsideLPIPS,
    OutsidePSNR,
    OutsideSSIM,
    ToPerfect,
    TrainingToPerfect,
)
from metrics.editing_regions import MARGIN, box_ssim, filled, outside_of, outside_ssim
from metrics.perceptual import make_network

SIDE, NAMES = 48, ["a/0", "b/0"]
PERFECT = {OutsideL1: 0, OutsideSSIM: 1, InsideL1: 0, BoxSSIM: 1}  # what the perfect edit scores


def rounded(generator, *shape):
    return torch.from_numpy(generator.integers(0, 256, shape) / 255)


@pytest.fixture(scope="module")
def edit():
    """Input, perfect edit, result and training target of two samples, with soft masks in a corner and amidst."""
    generator = np.random.default_rng(0)
    source, other, preds, training = (rounded(generator, 2, 3, SIDE, SIDE) for _ in range(4))
    preds = (0.7 * source + 0.3 * preds).mul(255).round() / 255
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[0, :, :20, 30:], mask[1, :, 12:33, 14:40] = 1.0, 1.0
    mask[0, :, 20, 30:], mask[1, :, 33, 14:40] = 0.25, 0.5
    target = torch.where(mask > 0, other, source)
    return {"preds": preds, "target": target, "source": source, "mask": mask, "training": training}


def values(kind, edit, **changes):
    metric = kind if isinstance(kind, editing.EditMetric) else kind()
    metric.update(**edit | changes, sample_ids=NAMES)
    scores = metric.per_sample()
    return [scores[metric.sample_key(name)] for name in NAMES]


def numbers(kind, edit, **changes):
    return [value for value, _ in values(kind, edit, **changes)]


def surroundings(mask):
    square = np.ones((2 * MARGIN + 1,) * 2)
    return ~np.stack([binary_dilation(m > 0, square) for m in mask[:, 0].numpy()])


def as_numpy(pictures):
    return pictures.permute(0, 2, 3, 1).numpy()


def test_outside_is_what_two_pixels_of_dilation_leave(edit):
    np.testing.assert_array_equal(outside_of(edit["mask"])[:, 0].numpy(), surroundings(edit["mask"]))
    assert torch.equal(outside_of(edit["mask"], 0), edit["mask"] == 0)  # the least share of a pixel is inside
    assert torch.equal(outside_of(edit["mask"] > 0), outside_of(edit["mask"]))


def test_differences_outside_and_inside_are_those_of_pixels_cut_by_hand(edit):
    outside, inside = surroundings(edit["mask"]), edit["mask"][:, 0].numpy() > 0
    source, target, preds = (as_numpy(edit[name]) for name in ("source", "target", "preds"))
    kept = [np.abs(preds[i] - source[i])[outside[i]].mean() for i in range(2)]
    assert numbers(OutsideL1, edit) == pytest.approx(kept, abs=1e-12)
    reached = [np.abs(preds[i] - target[i])[inside[i]].mean() for i in range(2)]
    assert numbers(InsideL1, edit) == pytest.approx(reached, abs=1e-12)
    ratios = [peak_signal_noise_ratio(source[i][outside[i]], preds[i][outside[i]], data_range=1) for i in range(2)]
    assert numbers(OutsidePSNR, edit) == pytest.approx(ratios, abs=1e-9)


def similarity(first, second, **options):
    options = {"channel_axis": 2, "data_range": 1, "gaussian_weights": True, "sigma": 1.5, **options}
    return structural_similarity(first, second, use_sample_covariance=False, **options)


def test_similarity_outside_is_the_mean_of_scikit_images_map(edit):
    outside, edge = surroundings(edit["mask"]), slice(5, -5)
    expected = []
    for i, (source, preds) in enumerate(zip(as_numpy(edit["source"]), as_numpy(edit["preds"]), strict=True)):
        kept = np.where(outside[i][..., None], preds, source)
        whole = similarity(source, kept, full=True)[1].mean(-1)
        expected.append(whole[edge, edge][outside[i][edge, edge]].mean())
    assert numbers(OutsideSSIM, edit) == pytest.approx(expected, abs=1e-9)
    assert outside_ssim(edit["preds"], edit["source"], outside_of(edit["mask"])).tolist() == pytest.approx(expected)


def test_similarity_of_the_box_is_that_of_scikit_images_crop(edit):
    boxes = [(slice(0, 21), slice(30, SIDE)), (slice(12, 34), slice(14, 40))]
    pairs = zip(boxes, as_numpy(edit["target"]), as_numpy(edit["preds"]), strict=True)
    expected = [similarity(target[box], preds[box]) for box, target, preds in pairs]
    assert numbers(BoxSSIM, edit) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("spot", "box"),
    [
        ((slice(20, 23), slice(20, 22)), (slice(16, 27), slice(16, 27))),  # 8 more rows, 9 more columns
        ((slice(0, 1), slice(47, 48)), (slice(0, 11), slice(37, 48))),
        ((slice(45, 48), slice(2, 30)), (slice(37, 48), slice(2, 30))),
    ],
)
def test_a_small_box_grows_to_a_window_within_the_picture(edit, spot, box):
    mask = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.bool)
    mask[0, 0][spot] = True
    found = box_ssim(edit["preds"], edit["target"], mask)
    crops = (as_numpy(edit[name])[0][box] for name in ("target", "preds"))
    assert float(found[0]) == pytest.approx(similarity(*crops), abs=1e-9)
    assert found[1].isnan()


def test_perceptual_distance_outside_is_blind_to_the_edit_and_the_mean_of_the_librarys_map(edit):
    torch.manual_seed(0)
    network = make_network("squeeze")
    pasted = torch.where(outside_of(edit["mask"]), edit["source"], edit["preds"])
    assert numbers(OutsideLPIPS(network), edit, preds=pasted) == [0, 0]
    assert numbers(OutsideLPIPS(network), edit) != [0, 0]
    network.network.spatial = True
    outside = outside_of(edit["mask"])
    kept = torch.where(outside, edit["preds"], edit["source"])
    distance = network(kept.float(), edit["source"].float(), normalize=True)
    expected = [float(distance[i][outside[i]].double().mean()) for i in range(2)]
    assert numbers(OutsideLPIPS(network), edit) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("kind", "best"), PERFECT.items())
def test_the_perfect_edit_is_perfect(kind, best, edit):
    assert numbers(kind, edit, preds=edit["target"]) == pytest.approx([best, best], abs=1e-12)


def test_the_copied_input_is_perfect_outside_alone(edit):
    copied = {"preds": edit["source"]}
    assert numbers(OutsideL1, edit, **copied) == [0, 0]
    assert values(OutsidePSNR, edit, **copied) == [(np.inf, Status.IDENTICAL)] * 2
    assert min(numbers(InsideL1, edit, **copied)) > 0.3  # two uniform values differ by a third in the mean
    assert max(numbers(BoxSSIM, edit, **copied)) < 0.5


def test_damage_counts_where_it_is(edit):
    outside, target = outside_of(edit["mask"]), edit["target"]
    inside = edit["mask"] > 0
    spoilt_outside = torch.where(outside, 1 - target, target)
    spoilt_inside = torch.where(inside, 1 - target, target)
    margin = torch.where(inside | outside, target, 1 - target)  # the edge counts on neither side
    for kind, best in PERFECT.items():
        of_outside = kind in (OutsideL1, OutsideSSIM)
        assert numbers(kind, edit, preds=spoilt_outside if of_outside else spoilt_inside) != pytest.approx([best] * 2)
        if kind is not BoxSSIM:  # a box has corners outside
            assert numbers(kind, edit, preds=spoilt_inside if of_outside else spoilt_outside) == [best] * 2
            assert numbers(kind, edit, preds=margin) == pytest.approx([best] * 2)


def flat(*levels):
    return torch.tensor(levels, dtype=torch.float64).div(255)[:, None, None, None].expand(-1, 3, SIDE, SIDE)


def test_a_result_is_as_much_nearer_to_the_perfect_edit_as_it_is_by_hand(edit):
    given = edit | {"target": flat(100, 100), "training": flat(130, 80), "preds": flat(90, 140)}
    assert numbers(TrainingToPerfect, given) == pytest.approx([30 / 255, 20 / 255])
    assert numbers(ToPerfect, given) == pytest.approx([(10 - 30) / 255, (40 - 20) / 255])
    assert numbers(ToPerfect, given, preds=given["training"]) == [0, 0]
    assert numbers(ToPerfect, given, preds=given["target"]) == pytest.approx([-30 / 255, -20 / 255])


@pytest.mark.parametrize("kind", [ToPerfect, TrainingToPerfect])
def test_pairs_without_a_training_target_add_nothing(kind, edit):
    metric = kind()
    metric.update(**edit | {"training": None}, sample_ids=NAMES)
    assert metric.per_sample() == {}
    assert metric.compute().isnan()
    metric.update(**edit, sample_ids=NAMES)
    assert len(metric.per_sample()) == 2


@pytest.mark.parametrize("kind", [OutsideL1, OutsidePSNR, OutsideSSIM, InsideL1, BoxSSIM])
def test_a_mask_of_nothing_or_of_everything_leaves_no_value_and_says_so(kind, edit):
    outside = kind.card.name.endswith("outside")
    mask = edit["mask"].clone()
    mask[1] = 1.0 if outside else 0.0
    first, second = values(kind, edit, mask=mask)
    assert first[1] == Status.OK
    assert np.isnan(second[0])
    assert second[1] == Status.EMPTY_MASK


def test_scores_are_of_the_pictures_that_would_be_saved(edit):
    jitter = 0.4 / 255 * (torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    for kind in PERFECT:
        saved = (edit["preds"] + jitter).clamp(0, 1)
        assert numbers(kind, edit, preds=saved) == pytest.approx(numbers(kind, edit), abs=1e-12)


def test_the_inside_is_the_inputs_before_the_outside_is_compared(edit):
    kept = filled(edit["preds"], edit["source"], outside_of(edit["mask"]))
    assert torch.equal(kept[0, :, :20, 30:], edit["source"][0, :, :20, 30:])
    assert torch.equal(kept[0, :, 30:], edit["preds"][0, :, 30:])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mask": torch.zeros(2, 1, 8, 8)}, "pass a boolean one of shape"),
        ({"mask": torch.full((2, 1, SIDE, SIDE), 2.0)}, r"pass shares in \[0, 1\]"),
        ({"mask": torch.zeros(2, SIDE, SIDE)}, "B 1 H W"),
        ({"source": torch.zeros(2, 3, 8, 8)}, "two RGB batches of one shape"),
        ({"target": torch.full((2, 3, SIDE, SIDE), 200.0)}, r"pass RGB in \[0, 1\]"),
        ({"training": torch.zeros(1, 3, SIDE, SIDE)}, "two RGB batches of one shape"),
    ],
)
def test_wrong_input_is_one_plain_sentence(changes, sentence, edit):
    with pytest.raises(ValueError, match=sentence) as error:
        InsideL1().update(**edit | changes, sample_ids=NAMES)
    assert "\n" not in str(error.value)


def test_evaluations_are_counted_for_each_picture_and_none_costs_nothing():
    metric = Evaluations()
    metric.update(torch.tensor([24.0, 26.0]), NAMES[:2])
    assert metric.compute() == 25
    with pytest.raises(ValueError, match="without a run of the network"):
        metric.update(torch.zeros(2), NAMES[:2])
