from itertools import product

import numpy as np
import pytest
from scipy import stats

from benchmarks.report.coverage import Design, draw, over_videos, paired, textbook, verdicts
from benchmarks.report.coverage import independent as unpaired
from metrics.crossed import crossed, pseudo_values, smallest_separable


def scores(fits=4, videos=9, seed=0, seed_sd=0.5, residual_sd=0.5):
    rng = np.random.default_rng(seed)
    effects = seed_sd * rng.normal(size=(fits, 1)) + rng.normal(size=(1, videos))
    return 0.7 + effects + residual_sd * rng.normal(size=(fits, videos))


def variance_components(values):
    """By least squares on dummies: what each source takes off the sum of squares when it is added to the other."""
    fits, videos = values.shape
    by_fit = np.kron(np.eye(fits), np.ones((videos, 1)))
    by_video = np.kron(np.ones((fits, 1)), np.eye(videos))

    def left(*parts):
        design = np.hstack([np.ones((values.size, 1)), *parts])
        return np.sum((values.ravel() - design @ np.linalg.lstsq(design, values.ravel())[0]) ** 2)

    both = left(by_fit, by_video)
    residual = both / ((fits - 1) * (videos - 1))
    seeds = ((left(by_video) - both) / (fits - 1) - residual) / videos
    return seeds, ((left(by_fit) - both) / (videos - 1) - residual) / fits, residual


@pytest.mark.parametrize(("fits", "videos"), [(2, 6), (3, 24), (7, 8)])
def test_the_components_are_those_of_a_two_way_analysis_of_variance(fits, videos):
    values = scores(fits, videos, seed=fits)
    components = variance_components(values)
    assert min(components) > 0  # nothing is truncated here
    result = crossed([values])
    parts = (result.seeds * fits, result.videos * videos, result.residual * fits * videos)
    assert parts == pytest.approx(components, rel=1e-9)
    assert result.error**2 == pytest.approx(sum((result.seeds, result.videos, result.residual)), rel=1e-12)
    assert result.mean == pytest.approx(values.mean(), rel=1e-12)


def test_an_exact_case_by_hand():
    """Seeds -1, 0, 1 and six videos -5 to 5: mean squares 6 and 42, no residual."""
    values = np.array([[-1.0], [0.0], [1.0]]) + np.array([-5.0, -3.0, -1.0, 1.0, 3.0, 5.0])
    result = crossed([values + 2])
    assert (result.seeds, result.videos, result.residual) == pytest.approx((1 / 3, 14 / 6, 0), abs=1e-12)
    assert result.error**2 == pytest.approx(8 / 3)
    u = 7 / 8  # the videos' share, which have more degrees of freedom
    assert result.df == pytest.approx(1 / ((1 - u**2) / 2 + u**2 / 5))
    half = stats.t.ppf(0.975, result.df) * np.sqrt(8 / 3)
    assert (result.low, result.high) == pytest.approx((2 - half, 2 + half))
    assert result.p == pytest.approx(2 * stats.t.sf(2 / np.sqrt(8 / 3), result.df))


def test_a_negative_component_counts_as_none_and_the_residual_as_no_more_than_the_others():
    rng = np.random.default_rng(3)
    for values in rng.normal(size=(200, 3, 6)):
        result = crossed([values])
        over_fits, over_videos_alone = (stats.sem(values.mean(axis)) for axis in (1, 0))
        assert min(result.seeds, result.videos, result.residual) >= 0
        assert result.error >= max(over_fits, over_videos_alone) * (1 - 1e-12)
        assert result.error <= np.hypot(over_fits, over_videos_alone) * (1 + 1e-12)
        assert 2 - 1e-9 <= result.df <= 5 + 1e-9


def test_with_one_fit_it_is_the_paired_t_test_over_videos():
    first, second = scores(1, 9), scores(1, 9, seed=1)
    reference = stats.ttest_rel(first[0], second[0])
    for arms in ([first - second], [first, -second]):
        result = crossed(arms)
        assert result.p == pytest.approx(reference.pvalue, rel=1e-9)
        assert (result.low, result.high) == pytest.approx(tuple(reference.confidence_interval()), rel=1e-9)


def test_where_videos_do_not_differ_it_is_the_t_test_over_fits():
    """Paired of the differences by seed, Welch's of fits that are not paired."""
    first, second = (np.tile(scores(4, 1, seed=seed), 8) for seed in (0, 1))
    assert crossed([first - second]).p == pytest.approx(stats.ttest_rel(first[:, 0], second[:, 0]).pvalue, rel=1e-9)
    more = np.tile(scores(6, 1, seed=2), 8)
    welch = stats.ttest_ind(first[:, 0], more[:, 0], equal_var=False)
    assert crossed([first, -more]).p == pytest.approx(welch.pvalue, rel=1e-9)


def test_a_method_that_draws_nothing_has_no_part_of_the_seeds():
    method, reference = scores(), scores(1, 9, seed=1)
    assert np.allclose(crossed([method, -reference]), crossed([method - reference]), rtol=1e-9)
    with_copies = crossed([method, -np.repeat(reference, 4, axis=0)])
    assert np.allclose(with_copies[:4], crossed([method, -reference])[:4], rtol=1e-9)


def test_equal_few_and_wrong_values():
    same = crossed([np.zeros((3, 8))])
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert crossed([np.ones((3, 8))]).p == 0
    few = crossed([scores(3, 5)])
    assert np.isfinite(few.mean)
    assert np.isnan([few.low, few.high, few.p, few.df]).all()
    with pytest.raises(ValueError, match="keep common videos"):
        crossed([scores(3, 8), scores(3, 7)])
    for wrong in (np.full((3, 8), np.nan), np.zeros(8), np.zeros((0, 8))):
        with pytest.raises(ValueError, match="keep what all fits have"):
            crossed([wrong])


def test_many_designs_at_once_are_each_as_alone():
    first, second = draw(Design(3, 8, 1.0, 0.5), 5, np.random.default_rng(0))
    for arms in ([first - second], [first, -second]):
        together = crossed(arms)
        alone = crossed([arm[2] for arm in arms])
        assert np.allclose([part[2] for part in together], alone, rtol=1e-12)


def test_the_smallest_separable_difference_is_just_separated():
    result = crossed([scores()])
    least = smallest_separable(result.error, result.df, 0.01)
    moved = scores() - result.mean + least
    assert crossed([moved]).p == pytest.approx(0.01, rel=1e-6)


def _without_each(values, statistic=np.mean):
    return [statistic(np.delete(values, i, axis=0)) for i in range(len(values))]


def test_pseudo_values_of_a_mean_are_its_values_and_the_test_is_the_same():
    values = scores(3, 9)
    pseudo = pseudo_values(values.mean(1), [_without_each(row) for row in values])
    assert np.allclose(pseudo, values, rtol=1e-12)
    assert np.allclose(crossed([pseudo], [values.mean(1)]), crossed([values]), rtol=1e-9)


def test_the_jackknife_of_one_set_counts_its_bias_in():
    """Estimator v2: deviations from the value of the whole set, here of a biased variance."""
    values = scores(1, 11)[0]
    variance, replicates = values.var(), _without_each(values, np.var)
    result = crossed([pseudo_values([variance], [replicates])], [np.array([variance])])
    error = np.sqrt(10 / 11 * np.sum((np.array(replicates) - variance) ** 2))
    assert (result.mean, result.error, result.df) == pytest.approx((variance, error, 10), rel=1e-9)


def test_jackknife_intervals_of_a_set_distance_cover_its_expectation_where_a_bootstrap_misses_its_value():
    """A Frechet distance of 30 against 30 points in 16 dimensions, same distribution: all of it is bias."""

    def distance(pairs):
        difference = pairs[:, 0].mean(0) - pairs[:, 1].mean(0)
        a, b = ((part - part.mean(0)) / np.sqrt(len(part) - 1) for part in (pairs[:, 0], pairs[:, 1]))
        return difference @ difference + (a**2).sum() + (b**2).sum() - 2 * np.linalg.norm(a @ b.T, "nuc")

    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(30, 2, 16)) for _ in range(60)]
    values = np.array([distance(pairs) for pairs in sets])
    pseudo = pseudo_values(values[:, None], np.array([[_without_each(pairs, distance)] for pairs in sets]))
    result = crossed([pseudo], [values[:, None]])
    assert np.mean((result.low <= values.mean()) & (values.mean() <= result.high)) >= 0.9
    resampled = [distance(sets[0][rng.integers(30, size=30)]) for _ in range(200)]
    assert np.percentile(resampled, 2.5) > values[0]  # the naive bootstrap interval leaves the value out


DRAWS = 5_000
ROOM = 3 * np.sqrt(0.05 * 0.95 / DRAWS)  # three standard errors of a share of 5 %


@pytest.mark.parametrize(("fits", "videos"), list(product((3, 5, 10), (6, 50))))
def test_intervals_cover_and_verdicts_are_seldom_false_whatever_the_source_of_noise(fits, videos):
    for seed_sd, residual_sd in product((0.0, 1.0, 3.0), (0.0, 1.0)):
        false = verdicts(Design(fits, videos, seed_sd, residual_sd), paired, DRAWS)
        assert false <= 0.05 + ROOM, (seed_sd, residual_sd)
        assert 1 - false >= 0.93
        assert fits < 5 or 1 - false <= 0.985


def test_neither_the_textbook_formula_nor_a_test_over_videos_would_do():
    design = Design(3, 24, 1.0, 0.5)
    assert verdicts(design, textbook, DRAWS) > 0.07
    assert verdicts(design, over_videos, DRAWS) > 0.4
    assert verdicts(design, paired, DRAWS) < 0.05


def test_pairing_keeps_its_level_where_seeds_share_something_and_independence_grows_too_careful():
    apart, sharing = Design(5, 24, 1.0, 1.0), Design(5, 24, 1.0, 1.0, shared=0.5)
    for design in (apart, sharing):
        assert 0.02 < verdicts(design, paired, DRAWS) < 0.05
    assert 0.02 < verdicts(apart, unpaired, DRAWS) < 0.05
    assert verdicts(sharing, unpaired, DRAWS) < 0.015  # the interval covers more than 98.5 %
    assert verdicts(sharing, paired, DRAWS, 0.9) > verdicts(sharing, unpaired, DRAWS, 0.9) + 0.02
