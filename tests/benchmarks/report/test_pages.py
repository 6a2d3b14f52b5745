import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.report import spec
from benchmarks.report.files import beside, left, write
from benchmarks.report.frames import claims_frame
from benchmarks.report.markdown import beside_published, markdown, summary
from benchmarks.report.results import Provenance
from benchmarks.report.scoreboard import fits, scoreboard, tally
from benchmarks.report.sheets import assemble, published_texts
from benchmarks.report.verdicts import compare, summarise
from tests.benchmarks.report.made_up import claim


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


def test_the_footer_counts_videos_where_every_score_of_a_column_is_infinite(written):
    table, scores, provenance = left("small", written)
    copied = (scores["row"] == "copy") & (scores["metric"] == "PSNR")
    scores.loc[copied, ["value", "n_excluded", "n_frames"]] = [np.nan, 5, 0]
    origin = assemble(table, scores, provenance).origin
    assert origin.startswith("Self reenactment, absolute motion: 12 videos, 60 frames · ")


def test_fits_too_few_for_a_verdict_stand_beside_the_published_one(table, scores, tmp_path):
    write(table, scores, Provenance(), tmp_path / "published")
    write(table, scores[scores["seed"] == 0], Provenance(), tmp_path / "here")
    text = beside("small", tmp_path / "here", tmp_path / "published")
    here, published = (compare(s, "ours_1", "far", "self", "L1") for s in (scores[scores["seed"] == 0], scores))
    line = (
        f"| ours beats far +\\| L1 ↓, self +\\| \\{here.advantage:+.5f} +\\| \\{published.advantage:+.5f} +\\| holds "
    )
    assert re.search(line, text)
    assert "| contradicted " in text
    assert "absent" not in text  # has no published verdict
    assert beside("small", tmp_path / "published", tmp_path / "published") == ""  # has verdicts of its own
    assert beside("small", tmp_path / "here", tmp_path / "none") == ""
    write(table, scores[(scores["seed"] == 0) & (scores["row"] != "far")], Provenance(), tmp_path / "less")
    less = beside("small", tmp_path / "less", tmp_path / "published")
    assert "| contradicted " in less
    assert "ours beats far" not in less  # it was not run here
    write(table, scores[(scores["seed"] == 0) & (scores["row"] == "copy")], Provenance(), tmp_path / "one")
    assert beside("small", tmp_path / "one", tmp_path / "published") == ""  # nothing to compare
    empty = claims_frame(assemble(replace(table, claims=[]), scores, Provenance()))
    assert empty.empty
    assert beside_published(*[claims_frame(assemble(table, scores, Provenance()))] * 2) == ""


def test_checks_without_a_verdict_are_told_apart_from_those_that_fail(table, scores):
    checks = [claim("ours_1", "far"), claim("far", "ours_1"), claim("ours_1", "absent")]
    text = summary(assemble(replace(table, checks=checks), scores, Provenance()), "x")
    assert "1 of the 2 checks of the benchmark itself hold; not so: words on L1 (contradicted); 1 check of the" in text
    one = assemble(replace(table, checks=checks[:2]), scores[scores["seed"] == 0], Provenance())
    assert "\n\n2 checks of the benchmark itself: n/a (1 fit; a verdict needs 3).\n\n" in summary(one, "x")


def test_published_figures_keep_their_decimals():
    block = spec.Published("", ["a", "b", "c"], {"x": [0.45, 3.3, None], "y": [0.108, 3.62, None]})
    assert published_texts(block) == {"x": ["0.450", "3.30", "–"], "y": ["0.108", "3.62", "–"]}


def test_what_counts_with_a_status_is_named_once_an_output_or_by_score(table, scores):
    flagged = scores.assign(n_flagged=(scores["row"] == "far").astype(int))
    note = "Scores that count with a status, such as a missed face, which scores worst, or a fit that was still falling"
    sheet = assemble(table, flagged, Provenance())
    assert f"{note}: far, L1, self: 36; far, PSNR, self: 36." in sheet.notes
    maps = replace(table, tests={"self": {"task": "depth"}})
    assert (
        "Depth maps that no positive scale fits, scored as a constant map: far: 36."
        in assemble(maps, flagged, Provenance()).notes
    )


def test_our_own_comparisons_are_judged_apart_and_are_no_claims_of_the_paper(table, scores):
    asked = [claim("ours_1", "far"), claim("far", "copy")]
    alone = assemble(replace(table, claims=asked[:1], checks=[]), scores, Provenance())
    sheet = assemble(replace(table, claims=asked[:1], comparisons=asked, checks=[]), scores, Provenance())
    assert sheet.claims[0].p == alone.claims[0].p  # Holm over the claims does not see them
    assert tally(sheet) == tally(alone)
    assert "**Comparisons of our own**" in markdown(sheet)
    assert "Of 2 comparisons of our own,\n\n- **holds** (2)" in summary(sheet, "x")
    assert claims_frame(sheet)["family"].tolist() == ["claim", "comparison", "comparison"]


def test_a_line_of_the_scoreboard_says_what_fits_it_rests_on_and_which_claims_lack_a_score(table, scores):
    sheet = assemble(table, scores, Provenance())
    counts = tally(sheet)
    assert (counts.open, counts.unscored) == (2, 1)
    assert fits(sheet) == "3"
    assert "| tiny | 3 | 4 | 1 | 1 | 2 (1 unscored) | – |" in scoreboard([("tables/tiny", "tiny", sheet)])
    more = [scores[(scores["row"] == "far") & (scores["seed"] == 0)].assign(seed=seed) for seed in (3, 4)]
    more = [each.assign(value=each["value"] * 1.01) for each in more]
    assert fits(assemble(table, pd.concat([scores, *more]), Provenance())) == "3–5"


def test_a_ceiling_that_a_method_passes_is_named_by_its_columns(table, scores):
    kinds = {"copy": "ceiling", "far": "ceiling"}
    rows = [replace(row, kind=kinds.get(row.name, row.kind)) for row in table.rows]
    above = scores["row"].eq("copy") & scores["metric"].eq("PSNR")
    sheet = assemble(replace(table, rows=rows), scores.assign(value=scores["value"] + 40 * above), Provenance())
    assert "A ceiling that a method passes bounds nothing there: far: L1, PSNR; copy: L1." in sheet.notes
    assert not [note for note in assemble(table, scores, Provenance()).notes if note.startswith("A ceiling")]
