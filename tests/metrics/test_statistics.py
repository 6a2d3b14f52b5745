import numpy as np
import pytest
from scipy import stats

from metrics.statistics import bootstrap_interval, holm


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
    """The same interval from 400 resamples, which takes less; of many values the percentiles', which BCa comes to."""
    method = "BCa" if len(values) < 100 else "percentile"
    result = stats.bootstrap((values,), np.mean, n_resamples=400, rng=rng, method=method, batch=50)
    return result.confidence_interval


def test_our_own_interval_covers_the_truth():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(100):
        low, high = bootstrap_interval(rng.normal(size=20))
        inside += low <= 0 <= high
    assert inside >= 86  # 95 % nominal, about 93 % at n = 20; 86 is three standard deviations below


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
    assert holm([0.02, np.nan, 0.03])[0] == pytest.approx(0.04)
    assert np.isnan(holm([0.02, np.nan])[1])


def test_wrong_input_is_one_plain_sentence():
    with pytest.raises(ValueError, match="leave out the videos without a score"):
        bootstrap_interval([0.1] * 8 + [np.nan])
