import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import tables
from benchmarks.report import spec
from benchmarks.report.sheets import assemble, published_texts
from benchmarks.report.spec import Claim
from benchmarks.report.text import beside_published, claims_frame, summary
from benchmarks.report.verdicts import compare, judge, rank, summarise
from metrics.crossed import crossed
from metrics.statistics import holm
from models.errors import UserError

ROOT = Path(__file__).parents[2]
CONTENT = {
    "title": "Made up & small",
    "base": "dagan",
    "tests": {"self": {"task": "self_reenactment", "motion": "absolute"}},
    "columns": [{"test": "self", "metric": "L1"}, {"test": "self", "metric": "PSNR"}],
    "rows": [
        {"name": "ours_1", "configs": [], "kind": "method"},
        {"name": "near <b>", "configs": [], "kind": "method"},
        {"name": "far", "configs": [], "kind": "method"},
        {"name": "copy", "configs": [], "kind": "reference"},
        {"name": "absent", "configs": [], "kind": "reference"},
    ],
    "claims": [
        {"text": "ours beats far", "better": "ours_1", "worse": "far", "test": "self", "metric": "L1"},
        {"text": "ours beats near", "better": "ours_1", "worse": "near <b>", "test": "self", "metric": "L1"},
        {"text": "copy beats ours", "better": "copy", "worse": "ours_1", "test": "self", "metric": "PSNR"},
        {"text": "ours beats absent", "better": "ours_1", "worse": "absent", "test": "self", "metric": "L1"},
    ],
    "published": [{"note": "elsewhere", "columns": ["L1 ↓"], "rows": {"ours_1": [0.04], "old": [0.125]}}],
    "note": "Read with care.",
    "name": "small",
}
ERRORS = {"ours_1": 0.0500, "near <b>": 0.0501, "far": 0.0600, "copy": 0.0900}
SEEDS = (0, 1, 2)


def leave_run(folder, row, seed, videos=12, frames=5):
    """What a finished test run leaves; a video's difficulty is shared by all rows, which pairing has to undo."""
    rng = np.random.default_rng([seed, *row.encode()])
    lines = []
    for video in range(videos):
        difficulty = np.random.default_rng(video).normal(0, 0.02)
        for frame in range(frames):
            error = abs(ERRORS[row] + difficulty + rng.normal(0, 0.0005))
            for metric, value in (("L1", error), ("PSNR", -20 * np.log10(error))):
                lines.append((f"v{video}/{frame}", f"v{video}", frame, metric, value, 0))
    folder.mkdir(parents=True)
    columns = ["sample_id", "video_id", "frame", "metric", "value", "status"]
    samples = pd.DataFrame(lines, columns=columns)
    samples.to_parquet(folder / "samples.parquet", index=False)
    record = {"commit": "0123456789", "device": "cpu", "versions": {"torch": "2"}, "notes": {"perceptual": "own"}}
    (folder / "metrics.json").write_text(json.dumps(record))
    return samples


@pytest.fixture(scope="module")
def table():
    return spec.parse(CONTENT)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for row in ERRORS:
        for seed in SEEDS:
            leave_run(root / f"{row}-{seed}", row, seed)
    return {(row, "self", seed): root / f"{row}-{seed}" for row in [*ERRORS, "absent"] for seed in SEEDS}


@pytest.fixture(scope="module")
def scores(table, runs):
    return tables.collect(table, runs)[0]


@pytest.fixture
def written(table, runs, tmp_path):
    scores, provenance = tables.collect(table, runs)
    folder = tmp_path / "results/runs/tables/tiny"
    tables.write(table, scores, provenance | {"scale": "tiny"}, folder)
    return folder


def test_every_table_of_the_suite_reads_and_names_files_that_exist():
    found = tables.load_all()
    assert {table.name for table in found} >= {"dagan_self", "dagan_cross", "depth"}
    for table in found:
        for name in [f"{table.base}.yaml", *(config for row in table.rows for config in row.configs)]:
            assert (ROOT / "benchmarks" / name).is_file(), f"{table.name} names {name}"
        assert {row.kind for row in table.rows} >= {"method", "reference", "ceiling"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"columns": [{"test": "self", "metric": "LPIPS"}]}, "'LPIPS' is no metric of the suite"),
        ({"columns": [{"test": "cross", "metric": "L1"}]}, "'cross' is no test of the table"),
        ({"claims": [CONTENT["claims"][0] | {"worse": "nobody"}]}, "names a row 'nobody'"),
        ({"rows": [*CONTENT["rows"], CONTENT["rows"][0]]}, "two rows have one name"),
        ({"rows": [CONTENT["rows"][0] | {"kind": "champion"}]}, "champion"),
        ({"colour": "red"}, "'colour' is not accepted"),
        ({"published": [{"note": "", "columns": ["a", "b"], "rows": {"x": [1.0]}}]}, "1 figures for 2 columns"),
    ],
)
def test_a_wrong_table_file_is_one_plain_sentence(tmp_path, change, sentence):
    content = {key: value for key, value in CONTENT.items() if key != "name"} | change
    (tmp_path / "wrong.yaml").write_text(json.dumps(content))
    with pytest.raises(UserError, match=re.escape(sentence)) as error:
        tables.load(tmp_path / "wrong.yaml")
    assert "wrong.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_broken_table_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"No table file .*none\.yaml"):
        tables.load(tmp_path / "none.yaml")
    for text in ("title: [", "just words"):
        (tmp_path / "broken.yaml").write_text(text)
        with pytest.raises(UserError, match=r"broken\.yaml"):
            tables.load(tmp_path / "broken.yaml")


def test_collecting_averages_finite_frames_and_counts_the_rest(table, tmp_path):
    samples = leave_run(tmp_path / "run", "far", 0, videos=2, frames=3)
    psnr = samples.index[(samples["metric"] == "PSNR") & (samples["video_id"] == "v0")]
    samples.loc[psnr, "value"] = [np.inf, 20.0, 30.0]
    samples.loc[psnr, "status"] = [8, 7, 0]
    samples.to_parquet(tmp_path / "run/samples.parquet", index=False)
    runs = {("far", "self", 0): tmp_path / "run", ("copy", "self", 0): tmp_path / "missing"}
    scores, provenance = tables.collect(table, runs)
    line = scores[(scores["metric"] == "PSNR") & (scores["video_id"] == "v0")].iloc[0]
    assert line[["value", "n_frames", "n_excluded", "n_flagged"]].tolist() == [25.0, 2, 1, 1]
    assert set(scores["row"]) == {"far"}
    assert provenance == {"seeds": "0", "commit": "0123456789", "device": "cpu", "torch": "2", "perceptual": "own"}


def test_provenance_says_where_runs_differ(table, tmp_path):
    for i, row in enumerate(("far", "copy")):
        leave_run(tmp_path / row, row, 0, videos=1)
        record = {"commit": f"c{i}", "device": "cpu", "versions": {}, "notes": {}}
        (tmp_path / row / "metrics.json").write_text(json.dumps(record))
    _, provenance = tables.collect(
        table, {("far", "self", 0): tmp_path / "far", ("copy", "self", 0): tmp_path / "copy"}
    )
    assert provenance["commit"] == "c0, c1"


def matrix(scores, row, metric="L1"):
    """Scores by seed and video."""
    cell = scores[(scores["row"] == row) & (scores["metric"] == metric)]
    return cell.pivot(index="seed", columns="video_id", values="value").to_numpy()


def moved(scores, row, seed, by, metric="L1"):
    """The scores with those of a row and seed moved."""
    scores = scores.copy()
    scores.loc[(scores["row"] == row) & (scores["seed"] == seed) & (scores["metric"] == metric), "value"] += by
    return scores


def claim(better, worse, metric="L1"):
    return Claim("words", better, worse, "self", metric)


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
    text = tables.markdown(assemble(table, few, {}))
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


def test_what_is_changed_of_a_table_does_not_reach_the_next_reader():
    table = spec.parse(CONTENT)
    table.rows.clear()
    table.tests["self"]["motion"] = "relative"
    assert spec.parse(CONTENT).rows
    assert spec.parse(CONTENT).tests["self"]["motion"] == "absolute"


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
    sheet = assemble(table, few, {})
    assert "[n too small]" in tables.markdown(sheet)


def test_markdown_says_what_was_computed(written, scores):
    text = (written / "small.md").read_text()
    ours, far = (summarise(scores, row, "self", "L1") for row in ("ours_1", "far"))
    assert f"| **{ours.value:.4f} ± {ours.seed_std:.4f}** [{ours.low:.4f}, {ours.high:.4f}] " in text
    assert f"| <ins>{far.value:.4f} ± {far.seed_std:.4f}</ins> [{far.low:.4f}, {far.high:.4f}] " in text
    assert re.search(r"\| absent +\| n/a \(not run\) +\| n/a \(not run\) +\|", text)
    for piece in (
        "L1 ↓",
        "PSNR ↑ (dB)",
        "Self reenactment, absolute motion",
        "12 videos, 60 frames",
        "0123456789",
        "- Read with care.",
    ):
        assert piece in text
    assert re.search(r"ours beats far .*\| – +\| 3 of 3 +\| \*\*holds\*\* ", text)
    published = text.split("another protocol, not comparable")[1]
    assert re.search(r"\| ours_1 \| 0.040 +\|\n\| old +\| 0.125 +\|", published)  # unmarked, aligned decimals
    widths = {len(line) for line in text.split("\n\n")[2].splitlines()}
    assert len(widths) == 1  # aligned for a terminal


def test_the_numbers_in_the_csv_files_are_numbers(written, scores):
    long = pd.read_csv(written / "small.csv")
    for column in ("value", "low", "high", "seed_std", "videos", "frames", "excluded"):
        assert pd.api.types.is_numeric_dtype(long[column])
    assert long.loc[(long["row"] == "far") & (long["metric"] == "L1"), "value"].item() == pytest.approx(
        summarise(scores, "far", "self", "L1").value, rel=1e-9
    )
    assert long.loc[long["row"] == "absent", "status"].tolist() == ["not run"] * 2
    wide = pd.read_csv(written / "small.wide.csv").set_index("row")
    assert wide.loc["far", "self L1"] == pytest.approx(summarise(scores, "far", "self", "L1").value, rel=1e-9)
    claims = pd.read_csv(written / "small.claims.csv")
    expected = ["holds", "not separated", "contradicted", "n/a (not run)"]
    assert claims["verdict"].tolist() == expected
    for column in ("p", "error", "df", "separable", "fits", "seeds", "agreeing_seeds"):
        assert pd.api.types.is_numeric_dtype(claims[column])
    assert claims["separable"].notna().tolist() == [False, True, False, False]


def test_latex_is_well_formed(written):
    text = (written / "small.tex").read_text()
    assert text.count("{") == text.count("}")
    environments = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    assert [e for e in environments if e[0] == "begin"] != []
    for name in ("table", "tabular"):
        assert environments.count(("begin", name)) == environments.count(("end", name)) == 3
    for body in re.findall(r"\\begin\{tabular\}\{(l+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        for line in body[1].split(r"\\"):
            cells = re.findall(r"(?<!\\)&", line)
            spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert not cells or len(cells) + spans == len(body[0]) - 1
    assert r"Made up \& small" in text
    assert r"ours\_1" in text
    printed = re.sub(r"\\label\{.*\}|\{%$|\A%.*", "", text, flags=re.MULTILINE)
    assert not re.search(r"(?<!\\)[%#_~]", printed)
    assert not set(re.sub(r"[\x00-\x7f]", "", text))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles(written):
    document = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{small}\end{document}"
    (written / "document.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document"]
    assert subprocess.run(command, cwd=written, capture_output=True).returncode == 0


def test_the_page_is_self_contained_and_escapes_names(written):
    text = (written / "small.html").read_text()
    assert "near &lt;b&gt;" in text
    assert "<b>" not in text
    assert not re.search(r"(src|href)=|@import|url\(", text)
    assert '<td class="holds">holds</td>' in text
    assert '<td class="contradicted">contradicted</td>' in text
    assert re.search(r"<strong>0\.\d{4} ± 0\.\d{4}</strong> <small>\[0\.", text)


def test_rebuilding_from_the_samples_gives_the_same_bytes(written):
    before = {path.name: path.read_bytes() for path in written.iterdir()}
    for path in written.iterdir():
        if not path.name.endswith((tables.SAMPLES, tables.RECORD)):
            path.unlink()
    tables.rebuild("small", written)
    assert {path.name: path.read_bytes() for path in written.iterdir()} == before


def test_scores_in_another_order_give_the_same_bytes(table, runs, written, tmp_path):
    scores, provenance = tables.collect(table, dict(reversed(runs.items())))
    tables.write(table, scores, provenance | {"scale": "tiny"}, tmp_path / "again")
    for path in written.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_table_without_any_run_still_prints(table, tmp_path):
    scores, provenance = tables.collect(table, {("far", "self", 0): tmp_path / "missing"})
    tables.write(table, scores, provenance, tmp_path)
    assert (tmp_path / "small.md").read_text().count("n/a (not run)") == 5 * 2 + 4


def test_publishing_copies_the_tables_and_renews_the_readme(written, tmp_path):
    results, readme = tmp_path / "results", tmp_path / "README.md"
    readme.write_text(f"before\n{tables.BEGIN}\nstale\n{tables.END}\nafter\n")
    tables.publish("tiny", results, readme)
    for path in written.iterdir():
        assert (results / "tables/tiny" / path.name).read_bytes() == path.read_bytes()
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "stale" not in text
    assert "ours_1" in text
    assert "Of 4 claims of the paper,\n\n- **holds** (1): ours beats far [L1 ↓].\n- **contradicted** (1): copy" in text
    assert "- **n/a (not run)** (1): ours beats absent [L1 ↓]." in text
    assert f"{tables.BEGIN}\n{tables.results_block(results / 'tables')}\n{tables.END}" in text
    tables.publish("tiny", results, readme)
    assert readme.read_text() == text


def test_scored_outputs_are_not_published(written, tmp_path):
    table, scores, provenance = tables.left("small", written)
    guest = spec.Row("guest", [], "method", predictions="abc")
    theirs = scores[scores["row"] == "far"].assign(row="guest")
    whole = replace(table, rows=[*table.rows, guest]), pd.concat([scores, theirs])
    before = (written / "small.md").read_text()
    tables.write(*whole, provenance | {"absent": [["guest", "self", "L1", "mine"]]}, written)
    assert "guest" in (written / "small.md").read_text()
    readme = tmp_path / "README.md"
    readme.write_text(f"{tables.BEGIN}\n{tables.END}\n")
    tables.publish("tiny", tmp_path / "results", readme)
    published = tmp_path / "results/tables/tiny"
    assert not [path.name for path in published.iterdir() if b"guest" in path.read_bytes()]
    assert (published / "small.md").read_text() == before
    assert "guest" in (written / "small.md").read_text()


def test_the_footer_counts_videos_where_every_score_of_a_column_is_infinite(written):
    table, scores, provenance = tables.left("small", written)
    copied = (scores["row"] == "copy") & (scores["metric"] == "PSNR")
    scores.loc[copied, ["value", "n_excluded", "n_frames"]] = [np.nan, 5, 0]
    origin = assemble(table, scores, provenance).origin
    assert origin.startswith("Self reenactment, absolute motion: 12 videos, 60 frames · ")


def test_publishing_refuses_what_the_samples_do_not_give(written, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"{tables.BEGIN}\n{tables.END}\n")
    with pytest.raises(UserError, match="holds no tables"):
        tables.publish("small", tmp_path / "results", readme)
    page = written / "small.md"
    page.write_text(page.read_text().replace("holds", "shines"))
    with pytest.raises(UserError, match=r"small\.md is not what its samples give"):
        tables.publish("tiny", tmp_path / "results", readme)
    assert not (tmp_path / "results/tables").exists()
    (tmp_path / "plain.md").write_text("nothing")
    with pytest.raises(UserError, match="lacks the lines"):
        tables.renew(tmp_path / "plain.md", tmp_path)


def test_the_command_line_rebuilds_prints_and_says_what_is_missing(written, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tables", "--rebuild", str(written)])
    tables.main()
    assert "small.html" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["tables", "--results", str(tmp_path / "results")])
    tables.main()
    assert "## Made up & small" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["tables", "--publish", "--results", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="holds no tables; make them with"):
        tables.main()
    (written / f"small{tables.RECORD}").unlink()
    monkeypatch.setattr(sys, "argv", ["tables", "--rebuild", str(written)])
    with pytest.raises(SystemExit, match=r"small\.record\.json is missing"):
        tables.main()


def test_fits_too_few_for_a_verdict_stand_beside_the_published_one(table, scores, tmp_path):
    tables.write(table, scores, {}, tmp_path / "published")
    tables.write(table, scores[scores["seed"] == 0], {}, tmp_path / "here")
    text = tables.beside("small", tmp_path / "here", tmp_path / "published")
    here, published = (compare(s, "ours_1", "far", "self", "L1") for s in (scores[scores["seed"] == 0], scores))
    line = (
        f"| ours beats far +\\| L1 ↓, self +\\| \\{here.advantage:+.5f} +\\| \\{published.advantage:+.5f} +\\| holds "
    )
    assert re.search(line, text)
    assert "| contradicted " in text
    assert "absent" not in text  # has no published verdict
    assert tables.beside("small", tmp_path / "published", tmp_path / "published") == ""  # has verdicts of its own
    assert tables.beside("small", tmp_path / "here", tmp_path / "none") == ""
    empty = claims_frame(assemble(replace(table, claims=[]), scores, {}))
    assert empty.empty
    assert beside_published(*[claims_frame(assemble(table, scores, {}))] * 2) == ""


def test_checks_without_a_verdict_are_told_apart_from_those_that_fail(table, scores):
    checks = [claim("ours_1", "far"), claim("far", "ours_1"), claim("ours_1", "absent")]
    text = summary(assemble(replace(table, checks=checks), scores, {}), "x")
    assert "1 of the 2 checks of the benchmark itself hold; not so: words on L1 (contradicted); 1 check of the" in text
    one = assemble(replace(table, checks=checks[:2]), scores[scores["seed"] == 0], {})
    assert "\n\n2 checks of the benchmark itself: n/a (1 fit; a verdict needs 3).\n\n" in summary(one, "x")


def test_published_figures_keep_their_decimals():
    block = spec.Published("", ["a", "b", "c"], {"x": [0.45, 3.3, None], "y": [0.108, 3.62, None]})
    assert published_texts(block) == {"x": ["0.450", "3.30", "–"], "y": ["0.108", "3.62", "–"]}


PUBLISHED = ROOT / "results/tables"


@pytest.mark.skipif(not list(PUBLISHED.glob("*/*")), reason="nothing is published yet")
def test_the_published_tables_and_the_readme_are_current(monkeypatch):
    sheets, read = {}, tables.read  # each is computed once: the copy that is rebuilt has the samples of the original
    monkeypatch.setattr(
        tables, "read", lambda name, folder: sheets.get(name) or sheets.setdefault(name, read(name, folder))
    )
    for folder in filter(Path.is_dir, PUBLISHED.iterdir()):
        tables.verify(folder)
    assert f"{tables.BEGIN}\n{tables.results_block(PUBLISHED)}\n{tables.END}" in (ROOT / "README.md").read_text()
