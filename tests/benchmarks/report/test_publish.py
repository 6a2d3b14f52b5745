import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import tables
from benchmarks.report import spec
from benchmarks.report.collect import collect
from benchmarks.report.files import RECORD, SAMPLES, left, rebuild, write
from benchmarks.report.publish import BEGIN, END, check_published, publish, rebuild_all, renew
from benchmarks.report.results import Absence
from benchmarks.report.verdicts import summarise
from models.errors import UserError

ROOT = Path(__file__).parents[3]


def test_rebuilding_from_the_samples_gives_the_same_bytes(written):
    before = {path.name: path.read_bytes() for path in written.iterdir()}
    for path in written.iterdir():
        if not path.name.endswith((SAMPLES, RECORD)):
            path.unlink()
    rebuild("small", written)
    assert {path.name: path.read_bytes() for path in written.iterdir()} == before


def test_scores_in_another_order_give_the_same_bytes(table, runs, written, tmp_path):
    scores, provenance = collect(dict(reversed(runs.items())))
    write(table, scores, provenance | {"scale": "tiny"}, tmp_path / "again")
    for path in written.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_table_without_any_run_still_prints(table, tmp_path):
    scores, provenance = collect({("far", "self", 0): tmp_path / "missing"})
    write(table, scores, provenance, tmp_path)
    assert (tmp_path / "small.md").read_text().count("n/a (not run)") == 5 * 2 + 4


def test_publishing_copies_the_tables_and_renews_the_pages(written, tmp_path):
    results, readme = tmp_path / "results", tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    publish("tiny", results, readme)
    for path in written.iterdir():
        assert (results / "tables/tiny" / path.name).read_bytes() == path.read_bytes()
    text, page = readme.read_text(), (results / "README.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "stale" not in text
    assert "\n| [Made up & small](results/tables/tiny/small.md) | tiny | 3 | 4 | 1 | 1 | 2 (1 unscored) | – |\n" in text
    assert "Of 4 claims of the paper,\n\n- **holds** (1): ours beats far [L1 ↓].\n- **contradicted** (1): copy" in page
    assert "- **n/a (not run)** (1): ours beats absent [L1 ↓]." in page
    assert "[everything](tables/tiny/small.md), [page](tables/tiny/small.html)" in page
    check_published(readme, results / "tables")
    assert "| small | " in (results / "tables/tiny/replication.md").read_text()
    publish("tiny", results, readme)
    assert (readme.read_text(), (results / "README.md").read_text()) == (text, page)


@pytest.mark.parametrize(
    "name", ["README.md", "results/README.md", "results/report/index.html", "results/tables/tiny/small.tex"]
)
def test_what_is_not_current_is_named(written, tmp_path, name):
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    publish("tiny", tmp_path / "results", readme)
    stale = tmp_path / name
    stale.write_text(stale.read_text().replace("small", "great"))
    with pytest.raises(UserError, match=f"{name}.*rebuild"):
        check_published(readme, tmp_path / "results/tables")
    rebuild_all(readme, tmp_path / "results/tables")
    check_published(readme, tmp_path / "results/tables")


def test_scored_outputs_are_not_published(written, tmp_path):
    table, scores, provenance = left("small", written)
    guest = spec.Row("guest", [], "method", predictions="abc")
    theirs = scores[scores["row"] == "far"].assign(row="guest")
    whole = replace(table, rows=[*table.rows, guest]), pd.concat([scores, theirs])
    before = (written / "small.md").read_text()
    write(*whole, replace(provenance, absent=[Absence("guest", "self", "L1", "mine")]), written)
    assert "guest" in (written / "small.md").read_text()
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    publish("tiny", tmp_path / "results", readme)
    published = tmp_path / "results/tables/tiny"
    assert not [path.name for path in published.iterdir() if b"guest" in path.read_bytes()]
    assert (published / "small.md").read_text() == before
    assert "guest" in (written / "small.md").read_text()


def test_publishing_refuses_what_the_samples_do_not_give(written, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    with pytest.raises(UserError, match="holds no tables"):
        publish("small", tmp_path / "results", readme)
    page = written / "small.md"
    page.write_text(page.read_text().replace("holds", "shines"))
    with pytest.raises(UserError, match=r"small\.md is not what its samples give"):
        publish("tiny", tmp_path / "results", readme)
    assert not (tmp_path / "results/tables").exists()
    (tmp_path / "plain.md").write_text("nothing")
    with pytest.raises(UserError, match="lacks the lines"):
        renew(tmp_path / "plain.md", tmp_path)


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
    (written / f"small{RECORD}").unlink()
    monkeypatch.setattr(sys, "argv", ["tables", "--rebuild", str(written)])
    with pytest.raises(SystemExit, match=r"small\.record\.json is missing"):
        tables.main()


@pytest.mark.parametrize("more", [["--rebuild", "none"], ["--rebuild", "results/tables/nope"], ["--scale", "small"]])
def test_where_there_are_no_tables_the_remedy_is_told(more, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tables", *more])
    with pytest.raises(SystemExit, match=r"^error: '[^']+' holds no tables; (make them with: |name one )[^\n]+$"):
        tables.main()
    assert not list(tmp_path.iterdir())


def test_a_scale_that_no_table_has_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tables", "--scale", "nope"])
    with pytest.raises(SystemExit) as ended:
        tables.main()
    assert ended.value.code == 2
    assert "invalid choice: 'nope'" in capsys.readouterr().err


PUBLISHED = ROOT / "results/tables"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
@pytest.mark.skipif(not list(PUBLISHED.glob("*/*.tex")), reason="nothing is published yet")
def test_the_latex_of_every_published_table_compiles(tmp_path):
    files = sorted(PUBLISHED.glob("*/*.tex"))
    preamble = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
    inputs = [rf"\input{{{shutil.copy(path, tmp_path / f'{i}.tex')}}}\clearpage" for i, path in enumerate(files)]
    (tmp_path / "document.tex").write_text("\n".join([preamble, *inputs, r"\end{document}"]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.skipif(not list(PUBLISHED.glob("*/*")), reason="nothing is published yet")
def test_the_published_tables_and_the_pages_that_show_them_are_current():
    check_published(ROOT / "README.md", PUBLISHED)


def test_the_readme_shows_a_small_table_and_a_picture_that_fits_a_screen(table, runs, tmp_path):
    scores, provenance = collect(runs)
    folder = tmp_path / "results/runs/tables/tiny"
    write(replace(table, name="depth"), scores, provenance, folder)
    picture = Image.effect_noise((6, 8), 90).convert("RGB")
    write(replace(table, name="dagan_self"), scores, provenance, folder)
    picture.save(folder / "dagan_self.png")
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    publish("tiny", tmp_path / "results", readme)
    ours = summarise(scores, "ours_1", "self", "L1")
    assert re.search(rf"\| ours_1 +\| \*\*{ours.value:.4f} ± {ours.seed_std:.4f}\*\* +\|", readme.read_text())
    shown = np.array(Image.open(tmp_path / "results/figures/reenactment.png"))
    np.testing.assert_array_equal(shown[:, :6], np.array(picture)[:4])
    np.testing.assert_array_equal(shown[:, -6:], np.array(picture)[4:])
