import numpy as np
import pytest
import torch
from scipy import linalg
from torchmetrics.image.kid import poly_mmd

from metrics.distribution import (
    frechet_distance,
    frechet_infinity,
    frechet_jackknife,
    frechet_parts,
    kernel_distance,
    kernel_jackknife,
)


def _features(n, m, dimension, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(dimension, dimension)) / np.sqrt(dimension)
    return rng.normal(size=(n, dimension)) @ mix + 3, 1.3 * rng.normal(size=(m, dimension)) @ mix + 3.1


def _by_square_root(x, y, ddof=1):
    first, second = np.cov(x, rowvar=False, ddof=ddof), np.cov(y, rowvar=False, ddof=ddof)
    root = linalg.sqrtm(first @ second).real
    difference = x.mean(0) - y.mean(0)
    return difference @ difference + np.trace(first + second - 2 * root)


def _by_eigenvalues(x, y):
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    difference = x.mean(0) - y.mean(0)
    roots = np.sqrt(np.linalg.eigvals(first @ second).astype(complex)).real.sum()
    return difference @ difference + np.trace(first + second) - 2 * roots


def _with_moments(mean, covariance, count, rng):
    """Samples whose mean and unbiased covariance are exact."""
    noise = rng.normal(size=(count, len(mean)))
    noise -= noise.mean(0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise, rowvar=False)).T)
    return mean + white @ np.linalg.cholesky(covariance).T


def test_case_10_commuting_gaussians_have_a_closed_form():
    rng, dimension = np.random.default_rng(1), 128
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    first, second = rng.uniform(0.5, 4, dimension), rng.uniform(0.5, 4, dimension)
    shift = rng.normal(size=dimension)
    x = _with_moments(np.zeros(dimension), rotation * first @ rotation.T, 300, rng)
    y = _with_moments(shift, rotation * second @ rotation.T, 400, rng)
    expected = shift @ shift + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=3e-12)
    parts = frechet_parts(x, y)
    assert parts.mean == pytest.approx(shift @ shift, rel=1e-12)
    assert parts.covariance == pytest.approx(expected - shift @ shift, rel=1e-11)


def test_case_11_one_dimension_has_a_closed_form():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(50, 1)), 2 + 3 * rng.normal(size=(70, 1))
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(x[:1].repeat(2, 0), y[:1].repeat(2, 0)) == pytest.approx(
        (x[0, 0] - y[0, 0]) ** 2, rel=1e-12
    )


def test_case_12_more_samples_than_dimensions_is_the_square_root_of_scipy_and_numpy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(700, 512)), 0.1 + 1.1 * rng.normal(size=(700, 512))
    for sets, tolerance in (((x, y), 4e-13), (_features(300, 260, 128), 1e-11)):  # the latter are ill-conditioned
        ours = frechet_distance(*sets)
        assert ours == pytest.approx(_by_square_root(*sets), rel=tolerance)
        assert ours == pytest.approx(_by_eigenvalues(*sets), rel=tolerance)


@pytest.mark.filterwarnings("ignore:Matrix is singular")
def test_case_12_fewer_samples_than_dimensions_is_the_square_root_but_for_its_own_error():
    x, y = _features(64, 80, 512)
    ours = frechet_distance(x, y)
    assert ours == pytest.approx(_by_square_root(x, y), rel=7e-8)  # a square root of a singular matrix is no better
    assert ours == pytest.approx(_by_eigenvalues(x, y), rel=7e-8)
    padded = np.pad(x, ((0, 0), (0, 8))), np.pad(y, ((0, 0), (0, 8)))
    assert frechet_distance(*padded) == pytest.approx(ours, rel=1e-12)


def test_case_12_both_forms_agree_where_they_meet():
    for n in (40, 41):
        x, y = _features(n, 60, 40)
        assert frechet_distance(x, y) == pytest.approx(_by_square_root(x, y), rel=1e-7)


@pytest.mark.parametrize(("n", "m"), [(30, 50), (90, 80)])
def test_case_13_identities_of_the_distance(n, m):
    x, y = _features(n, m, 60)
    right = frechet_distance(x, y)
    shift = np.linspace(-1, 1, 60)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(60, 60)))[0]
    assert frechet_distance(x, x) == 0
    assert frechet_distance(x, x[::-1].copy()) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + shift) == pytest.approx(shift @ shift, abs=1e-9)
    assert frechet_distance(x @ rotation, y @ rotation) == pytest.approx(right, rel=1e-9)
    assert frechet_distance(2.5 * x, 2.5 * y) == pytest.approx(6.25 * right, rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(right, rel=1e-9)  # documented: interchangeable


def test_case_16_covariances_are_those_of_numpy_and_ddof_zero_shrinks_them():
    x, y = _features(64, 64, 8)
    assert frechet_distance(x, y, ddof=0) == pytest.approx(_by_square_root(x, y, ddof=0), rel=1e-10)
    shrunk = frechet_parts(x, y, ddof=0).covariance
    assert shrunk == pytest.approx(frechet_parts(x, y).covariance * 63 / 64, rel=1e-10)
    far = x + 1e4, y + 1e4  # where sums of squares lose their digits
    assert frechet_distance(*far) == pytest.approx(frechet_distance(x, y), rel=1e-8)


@pytest.mark.parametrize(("n", "m", "d"), [(24, 24, 40), (60, 60, 10)])
def test_the_jackknife_is_the_distance_without_each_video(n, m, d):
    x, y = _features(n, m, d)
    groups, others = np.arange(n) % 6, np.arange(m) // 10
    labels = np.union1d(groups, others)
    naive = [frechet_distance(x[groups != g], y[others != g]) for g in labels]
    assert np.allclose(frechet_jackknife(x, y, groups, others), naive, rtol=1e-9)
    kernel = [kernel_distance(x[groups != g], y[others != g]) for g in labels]
    assert np.allclose(kernel_jackknife(x, y, groups, others), kernel, rtol=1e-9, atol=1e-12)


def test_case_17_the_kernel_distance_is_its_definition():
    x, y = _features(12, 15, 7)

    def kernel(a, b):
        return (a @ b / 7 + 1) ** 3

    within = [np.mean([kernel(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (x, y)]
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(sum(within) - 2 * across, rel=1e-12)


def test_case_17_the_kernel_distance_is_that_of_torchmetrics_and_the_published_formulas():
    x, y = (torch.from_numpy(f) for f in _features(60, 60, 32))
    ours = kernel_distance(x, y)
    assert ours == pytest.approx(poly_mmd(x, y).item(), abs=1e-9)
    assert ours == pytest.approx(poly_mmd(x.float(), y.float()).item(), abs=5e-4 * abs(ours))
    gram = [((a @ b.T) / 32 + 1).numpy() ** 3 for a, b in ((x, x), (y, y), (x, y))]
    diagonal = [np.diagonal(g).sum() for g in gram[:2]]  # torch-fidelity's and clean-fid's arrangement, m = 60
    within = (gram[0].sum() - diagonal[0] + gram[1].sum() - diagonal[1]) / (60 * 59)
    assert ours == pytest.approx(within - 2 * gram[2].sum() / 60**2, rel=1e-10)


def test_case_17_equal_distributions_can_be_negative_and_are_zero_on_average():
    rng = np.random.default_rng(4)
    values = [kernel_distance(rng.normal(size=(30, 8)), rng.normal(size=(30, 8))) for _ in range(200)]
    assert min(values) < 0
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)


def test_case_18_the_distance_of_given_logits_by_either_covariance():
    x, y = (features.astype(np.float32) for features in _features(64, 64, 400))
    assert frechet_distance(x, y) == pytest.approx(_by_eigenvalues(x.astype(float), y.astype(float)), rel=1e-6)
    parts, shrunk = frechet_parts(x, y), frechet_parts(x, y, ddof=0)
    assert shrunk.mean == parts.mean
    assert shrunk.covariance == pytest.approx(63 / 64 * parts.covariance, rel=1e-10)


def test_extrapolation_removes_most_of_the_bias():
    rng = np.random.default_rng(6)
    shift = np.r_[1.0, np.zeros(15)]
    x, y = rng.normal(size=(400, 16)), rng.normal(size=(400, 16)) + shift
    assert abs(frechet_infinity(x, y) - 1) < 0.5 * abs(frechet_distance(x, y) - 1)
    assert frechet_infinity(x, y) == frechet_infinity(x, y)
    assert frechet_infinity(x, y, seed=1) != frechet_infinity(x, y)
    with pytest.raises(ValueError, match="one size of at least 16, not 400 and 399"):
        frechet_infinity(x, y[1:])


def test_case_35_what_changes_the_value_and_what_does_not():
    x, y = _features(40, 40, 20)
    for distance in (frechet_distance, kernel_distance):
        right = distance(x, y)
        assert distance(x[::-1].copy(), y) == pytest.approx(right, rel=1e-9)  # order does not count
        assert distance(torch.from_numpy(x), torch.from_numpy(y)) == right
        assert distance(2 * x - 1, y) != pytest.approx(right, rel=0.01)
        assert distance(y, x) == pytest.approx(right, rel=1e-9)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x[:1], "hold 1 and 40 samples; a distribution needs at least 2"),
        (lambda x: x[:0], "hold 0 and 40 samples"),
        (lambda x: x[:, :5], "N D and M D from one network"),
        (lambda x: x[0], "N D and M D"),
        (lambda x: np.where(x > 3, np.nan, x), "nan or inf"),
    ],
)
def test_a_wrong_input_is_one_plain_sentence(distance, change, sentence):
    x, y = _features(40, 40, 20)
    with pytest.raises(ValueError, match=sentence) as error:
        distance(change(x), y)
    assert "\n" not in str(error.value)


def test_a_jackknife_needs_groups_that_leave_something():
    x, y = _features(10, 10, 20)
    for jackknife in (frechet_jackknife, kernel_jackknife):
        with pytest.raises(ValueError, match="fewer than 2 samples are left"):
            jackknife(x, y, np.zeros(10), np.zeros(10))
        with pytest.raises(ValueError, match="9 and 10 labels of 10 and 10 samples"):
            jackknife(x, y, np.zeros(9), np.zeros(10))


def test_the_distance_of_a_set_in_another_order_is_never_below_zero():
    for seed in range(20):
        drawn = torch.Generator().manual_seed(seed)
        x = torch.randn(30, 8, dtype=torch.float64, generator=drawn)
        assert frechet_distance(x, x[torch.randperm(30, generator=drawn)]) >= 0
