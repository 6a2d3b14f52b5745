from itertools import product

import numpy as np
import pytest
from scipy import stats

from metrics.statistics import (
    bootstrap_interval,
    holm,
    jackknife_error,
    jackknife_interval,
    paired_jackknife,
    paired_permutation_test,
    wilcoxon_test,
)


def _videos(n=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0.05, 0.01, n)


def test_the_interval_is_that_of_scipy():
    values = _videos()
    reference = stats.bootstrap((values,), np.mean, n_resamples=10_000, rng=np.random.default_rng(7))
    low, high = bootstrap_interval(values, seed=0)
    spread = values.std() / np.sqrt(20)
    assert low == pytest.approx(reference.confidence_interval.low, abs=0.05 * spread)
    assert high == pytest.approx(reference.confidence_interval.high, abs=0.05 * spread)
    assert low < values.mean() < high


def test_the_interval_is_close_to_the_normal_one_and_repeats():
    values = _videos(200)
    half = 1.96 * values.std(ddof=1) / np.sqrt(200)
    assert bootstrap_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_few_or_equal_videos():
    assert np.isnan(bootstrap_interval([0.1, 0.2, 0.3, 0.4, 0.5])).all()
    assert np.isnan(bootstrap_interval([])).all()
    assert bootstrap_interval([0.1] * 8) == pytest.approx((0.1, 0.1), abs=1e-15)
    low, high = bootstrap_interval([1.0] * 7 + [0.0])
    assert np.isfinite([low, high]).all()


def test_intervals_over_videos_cover_and_over_frames_do_not():
    """20 videos x 100 frames with as much variance between videos as within them."""
    rng = np.random.default_rng(0)
    over_videos = over_frames = 0
    for _ in range(300):
        frames = rng.normal(size=(20, 1)) + rng.normal(size=(20, 100))
        low, high = _fast_interval(frames.mean(1), rng)
        over_videos += low <= 0 <= high
        low, high = _fast_interval(frames.ravel(), rng)
        over_frames += low <= 0 <= high
    assert over_videos / 300 >= 0.90
    assert over_frames / 300 < 0.50


def _fast_interval(values, rng):
    """The same interval from 400 resamples, so that 600 of them take seconds."""
    result = stats.bootstrap((values,), np.mean, n_resamples=400, rng=rng, method="BCa", batch=50)
    return result.confidence_interval


def test_our_own_interval_covers_the_truth():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(100):
        low, high = bootstrap_interval(rng.normal(size=20))
        inside += low <= 0 <= high
    assert inside >= 86  # 95 % nominal, about 93 % at n = 20; 86 is three standard deviations below


def test_p_is_exact_for_few_pairs():
    first, second = _videos(8), _videos(8, seed=1)
    difference = first - second
    means = [np.mean(difference * signs) for signs in product((-1, 1), repeat=8)]
    exact = np.mean(np.abs(means) >= abs(difference.mean()) - 1e-15)
    assert paired_permutation_test(first, second) == pytest.approx(exact, abs=1e-12)
    assert paired_permutation_test(second, first) == pytest.approx(exact, abs=1e-12)
    assert paired_permutation_test(np.arange(6) + 1.0, np.zeros(6)) == pytest.approx(2 / 2**6)


def test_p_is_that_of_scipy_for_many_pairs():
    rng = np.random.default_rng(3)
    first = rng.normal(0.05, 0.01, 20)
    second = first + rng.normal(0.001, 0.0015, 20)
    reference = stats.permutation_test(
        (first, second),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=10_000,
        vectorized=True,
        rng=np.random.default_rng(9),
    ).pvalue
    assert paired_permutation_test(first, second) == pytest.approx(reference, abs=0.01)
    assert paired_permutation_test(first, second) == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.02)
    assert stats.ttest_ind(first, second).pvalue > 0.2  # forgetting the pairing loses the difference


def test_equal_methods_are_never_told_apart():
    assert paired_permutation_test(_videos(), _videos()) == 1
    assert paired_permutation_test([0.1], [0.2]) == 1
    rng = np.random.default_rng(5)
    p = [paired_permutation_test(rng.normal(size=8), rng.normal(size=8)) for _ in range(200)]
    assert np.mean(np.array(p) < 0.05) < 0.1


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
    assert holm([0.02, np.nan, 0.03])[0] == pytest.approx(0.04)
    assert np.isnan(holm([0.02, np.nan])[1])


def test_wrong_input_is_one_plain_sentence():
    with pytest.raises(ValueError, match="leave out the videos without a score"):
        bootstrap_interval([0.1] * 8 + [np.nan])
    with pytest.raises(ValueError, match="keep common videos"):
        paired_permutation_test([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="keep common videos"):
        wilcoxon_test([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="whole set is not finite"):
        jackknife_error([0.1, 0.2], np.nan)


def _without_each(values, statistic=np.mean):
    return [statistic(np.delete(values, i, axis=0)) for i in range(len(values))]


def test_the_jackknife_error_of_a_mean_is_that_of_the_mean():
    values = _videos(11)
    assert jackknife_error(_without_each(values), values.mean()) == pytest.approx(stats.sem(values), rel=1e-12)
    low, high = jackknife_interval(_without_each(values), values.mean())
    expected = stats.t.interval(0.95, 10, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(jackknife_interval(_without_each(values[:5]), values[:5].mean())).all()
    assert np.isnan(jackknife_error([0.1], 0.1))


def test_the_paired_jackknife_of_means_is_the_paired_t_test():
    first, second = _videos(9), _videos(9) * 1.01 + 0.0003 * _videos(9, seed=4)
    found = paired_jackknife(_without_each(first), _without_each(second), first.mean(), second.mean())
    reference = stats.ttest_rel(first, second)
    assert found.difference == pytest.approx((first - second).mean())
    assert found.p == pytest.approx(reference.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval()), rel=1e-9)
    swapped = paired_jackknife(_without_each(second), _without_each(first), second.mean(), first.mean())
    assert (swapped.difference, swapped.p) == pytest.approx((-found.difference, found.p))


def test_the_paired_jackknife_of_equal_or_few_videos():
    values = _videos(8)
    same = paired_jackknife(_without_each(values), _without_each(values), values.mean(), values.mean())
    assert same == (0, 0, 0, 1)
    few = paired_jackknife([1.0] * 5, [2.0] * 5, 1.0, 2.0)
    assert few.difference == -1
    assert np.isnan([few.low, few.high, few.p]).all()


def test_jackknife_intervals_of_a_set_distance_cover_its_expectation_where_a_bootstrap_misses_its_value():
    """A Frechet distance of 30 against 30 points in 16 dimensions, same distribution: all of it is bias."""

    def distance(pairs):
        difference = pairs[:, 0].mean(0) - pairs[:, 1].mean(0)
        a, b = ((part - part.mean(0)) / np.sqrt(len(part) - 1) for part in (pairs[:, 0], pairs[:, 1]))
        return difference @ difference + (a**2).sum() + (b**2).sum() - 2 * np.linalg.norm(a @ b.T, "nuc")

    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(30, 2, 16)) for _ in range(60)]
    values = [distance(pairs) for pairs in sets]
    intervals = [jackknife_interval(_without_each(p, distance), v) for p, v in zip(sets, values, strict=True)]
    inside = [low <= np.mean(values) <= high for low, high in intervals]
    assert np.mean(inside) >= 0.9
    resampled = [distance(sets[0][rng.integers(30, size=30)]) for _ in range(200)]
    assert np.percentile(resampled, 2.5) > values[0]  # the naive bootstrap interval leaves the value out


def test_wilcoxon_is_that_of_scipy_and_exact_for_few_pairs():
    first, second = _videos(20), _videos(20, seed=1)
    assert wilcoxon_test(first, second) == pytest.approx(stats.wilcoxon(first, second).pvalue)
    assert wilcoxon_test(np.arange(6) + 1.0, np.zeros(6)) == pytest.approx(2 / 2**6)
    assert wilcoxon_test([0.1, 0.2], [0.1, 0.2]) == 1
    assert wilcoxon_test(first, second) == wilcoxon_test(second, first)
