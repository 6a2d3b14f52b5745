import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torchmetrics.functional.classification import binary_cohen_kappa

from metrics.face import (
    aed_squared,
    akd_l1,
    akd_l2,
    angle_rmse_degrees,
    aucon,
    bscon,
    cohen_kappa,
    cosine_similarity,
    euler_degrees,
    expression_error,
    nme,
    prmse_degrees,
)
from metrics.geometry import geodesic_degrees
from tests.metrics.faces import landmarks, rotations


def by_scipy(one, other):
    turn = Rotation.from_matrix(one.numpy()).inv() * Rotation.from_matrix(other.numpy())
    return torch.from_numpy(np.degrees(turn.magnitude()))


def random_rotations(count, seed):
    return torch.from_numpy(Rotation.random(count, rng=np.random.default_rng(seed)).as_matrix())


# Case 24


def test_a_shift_of_one_pixel_is_half_in_l1_and_one_in_l2():
    points = landmarks()[None]
    shifted = points + torch.tensor([1.0, 0.0])
    assert akd_l1(shifted, points).item() == pytest.approx(0.5, abs=1e-12)
    assert akd_l2(shifted, points).item() == pytest.approx(1.0, abs=1e-12)
    assert nme(shifted, points).item() == pytest.approx(1 / 60, abs=1e-12)


def test_without_direction_l2_is_half_pi_of_l1():
    noise = torch.randn(200, 68, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zero = torch.zeros_like(noise)
    ratio = akd_l2(noise, zero).mean() / akd_l1(noise, zero).mean()
    assert ratio.item() == pytest.approx(np.pi / 2, rel=0.01)


def test_nme_without_a_width_is_nan():
    flat = torch.ones(1, 68, 2)
    assert nme(flat + 1, flat).isnan().all()


# Cases 25 and 26


def test_squared_distance_of_unit_vectors_is_twice_one_minus_cosine():
    generator = torch.Generator().manual_seed(0)
    one, other = (F.normalize(torch.randn(50, 128, generator=generator, dtype=torch.float64), dim=1) for _ in "ab")
    expected = 2 * (1 - cosine_similarity(one, other))
    torch.testing.assert_close(aed_squared(one, other), expected, atol=1e-14, rtol=0)
    torch.testing.assert_close(aed_squared(2 * one, 0 * one), torch.full((50,), 4.0, dtype=torch.float64))


def test_cosine_agrees_with_torch_and_does_not_depend_on_length():
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.randn(50, 128, generator=generator, dtype=torch.float64) for _ in "ab")
    expected = F.cosine_similarity(one, other)
    torch.testing.assert_close(cosine_similarity(one, 7 * other), expected, atol=1e-14, rtol=0)


# Case 27


def test_the_geodesic_angle_is_scipys_magnitude():
    one, other = random_rotations(100, 0), random_rotations(100, 1)
    torch.testing.assert_close(geodesic_degrees(one, other), by_scipy(one, other), atol=1e-9, rtol=0)


def test_angles_wrap():
    assert angle_rmse_degrees(torch.tensor([[179.0, 0, 0]]), torch.tensor([[-179.0, 0, 0]])).item() == pytest.approx(
        2 / np.sqrt(3)
    )
    assert prmse_degrees(rotations([179, 0, 0]), rotations([-179, 0, 0])).item() == pytest.approx(2 / np.sqrt(3))


def test_prmse_is_the_root_mean_square_of_the_angles():
    got = prmse_degrees(rotations([10, 5, -3], [0, 0, 0]), rotations([4, 7, -6], [0, 0, 0]))
    np.testing.assert_allclose(got, [np.sqrt((36 + 4 + 9) / 3), 0], atol=1e-10)


def test_the_order_of_the_angles_changes_the_value_but_not_the_geodesic():
    one, other = rotations([60, 40, 20]), rotations([50, 45, 30])
    orders = [prmse_degrees(one, other, order).item() for order in ("YXZ", "xyz", "ZYX")]
    assert max(orders) > 1.2 * min(orders)
    assert geodesic_degrees(one, other).item() == pytest.approx(by_scipy(one, other).item())


def test_radians_divide_the_value_by_57():
    one, other = euler_degrees(rotations([10, 5, -3])), euler_degrees(rotations([4, 7, -6]))
    ratio = angle_rmse_degrees(one, other) / angle_rmse_degrees(one.deg2rad(), other.deg2rad())
    assert ratio.item() == pytest.approx(57.29578, rel=1e-6)


def test_a_head_that_looks_straight_up_has_angles_too(recwarn):
    assert prmse_degrees(rotations([0, 90, 0]), rotations([0, 90, 0])).item() == pytest.approx(0, abs=1e-6)
    assert not recwarn.list


# Case 28


def test_aucon_is_the_table_by_hand():
    ours = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    truth = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], dtype=torch.bool)
    assert aucon(ours, truth).tolist() == [0.75, 0, 1]
    assert bscon(ours, truth).tolist() == [0.75, 0, 1]


def test_kappa_agrees_with_torchmetrics_and_sees_through_all_off():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(200, 5, generator=generator) < 0.2
    ours = truth ^ (torch.rand(200, 5, generator=generator) < 0.1)
    expected = [binary_cohen_kappa(ours[:, k].int(), truth[:, k].int()).item() for k in range(5)]
    np.testing.assert_allclose(cohen_kappa(ours, truth), expected, atol=1e-6)
    off = torch.zeros_like(truth)
    assert aucon(off, truth).mean() > 0.75
    assert cohen_kappa(off, truth).abs().max() < 1e-12
    assert cohen_kappa(off, off).isnan().all()


def test_expression_error_of_an_offset_is_the_offset():
    codes = torch.rand(4, 25)
    torch.testing.assert_close(expression_error(codes + 0.3, codes), torch.full((4,), 0.3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (akd_l1, (4, 68, 2)),
        (akd_l2, (4, 68, 2)),
        (nme, (4, 68, 2)),
        (aed_squared, (4, 8)),
        (cosine_similarity, (4, 8)),
        (expression_error, (4, 25)),
        (angle_rmse_degrees, (4, 3)),
        (aucon, (4, 17)),
        (bscon, (4, 52)),
        (cohen_kappa, (4, 17)),
    ],
)
def test_case_35_what_would_broadcast_or_is_no_number_is_one_plain_sentence(function, shape):
    right = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    for wrong in (right[:1], right[0], right[..., :1]):
        with pytest.raises(ValueError, match=r"Predictions and targets are .*; pass two batches of one shape") as error:
            function(wrong, right)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="holds nan or inf"):
        function(right, right.masked_fill(right < 0.5, torch.nan))
