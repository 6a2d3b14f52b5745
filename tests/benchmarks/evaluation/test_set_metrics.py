"""Metrics of a whole set and of clips: their intervals, their columns, and when they have no value."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from benchmarks.evaluation.callbacks import write_scores
from benchmarks.evaluation.scorer import Scorer
from benchmarks.report import spec
from benchmarks.report.collect import collect
from benchmarks.report.files import rebuild, write
from benchmarks.report.markdown import markdown
from benchmarks.report.results import SET_VALUE
from benchmarks.report.sheets import assemble
from benchmarks.report.verdicts import compare, rank, summarise
from metrics.crossed import crossed, pseudo_values
from metrics.image import L1
from tests.benchmarks.evaluation.scoring import Clipwise, part_of, video
from tests.toys import ToySetMetric


def test_a_clip_metric_sees_clips_that_start_later(with_metrics):
    """A pair list may ask for frames 5 to 8 alone."""
    with_metrics(Clipwise)
    scorer = Scorer("self_reenactment")
    for i, name in enumerate("abc"):
        batch = video(name, 4, seed=i)
        scorer.add(batch.target, replace(batch, frame=[5, 6, 7, 8]))
    assert scorer.finish().sets["clipwise"].n == 3


def test_a_clip_metric_sees_the_first_frames_of_each_video_once(with_metrics):
    with_metrics(Clipwise)
    scorer = Scorer("self_reenactment")
    for i, name in enumerate("abc"):
        whole = video(name, 8, seed=i)
        for piece, part in enumerate((slice(0, 5), slice(5, 8))):
            batch = part_of(whole, part, piece)
            scorer.add(batch.target, batch)
    found = scorer.finish()
    assert set(found.sets["clipwise"].replicates) == {"a", "b", "c"}
    assert found.sets["clipwise"].n == 3


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((4, 4), "2 of at least 3 videos"),
        ((4, 3, 4, 2), "2 of 4 videos under 4 frames"),
        ((4,), "1 of at least 3 videos"),
    ],
)
def test_a_set_too_small_or_too_short_is_counted_and_stops_nothing(counts, reason, with_metrics):
    with_metrics(L1, Clipwise)
    scorer = Scorer("self_reenactment")
    for i, count in enumerate(counts):
        batch = video(f"v{i}", count, seed=i)
        scorer.add(batch.target, batch)
    found = scorer.finish()
    assert found.absent == {"clipwise": reason}
    assert found.values == {"L1": 0}
    assert not found.sets


ROWS = ("near", "far", "same")
BLUR = {"near": 0.98, "far": 0.9, "same": 0.98}


@pytest.fixture
def set_table(with_metrics, tmp_path):
    """A table of a set metric on 8 videos."""
    with_metrics(L1, ToySetMetric)
    found = {}
    for row in ROWS:
        scorer = Scorer("self_reenactment")
        for i in range(8):
            batch = video(f"v{i}", seed=i)
            scorer.add(batch.target * (BLUR[row] + 0.004 * (i % 3)), batch)
        found[row] = scorer.finish()
        (tmp_path / row).mkdir()
        write_scores(tmp_path / row, found[row], {"notes": {}})
    columns = [{"test": "self", "metric": name} for name in ("L1", "toy-FD")]
    claim = {"text": "near beats far", "better": "near", "worse": "far", "test": "self", "metric": "toy-FD"}
    table = spec.parse(
        {"title": "Sets", "name": "sets", "base": "dagan", "tests": {"self": {"task": "self_reenactment"}}}
        | {"columns": columns, "rows": [{"name": row, "configs": [], "kind": "method"} for row in ROWS]}
        | {"claims": [claim]}
    )
    places = {(row, "self", seed): tmp_path / row for row in ROWS for seed in (0, 1)}  # twice the same: draws nothing
    return table, places, found


def test_a_set_metric_has_a_jackknife_interval_and_a_paired_jackknife(set_table):
    _, places, found = set_table
    scores, _ = collect(places)
    near, far = (found[row].sets["toy-FD"] for row in ("near", "far"))
    cell = summarise(scores, "near", "self", "toy-FD")
    assert (cell.value, cell.videos, cell.frames, cell.set_size) == (near.value, 8, 32, 32)
    one, other = (pseudo_values([x.value], [list(x.replicates.values())]) for x in (near, far))
    expected = crossed([one], [[near.value]])
    assert (cell.low, cell.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    pair = crossed([other, -one], [[far.value], [-near.value]])[:4]
    compared = compare(scores, "near", "far", "self", "toy-FD")  # lower is better: the advantage is far minus near
    assert (compared.advantage, compared.low, compared.high, compared.p) == pytest.approx(tuple(pair), rel=1e-9)
    assert rank(scores, ROWS, "self", "toy-FD") == {"near": "best", "same": "best", "far": "second"}


def test_a_replicate_is_the_value_of_the_set_without_the_video(set_table):
    _, _, found = set_table
    scorer = Scorer("self_reenactment")
    for i in range(1, 8):
        batch = video(f"v{i}", seed=i)
        scorer.add(batch.target * (BLUR["far"] + 0.004 * (i % 3)), batch)
    assert scorer.finish().values["toy-FD"] == pytest.approx(found["far"].sets["toy-FD"].replicates["v0"], rel=1e-12)


def test_a_set_metric_is_a_column_that_prints_n_and_rebuilds_byte_for_byte(set_table, tmp_path):
    table, places, _ = set_table
    write(table, *collect(places), tmp_path / "out")
    text = (tmp_path / "out/sets.md").read_text()
    assert "toy-FD@32 ↓ (x)" in text
    assert "never a bootstrap" in text
    assert "**holds**" in text
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    rebuild("sets", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert pd.read_csv(tmp_path / "out/sets.csv").set_index(["row", "metric"])["set_size"]["far", "toy-FD"] == 32


def test_sets_of_other_videos_are_not_compared(set_table):
    table, places, _ = set_table
    scores, provenance = collect(places)
    fewer = scores[(scores["row"] != "far") | (scores["video_id"] != "v0")]
    assert compare(fewer, "near", "far", "self", "toy-FD") is None
    assert compare(fewer, "near", "far", "self", "L1").videos == 7  # means of videos are, on the common ones
    resized = scores.copy()
    resized.loc[(resized["row"] == "far") & (resized["video_id"] == SET_VALUE), "n_frames"] = 28
    assert compare(resized, "near", "far", "self", "toy-FD") is None
    assert rank(resized, ROWS, "self", "toy-FD") == {}
    sheet = assemble(table, resized, provenance)
    assert sheet.claims[0].outcome == "n/a (other videos)"
    assert "toy-FD@N ↓ (x)" in markdown(sheet)
    assert "@28" in markdown(sheet)


def test_scores_of_another_version_are_left_out_and_said_to_be_missing(set_table, tmp_path):
    table, places, _ = set_table
    record = json.loads((tmp_path / "far/metrics.json").read_text())
    record["specs"] |= {"toy-FD": "toy-FD@00000000"}
    record["absent"] = {"L1": "weights absent"}
    (tmp_path / "far/metrics.json").write_text(json.dumps(record))
    scores, provenance = collect(places)
    assert "far" not in set(scores.loc[scores["metric"] == "toy-FD", "row"])
    text = markdown(assemble(table, scores, provenance))
    assert "n/a (another version of the metric)" in text
