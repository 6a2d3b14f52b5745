import numpy as np
import pytest
import torch

from metrics.alignment import in_space
from metrics.base import Status
from metrics.depth import (
    RMSE,
    AbsRel,
    Delta1,
    Delta2,
    Delta3,
    NormalError,
    abs_rel,
    affine_align,
    delta,
    normal_error,
    rmse,
)

METRICS = [AbsRel, Delta1, RMSE, NormalError]


def _wavy(depth):
    """A prediction of another scale with an error that no affine map removes."""
    column = torch.arange(depth.shape[3], dtype=torch.float64)
    return 2.7 * depth - 0.4 + 0.02 * torch.sin(column / 3)


def _scores(preds, kind, face_depth):
    depth, mask, intrinsics = face_depth
    out = []
    for metric in (cls() for cls in METRICS):
        metric.update(preds, kind, depth, mask, intrinsics, ["a/0"])
        out.append(metric.compute().item())
    return np.array(out)


def _least_squares(values, goal):
    return np.linalg.lstsq(np.stack([values, np.ones_like(values)], 1), goal, rcond=None)[0]


def test_case_20_alignment_is_the_least_squares_fit(face_depth):
    depth, mask, _ = face_depth
    preds = _wavy(depth)
    aligned = affine_align(preds, "depth", depth, mask)
    scale, shift = _least_squares(preds[mask].numpy(), depth[mask].numpy())
    assert aligned.scale.item() == pytest.approx(scale, abs=1e-12)
    assert aligned.shift.item() == pytest.approx(shift, abs=1e-12)
    assert aligned.status.item() == Status.OK


def test_case_20_alignment_keeps_its_digits_where_single_precision_normal_equations_lose_them(face_depth):
    depth, mask, _ = face_depth
    preds = (0.001 * depth + 10).float()  # a shallow face far from the map's origin
    values, goal = preds[mask].numpy(), depth[mask].numpy()
    scale, _ = _least_squares(values.astype(np.float64), goal)
    design = np.stack([values, np.ones_like(values)], 1)
    naive = np.linalg.solve(design.T @ design, design.T @ goal.astype(np.float32))[0]
    assert affine_align(preds, "depth", depth, mask).scale.item() == pytest.approx(scale, rel=1e-9)
    assert abs(naive / scale - 1) > 1e-2


def test_a_map_is_flat_where_double_precision_rounds_it_and_not_before(face_depth):
    depth, mask, _ = face_depth
    shallow = affine_align(1 + 1e-9 * depth, "depth", depth, mask)
    assert shallow.status.item() == Status.OK
    torch.testing.assert_close(shallow.depth[mask], depth[mask].double(), atol=1e-5, rtol=0)
    assert affine_align(1 + 1e-13 * depth, "depth", depth, mask).status.item() == Status.DEGENERATE_ALIGNMENT


def test_case_23_disparity_is_fitted_to_inverse_depth_and_inverted(face_depth):
    depth, mask, _ = face_depth
    preds = _wavy(1 / depth)
    scale, shift = _least_squares(preds[mask].numpy(), 1 / depth[mask].numpy())
    manual = 1 / (scale * preds[mask] + shift)
    aligned = affine_align(preds, "disparity", depth, mask).depth
    assert torch.allclose(aligned[mask], manual, atol=1e-12, rtol=0)


def test_disparity_has_a_floor(face_depth):
    depth, mask, _ = face_depth
    preds = torch.where(mask, 1 / depth, -100.0)
    assert affine_align(preds, "disparity", depth, mask).depth.max().item() == pytest.approx(1000)


def test_closeness_is_depth_with_its_sign_turned(face_depth):
    preds = _wavy(face_depth[0])
    assert np.allclose(_scores(-preds, "closeness", face_depth), _scores(preds, "depth", face_depth), atol=1e-12)


@pytest.mark.parametrize(("scale", "shift"), [(0.1, 0.0), (7.0, -2.0), (1000.0, 50.0)])
def test_case_21_scores_do_not_depend_on_a_positive_affine_map(face_depth, scale, shift):
    preds = _wavy(face_depth[0])
    changed = _scores(scale * preds + shift, "depth", face_depth)
    assert np.allclose(changed, _scores(preds, "depth", face_depth), atol=1e-8, rtol=0)


@pytest.mark.parametrize("kind", ["depth", "disparity", "closeness"])
def test_case_21_an_exact_affine_map_has_no_error(face_depth, kind):
    depth = face_depth[0]
    exact = {"depth": depth, "disparity": 1 / depth, "closeness": -depth}[kind]
    absrel, delta1, root, angle = _scores(3 * exact - 1, kind, face_depth)
    assert absrel < 1e-12
    assert delta1 == 1
    assert root < 1e-9  # millimetres
    assert angle < 1e-9


@pytest.mark.parametrize(("epsilon", "share"), [(0.1, 1.0), (0.249, 1.0), (0.251, 0.0)])
def test_case_22_a_relative_error_is_exact(face_depth, epsilon, share):
    depth, mask, _ = face_depth
    assert abs_rel((1 + epsilon) * depth, depth, mask).item() == pytest.approx(epsilon, abs=1e-12)
    assert delta((1 + epsilon) * depth, depth, mask).item() == share
    assert delta(depth, (1 + epsilon) * depth, mask).item() == share  # documented: interchangeable
    swapped = abs_rel(depth, (1 + epsilon) * depth, mask).item()
    assert swapped == pytest.approx(epsilon / (1 + epsilon), abs=1e-12)  # documented: not interchangeable
    assert rmse(depth + epsilon, depth, mask).item() == pytest.approx(epsilon, abs=1e-12)


@pytest.mark.parametrize("turned", [lambda d: -d, lambda d: torch.full_like(d, 0.7)])
def test_an_inverted_or_constant_map_counts_as_the_best_constant(face_depth, turned):
    depth, mask, intrinsics = face_depth
    aligned = affine_align(turned(depth), "depth", depth, mask)
    assert torch.allclose(aligned.depth[mask], depth[mask].mean().expand(int(mask.sum())), atol=1e-12)
    assert aligned.status.item() == Status.DEGENERATE_ALIGNMENT
    metric = RMSE()
    metric.update(turned(depth), "depth", depth, mask, intrinsics, ["a/0"])
    spread = 1000 * depth[mask].std(correction=0).item()
    assert metric.per_sample()[RMSE.sample_key("a/0")] == (
        pytest.approx(spread, abs=1e-9),
        Status.DEGENERATE_ALIGNMENT,
    )


def test_what_lies_outside_the_mask_does_not_count(face_depth):
    depth, mask, intrinsics = face_depth
    preds = _wavy(depth)
    spoiled = torch.where(mask, preds, 17.0), torch.where(mask, depth, 0.0)
    assert np.allclose(
        _scores(spoiled[0], "depth", (spoiled[1], mask, intrinsics)), _scores(preds, "depth", face_depth)
    )


def _plane(normal, distance, intrinsics, size=24):
    """Depth of the plane normal . X = distance, by intersecting each pixel's ray."""
    y, x = np.mgrid[:size, :size]
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(intrinsics).T
    return torch.from_numpy(distance / (rays @ normal))[None, None]


def test_the_angle_between_two_planes_is_exact():
    intrinsics = np.array([[60.0, 0, 11.5], [0, 66.0, 10.0], [0, 0, 1]])
    first, second = np.array([0, 0, 1.0]), np.array([np.sin(0.3), 0.2, np.cos(0.3)])
    second /= np.linalg.norm(second)
    planes = [_plane(n, 0.6, intrinsics) for n in (first, second)]
    mask = torch.ones_like(planes[0], dtype=torch.bool)
    error = normal_error(*planes, mask, torch.from_numpy(intrinsics)[None])
    assert error.item() == pytest.approx(np.degrees(np.arccos(first @ second)), abs=1e-9)
    flipped = torch.from_numpy(intrinsics)[None] * torch.tensor([[1.0], [2.0], [1.0]])  # another camera counts
    assert abs(normal_error(*planes, mask, flipped).item() - error.item()) > 1


def test_normals_of_a_sphere_point_along_its_radius():
    size, centre, radius = 96, np.array([0.02, -0.01, 0.7]), 0.1
    intrinsics = np.array([[300.0, 0, 47.5], [0, 300.0, 47.5], [0, 0, 1]])
    y, x = np.mgrid[:size, :size]
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(intrinsics).T
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
    hit = b**2 - a * c > 0.2 * (b**2 - a * c).max()  # away from the grazing rim
    depth = np.where(hit, (b - np.sqrt(np.abs(b**2 - a * c))) / a, 1.0)
    radial = (rays * depth[..., None] - centre) / radius
    plane = torch.full((1, 1, size, size), 0.7, dtype=torch.float64)  # its normal is (0, 0, -1)
    mask = torch.from_numpy(hit)[None, None]
    measured = normal_error(plane, torch.from_numpy(depth)[None, None], mask, torch.from_numpy(intrinsics)[None])
    inside = torch.nn.functional.max_pool2d(1 - mask.double(), 3, 1) == 0
    angle = np.degrees(np.arccos(np.where(hit, -radial[..., 2], 0)))[1:-1, 1:-1]
    assert measured.item() == pytest.approx(angle[inside[0, 0].numpy()].mean(), abs=0.1)


def test_an_empty_mask_is_no_score(face_depth):
    depth, mask, intrinsics = face_depth
    for metric in (cls() for cls in METRICS):
        metric.update(depth, "depth", depth, torch.zeros_like(mask), intrinsics, ["a/0"])
        value, status = metric.per_sample()[metric.sample_key("a/0")]
        assert np.isnan(value)
        assert status == Status.EMPTY_MASK
        assert np.isnan(metric.compute().item())


@pytest.mark.parametrize(
    ("preds", "kind", "depth", "sentence"),
    [
        (lambda d: d, "inverse", lambda d: d, "'inverse' is no kind of depth map"),
        (lambda d: d[0], "depth", lambda d: d, "one shape, B 1 H W"),
        (lambda d: d.expand(-1, 3, -1, -1), "depth", lambda d: d, "one shape, B 1 H W"),
        (lambda d: d * torch.nan, "depth", lambda d: d, "nan or inf"),
        (lambda d: d.long(), "depth", lambda d: d, "floating-point"),
        (lambda d: d, "depth", lambda d: d * 0, "not positive inside the mask"),
        (lambda d: d, "depth", lambda d: d * torch.inf, "true depth holds nan or inf"),
    ],
)
def test_case_35_a_wrong_input_is_one_plain_sentence(face_depth, preds, kind, depth, sentence):
    true, mask, intrinsics = face_depth
    with pytest.raises(ValueError, match=sentence) as error:
        RMSE().update(preds(true), kind, depth(true), mask, intrinsics, ["a/0"])
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="boolean"):
        RMSE().update(true, "depth", true, mask.float(), intrinsics, ["a/0"])


def test_case_20_the_rule_of_marigold_gives_the_same_scale(face_depth):
    depth, mask, _ = face_depth
    preds = _wavy(depth)
    aligned = affine_align(preds, "depth", depth, mask)
    design = np.stack([preds[mask].numpy(), np.ones(int(mask.sum()))], 1)  # normal equations of all pixels, float64
    scale, shift = np.linalg.inv(design.T @ design) @ design.T @ depth[mask].numpy()
    assert aligned.scale.item() == pytest.approx(scale, abs=1e-9)
    assert aligned.shift.item() == pytest.approx(shift, abs=1e-9)


def _score(metric, preds, face_depth):
    depth, mask, intrinsics = face_depth
    metric.update(preds, "depth", depth, mask, intrinsics, ["a/0"])
    return metric.compute().item()


def _unit(face_depth, preds):
    """Aligned and true depth over the true range, by numpy."""
    depth, mask, _ = face_depth
    true = depth[mask].numpy()
    scale, shift = _least_squares(preds[mask].numpy(), true)
    return tuple((x - true.min()) / np.ptp(true) for x in (scale * preds[mask].numpy() + shift, true))


def test_the_unit_space_by_hand(face_depth):
    preds = _wavy(face_depth[0])
    aligned, true = _unit(face_depth, preds)
    assert _score(RMSE("unit"), preds, face_depth) == pytest.approx(np.sqrt(np.mean((aligned - true) ** 2)), abs=1e-12)
    first, second = 0.1 + 0.9 * aligned, 0.1 + 0.9 * true
    assert _score(AbsRel("unit"), preds, face_depth) == pytest.approx(np.mean(abs(first - second) / second), abs=1e-12)
    ratio = np.maximum(first / second, second / first)
    for metric, threshold in ((Delta1, 1.25), (Delta2, 1.25**2), (Delta3, 1.25**3)):
        assert _score(metric("unit"), preds, face_depth) == pytest.approx(np.mean(ratio < threshold), abs=1e-12)


def test_the_closeness_space_by_hand_and_ruled_by_its_floor(face_depth):
    preds = _wavy(face_depth[0])
    aligned, true = (np.maximum(1 - u, 1e-3) for u in _unit(face_depth, preds))
    expected = np.mean(abs(aligned - true) / true)
    assert _score(AbsRel("closeness"), preds, face_depth) == pytest.approx(expected, rel=1e-9)
    assert expected > _score(AbsRel("unit"), preds, face_depth) > 10 * _score(AbsRel(), preds, face_depth)
    assert _score(RMSE("closeness"), preds, face_depth) == _score(RMSE("unit"), preds, face_depth)


def test_case_21_the_spaces_do_not_depend_on_a_positive_affine_map(face_depth):
    preds = _wavy(face_depth[0])
    for metric in (AbsRel, Delta1, RMSE):
        for space in ("unit", "closeness"):
            right = _score(metric(space), preds, face_depth)
            assert _score(metric(space), 7 * preds - 2, face_depth) == pytest.approx(right, rel=1e-6)
    assert _score(AbsRel("unit"), 3 * face_depth[0] - 1, face_depth) < 1e-12


def test_a_ratio_in_closeness_is_called_ill_conditioned_and_a_tasks_list_has_the_metric_of_its_space(face_depth):
    cards = {metric.by(space).card for metric in (AbsRel, Delta1, RMSE) for space in ("unit", "closeness")}
    said = {card.name for card in cards if "ill-conditioned" in card.protocol}
    assert said == {"AbsRel-closeness", "Delta1-closeness"}
    preds = _wavy(face_depth[0])
    for metric in (AbsRel, Delta1, RMSE):
        listed = metric.by("closeness")
        assert listed.card == metric("closeness").card
        assert _score(listed.make(), preds, face_depth) == _score(metric("closeness"), preds, face_depth)
        assert metric.by("metric").card == metric.card


def test_a_space_is_in_the_name_and_an_unknown_one_is_refused(face_depth):
    assert AbsRel().card.name == "AbsRel"
    assert AbsRel("unit").card.name == "AbsRel-unit"
    assert "[0.1, 1]" in AbsRel("unit").card.protocol
    assert RMSE("unit").card.unit == ""
    with pytest.raises(ValueError, match="no space of depth errors; choose from metric, unit, closeness"):
        AbsRel("disparity")
    depth, mask, intrinsics = face_depth
    for space in ("unit", "closeness"):
        metric = AbsRel(space)
        metric.update(depth, "depth", depth, torch.zeros_like(mask), intrinsics, ["a/0"])
        assert np.isnan(metric.compute().item())
        assert metric.per_sample()[AbsRel.sample_key("a/0")][1] == Status.EMPTY_MASK


def test_a_prediction_far_below_the_range_does_not_count_as_right(face_depth):
    depth, mask, _ = face_depth
    first, second = in_space(torch.where(mask, depth - 1, depth), depth, mask, "unit")
    assert delta(first, second, mask).item() == 0


def test_case_35_swapped_depths_change_the_value(face_depth):
    preds = _wavy(face_depth[0])
    depth, mask, intrinsics = face_depth
    right = _score(AbsRel(), preds, face_depth)
    assert _score(AbsRel(), depth, (preds, mask, intrinsics)) != pytest.approx(right, rel=1e-3)


def test_aligned_depth_is_never_behind_the_camera():
    preds = torch.tensor([1.0, 0, 0, -0.5]).view(1, 1, 1, 4)
    depth = torch.tensor([1.0, 0.01, 0.01, 0.01]).view(1, 1, 1, 4)
    aligned = affine_align(preds, "depth", depth, torch.ones_like(depth, dtype=torch.bool))
    assert aligned.depth.min().item() == 1e-6
