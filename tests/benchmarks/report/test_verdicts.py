import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.report.markdown import markdown
from benchmarks.report.results import Provenance
from benchmarks.report.sheets import assemble
from benchmarks.report.verdicts import compare, judge, rank, summarise
from metrics.crossed import crossed
from metrics.statistics import holm
from tests.benchmarks.report.made_up import SEEDS, claim, matrix, moved


def test_a_cell_is_the_mean_over_videos_and_fits_with_the_interval_of_both(scores):
    cell, values = summarise(scores, "far", "self", "L1"), matrix(scores, "far")
    assert cell.value == pytest.approx(values.mean(), abs=1e-15)
    found = crossed([values])
    assert (cell.low, cell.high) == pytest.approx((found.low, found.high), rel=1e-12)
    assert cell.seed_std == pytest.approx(values.mean(1).std(ddof=1), rel=1e-9)
    assert (cell.videos, cell.frames, cell.excluded, cell.seeds, cell.fits) == (12, 60, 0, 3, 3)
    assert summarise(scores, "absent", "self", "L1") is None


def test_a_cell_of_few_fits_has_the_interval_of_videos(scores):
    two = scores[scores["seed"] < 2]
    cell, by_video = summarise(two, "far", "self", "L1"), matrix(two, "far").mean(0)
    expected = stats.t.interval(0.95, 11, by_video.mean(), stats.sem(by_video))
    assert (cell.low, cell.high) == pytest.approx(expected, rel=1e-9)
    assert cell.fits == 2
    assert np.isnan(summarise(scores[scores["seed"] == 0], "far", "self", "L1").seed_std)


def test_a_video_that_one_fit_has_no_score_of_is_left_out(scores):
    holed = scores.copy()
    holed.loc[(holed["row"] == "far") & (holed["seed"] == 1) & (holed["video_id"] == "v3"), "value"] = np.nan
    cell = summarise(holed, "far", "self", "L1")
    assert cell.videos == 11
    assert cell.value == pytest.approx(np.delete(matrix(scores, "far"), 5, axis=1).mean(), rel=1e-12)  # v3 sorts sixth
    assert compare(holed, "ours_1", "far", "self", "L1").videos == 11


def test_pairing_finds_a_difference_that_the_intervals_hide(scores):
    ours, far = (summarise(scores, row, "self", "L1") for row in ("ours_1", "far"))
    assert ours.high > far.low  # the intervals overlap
    found = compare(scores, "ours_1", "far", "self", "L1")
    expected = crossed([matrix(scores, "far") - matrix(scores, "ours_1")])
    assert found.low > 0
    assert (found.low, found.high, found.p) == pytest.approx(expected[1:4], rel=1e-9)
    assert found.advantage == pytest.approx(0.01, abs=5e-4)
    assert (found.fits, found.paired, found.seeds, found.agreeing_seeds) == (3, True, 3, 3)
    assert compare(scores, "far", "ours_1", "self", "PSNR").advantage < 0
    assert compare(scores, "far", "absent", "self", "L1") is None


def test_fits_of_other_seeds_are_compared_as_independent(scores):
    apart = scores.copy()
    apart.loc[apart["row"] == "far", "seed"] += 1  # two seeds in common
    found = compare(apart, "ours_1", "far", "self", "L1")
    expected = crossed([matrix(scores, "far"), -matrix(scores, "ours_1")])
    assert (found.advantage, found.p) == pytest.approx((expected.mean, expected.p), rel=1e-9)
    assert (found.fits, found.paired, found.seeds) == (3, False, 2)


def test_rows_are_compared_on_common_videos_only(scores):
    partial = scores[(scores["row"] != "far") | ~scores["video_id"].isin(["v0", "v1"])]
    assert compare(partial, "ours_1", "far", "self", "L1").videos == 10


def test_ranks_are_shared_where_the_test_does_not_separate(scores):
    methods = ["far", "near <b>", "ours_1"]
    for metric in ("L1", "PSNR"):
        assert rank(scores, methods, "self", metric) == {"ours_1": "best", "near <b>": "best", "far": "second"}
    assert rank(scores, [*methods, "copy"], "self", "L1").get("copy") is None  # third
    assert rank(scores, ["ours_1"], "self", "L1") == {}


def test_a_noisy_row_behind_a_separated_one_has_no_mark_of_the_best(scores):
    """Its interval holds the best, as the better row's does not."""
    noisy = scores[scores["row"] == "far"].assign(row="noisy")
    wide = np.random.default_rng(0).normal(0, 0.2, noisy["seed"].nunique())
    noisy["value"] += (
        noisy["seed"].map(dict(zip(sorted(noisy["seed"].unique()), wide - wide.mean(), strict=True))) + 0.01
    )
    both = pd.concat([scores, noisy])
    assert compare(both, "ours_1", "noisy", "self", "L1").p > 0.05
    assert rank(both, ["ours_1", "far", "noisy"], "self", "L1")["noisy"] == "second"


def test_a_row_that_was_run_and_has_no_score_is_not_called_not_run(table, scores):
    scoreless = scores[(scores["row"] != "far") | (scores["metric"] != "PSNR")]
    assert judge(scoreless, [claim("far", "copy", "PSNR")])[0].outcome == "n/a (no score)"
    sheet = assemble(table, scoreless, Provenance())
    row = next(row for row in table.rows if row.name == "far")
    assert [sheet.gap(row, i) for i, column in enumerate(table.columns) if column.metric == "PSNR"] == ["no score"]


def test_verdicts(scores):
    claims = [claim("ours_1", "far"), claim("far", "copy", "PSNR"), claim("far", "ours_1"), claim("ours_1", "near <b>")]
    verdicts = judge(scores, [*claims, claim("ours_1", "absent")])
    expected = ["holds", "holds", "contradicted", "not separated", "n/a (not run)"]
    assert [verdict.outcome for verdict in verdicts] == expected
    assert [v.p for v in verdicts[:4]] == pytest.approx(holm([v.comparison.p for v in verdicts[:4]]))
    assert np.isnan(verdicts[4].p)
    assert [np.isnan(verdict.separable) for verdict in verdicts] == [True, True, True, False, True]


def test_an_open_claim_says_which_difference_would_have_been_separated(scores):
    """With the other claims of the family as they are, also where Holm's steps stop before the last."""
    claims = [claim("ours_1", "far"), claim("ours_1", "near <b>"), claim("near <b>", "ours_1", "PSNR")]
    least = judge(scores, claims)[1].separable
    advantage = compare(scores, "ours_1", "near <b>", "self", "L1").advantage
    for factor, outcome in ((0.999, "not separated"), (1.001, "holds")):
        shifted = scores.copy()
        shifted.loc[(shifted["row"] == "near <b>") & (shifted["metric"] == "L1"), "value"] += factor * least - advantage
        assert judge(shifted, claims)[1].outcome == outcome


@pytest.mark.parametrize(
    ("fits", "told"), [(1, "n/a (1 fit; a verdict needs 3)"), (2, "n/a (2 fits; a verdict needs 3)")]
)
def test_fewer_than_three_fits_have_a_difference_and_no_verdict(table, scores, fits, told):
    few = scores[(scores["row"] != "far") | (scores["seed"] < fits)]
    verdict = judge(few, [claim("ours_1", "far")])[0]
    assert verdict.outcome == told
    assert verdict.comparison.advantage == pytest.approx(0.01, abs=5e-4)
    assert np.isnan([verdict.p, verdict.comparison.p, verdict.separable]).all()
    by_video = matrix(few, "far").mean(0) - matrix(few, "ours_1").mean(0)  # of these fits, so over videos alone
    interval = stats.t.interval(0.95, 11, by_video.mean(), stats.sem(by_video))
    assert (verdict.comparison.low, verdict.comparison.high) == pytest.approx(interval, rel=1e-9)
    assert rank(few, ["ours_1", "near <b>", "far"], "self", "L1") == {"ours_1": "best", "near <b>": "best"}
    assert rank(few, ["ours_1", "far"], "self", "L1") == {}
    text = markdown(assemble(table, few, Provenance()))
    assert re.search(
        rf"ours beats far .* of these fits +\| – +\| – +\| {fits} of {fits} +\| \*\*n/a \({fits} fit", text
    )
    assert f"Not ranked, for a verdict needs 3 fits, but these have fewer: far: {fits}." in text


def test_what_draws_nothing_needs_no_fits_and_a_single_run_does_not_show_it(scores):
    first = scores[(scores["row"] == "far") & (scores["seed"] == 0)]
    rest = scores[scores["row"] != "far"]
    copies = pd.concat([rest, *(first.assign(seed=seed) for seed in SEEDS)])
    cell = summarise(copies, "far", "self", "L1")
    assert (cell.seeds, cell.fits) == (3, 0)
    assert np.isnan(cell.seed_std)
    found = judge(copies, [claim("ours_1", "far")])[0]
    expected = crossed([matrix(copies, "far")[:1], -matrix(copies, "ours_1")])
    assert found.comparison.p == pytest.approx(expected.p, rel=1e-9)
    assert (found.outcome, found.comparison.fits) == ("holds", 3)
    once = pd.concat([rest, first])
    assert judge(once, [claim("ours_1", "far")])[0].outcome == "n/a (1 fit; a verdict needs 3)"
    assert summarise(moved(copies, "far", 2, 1e-9, "PSNR"), "far", "self", "L1").fits == 3


def test_a_collapsed_fit_is_noise_of_fits(scores):
    """One seed whose fit collapsed moves the mean of all videos: a test over videos would be sure of it."""
    collapsed = moved(scores, "near <b>", 1, 0.05)
    (verdict,) = judge(collapsed, [claim("ours_1", "near <b>")])
    by_video = matrix(collapsed, "near <b>").mean(0) - matrix(collapsed, "ours_1").mean(0)
    assert stats.ttest_1samp(by_video, 0).pvalue < 1e-6
    assert verdict.outcome == "not separated"
    assert rank(collapsed, ["ours_1", "near <b>"], "self", "L1") == {"ours_1": "best", "near <b>": "best"}
    for seed in (0, 2):
        collapsed = moved(collapsed, "near <b>", seed, 0.045)
    assert judge(collapsed, [claim("ours_1", "near <b>")])[0].outcome == "holds"


def test_a_seed_that_disagrees_is_counted_and_does_not_decide(scores):
    mixed = moved(moved(scores, "far", 0, -0.0105), "far", 1, -0.009)
    (verdict,) = judge(mixed, [claim("ours_1", "far")])
    assert (verdict.comparison.agreeing_seeds, verdict.comparison.seeds) == (2, 3)
    assert verdict.outcome == "not separated"
    ten = pd.concat([scores.assign(seed=scores["seed"] + 3 * i) for i in range(3)])
    (verdict,) = judge(moved(ten, "far", 0, -0.0105), [claim("ours_1", "far")])
    assert (verdict.comparison.agreeing_seeds, verdict.outcome) == (8, "holds")


def test_many_claims_make_each_one_harder(scores):
    weak = claim("ours_1", "far")
    noisy = moved(moved(scores, "far", 0, 0.0012), "far", 1, -0.0012)
    p = compare(noisy, "ours_1", "far", "self", "L1").p
    most = int(0.05 / p)
    assert most > 1
    assert [verdict.outcome for verdict in judge(noisy, [weak] * most)] == ["holds"] * most
    assert [verdict.outcome for verdict in judge(noisy, [weak] * (most + 1))] == ["not separated"] * (most + 1)


def test_with_few_videos_nothing_is_tested(table, scores):
    few = scores[scores["video_id"].isin([f"v{i}" for i in range(5)])]
    assert rank(few, ["ours_1", "far"], "self", "L1") == {}
    assert judge(few, table.claims)[0].outcome == "n too small"
    assert np.isnan(summarise(few, "far", "self", "L1").low)
    sheet = assemble(table, few, Provenance())
    assert "[n too small]" in markdown(sheet)
