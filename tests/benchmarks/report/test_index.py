import re
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from benchmarks.report import index, spec, systems
from benchmarks.report.arms import Arms
from benchmarks.report.extremes import extremes
from benchmarks.report.files import left, read_all
from benchmarks.report.frames import claims_frame
from benchmarks.report.plots import charts
from benchmarks.report.results import SCORES, Provenance
from benchmarks.report.scale import Scale
from benchmarks.report.sheets import assemble
from tests.benchmarks.report.made_up import claim, matrix

PUBLISHED = Path(__file__).parents[3] / "results"
PAGE = PUBLISHED / index.PAGE
published = pytest.mark.skipif(not PAGE.is_file(), reason="nothing is published yet")


def tree(text):
    """The page, which is well-formed XML but for its scripts and styles."""
    bare = re.sub(r"(?s)<!DOCTYPE html>|(?<=<style>).*?(?=</style>)|(?<=<script>).*?(?=</script>)", "", text)
    return ElementTree.fromstring(bare.strip())


def text_of(element):
    return " ".join("".join(element.itertext()).split())


def page_of(written):
    tables = written.parents[2] / "tables"
    (tables / "tiny").mkdir(parents=True)
    for path in written.iterdir():
        (tables / "tiny" / path.name).write_bytes(path.read_bytes())
    return index.index(read_all(tables), tables.parent / index.PAGE)


def bodies(article, kind):
    """The rows of an article's tables of a class, without the heads of blocks."""
    tables = [each for each in article.iter("table") if kind in each.get("class", "")]
    return [[row for row in each.findall("tbody/tr") if row.get("class") != "block"] for each in tables]


@published
def test_the_published_page_is_well_formed_and_its_links_lead_somewhere():
    text = PAGE.read_text(encoding="utf-8")
    page = tree(text)
    assert len(text.encode()) < 2_000_000
    names = Counter(each.get("id") for each in page.iter() if each.get("id"))
    assert set(names.values()) == {1}
    links = [each.get(name) for each in page.iter() for name in ("href", "src", "poster") if each.get(name)]
    for link in links:
        assert link[1:] in names if link.startswith("#") else (PAGE.parent / link).is_file(), link
    assert not re.search(r"https?:|//[a-z]|@import|url\(|\son\w+=", text.replace("http-equiv", ""))
    labels = [each.get("aria-labelledby") for each in page.iter() if each.get("aria-labelledby")]
    assert set(labels) <= set(names)
    assert all(each.get("scope") for each in page.iter("th"))
    assert all(each.find("caption") is not None for each in page.iter("table"))
    assert all(each.get("alt") for each in page.iter("img"))


@published
def test_every_number_of_the_published_page_is_that_of_the_csv_files():
    page = tree(PAGE.read_text(encoding="utf-8"))
    articles = {each.get("id"): each for each in page.iter("article")}
    files = sorted((PUBLISHED / "tables").glob("*/*.wide.csv"))
    assert set(articles) == {f"{path.parent.name}-{path.name.split('.')[0]}" for path in files}
    for path in files:
        article = articles[f"{path.parent.name}-{path.name.split('.')[0]}"]
        long = pd.read_csv(path.with_name(path.name.replace(".wide", "")), dtype=str, keep_default_na=False)
        by_test = [part for _, part in long.groupby("test", sort=False)]
        for rows, part in zip(bodies(article, "scores"), by_test, strict=True):
            shown = [text_of(row[0]) for row in rows]
            assert sorted(shown) == sorted(set(part["row"]))
            for row in rows:
                line = part[part["row"] == text_of(row[0])]
                values = [cell.get("data-number") for cell in row[1:] if "data-number" in cell.attrib]
                assert values == line["value"].tolist()
                for name, cell in zip(("videos", "frames", "fits"), row[-3:], strict=True):
                    counts = sorted({int(count) for count in line[name] if count})
                    assert text_of(cell) == ("–".join(map(str, dict.fromkeys([*counts[:1], *counts[-1:]]))) or "–")
                marks = [cell.get("class") if cell.get("class") != "none" else "" for cell in row[1:-3]]
                assert [mark or "" for mark in marks] == line["mark"].tolist()


@published
def test_every_verdict_of_the_published_page_is_that_of_the_csv_files():
    page = tree(PAGE.read_text(encoding="utf-8"))
    rows = [row for row in page.iter("tr") if row.get("data-kind")]
    for path in sorted((PUBLISHED / "tables").glob("*/*.claims.csv")):
        name = f"{path.parent.name}-{path.name.split('.')[0]}"
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        own = [row for row in rows if row.get("data-table") == name]
        assert len(own) == len(frame)
        for row, (_, line) in zip(own, frame.iterrows(), strict=True):
            assert text_of(row[0].find("span")) == line["text"]
            numbers = [row[i].get("data-number") for i in (1, 2, 3, 4)]
            assert numbers == [line[column] for column in ("advantage", "p_holm", "separable", "fits")]
            assert line["verdict"] in text_of(row[5])


def test_a_page_escapes_names_sets_words_and_figures_beside_claims_and_names_its_files(written):
    text = page_of(written)
    page = tree(text)
    assert "near &lt;b&gt;" in text
    rows = bodies(page, "claims")[0]
    assert [row.get("data-kind") for row in rows] == ["holds", "not separated", "contradicted", "no verdict"]
    assert "L1 ↓" in text_of(rows[0])
    assert page.find(".//dl") is not None
    assert "python -m benchmarks.run_all --scale tiny --tables small --seeds 0 1 2" in text
    assert 'href="../tables/tiny/small.samples.csv"' in text
    assert text == page_of_again(written)


def page_of_again(written):
    tables = written.parents[2] / "tables"
    return index.index(read_all(tables), tables.parent / index.PAGE)


def test_the_median_and_the_worst_video_are_those_of_the_mean_over_fits(table, scores):
    means = matrix(scores, "far").mean(axis=0)
    names = scores[(scores["row"] == "far") & (scores["metric"] == "L1")].pivot(
        index="seed", columns="video_id", values="value"
    )
    ends = extremes(Arms(scores), "far", "self", "L1")
    order = np.argsort(-means)
    assert ends.worst == (names.columns[order[0]], pytest.approx(means.max()))
    assert ends.median == (names.columns[order[5]], pytest.approx(np.sort(means)[6]))  # of 12 the worse middle one
    assert extremes(Arms(scores), "far", "self", "PSNR").worst.video == ends.worst.video  # there the lowest
    assert extremes(Arms(scores), "absent", "self", "L1") is None
    sheet = assemble(table, scores, Provenance())
    assert sheet.extremes["far", 0] == ends
    assert ("far", 1) not in sheet.extremes


def test_a_chart_has_its_rows_where_their_numbers_are():
    rows = {"cheap": (1, 0.30), "middle": (10, 0.20), "beaten": (20, 0.25), "dear": (100, 0.10), "control": (10, 0.4)}
    rows |= {"copy": (0, 0.5), "blur": (9e-4, 0.5)}  # which cost nothing, or next to it, and have no place on the axis
    kinds = {
        name: name if name == "control" else "reference" if name in ("copy", "blur") else "method" for name in rows
    }
    content = {"title": "t", "base": "mcdm", "tests": {"val": {"task": "editing"}}, "name": "costs"}
    content["columns"] = [{"test": "val", "metric": "L1-inside"}, {"test": "val", "metric": "evaluations"}]
    content["rows"] = [{"name": name, "configs": [], "kind": kind} for name, kind in kinds.items()]
    lines = [
        (name, "val", 0, f"v{video}", metric, value, 1, 0, 0)
        for name, (cost, quality) in rows.items()
        for metric, value in (("evaluations", cost), ("L1-inside", quality))
        for video in range(6)
    ]
    sheet = assemble(spec.parse(content), pd.DataFrame(lines, columns=SCORES), Provenance())
    (chart,) = charts(sheet)
    picture = ElementTree.fromstring(str(chart.svg))
    groups = {each.find("text").text: each for each in picture.iter("g")}
    classes = {name: each.get("class") for name, each in groups.items()}
    expected = {"cheap": "front", "middle": "front", "beaten": "beaten", "dear": "front", "control": "beside"}
    assert classes == expected
    x, y = ({n: float(g.find("circle").get(axis)) for n, g in groups.items()} for axis in ("cx", "cy"))
    assert x["middle"] - x["cheap"] == pytest.approx(x["dear"] - x["middle"], abs=0.2)  # by decades
    assert (y["middle"] - y["dear"]) == pytest.approx(y["cheap"] - y["middle"], abs=0.2)
    assert y["dear"] > y["middle"] > y["cheap"] > y["control"]  # less lies lower
    assert "dear: evaluations 100, L1-inside 0.1000" in [each.text for each in picture.iter("title")]
    boxes = [(float(g.find("text").get("x")), float(g.find("text").get("y"))) for g in groups.values()]
    assert len(set(boxes)) == len(boxes)


@pytest.mark.parametrize(("low", "high"), [(0.031, 0.034), (-3, 12), (0, 1), (5, 5), (120, 95000)])
def test_ticks_are_round_rise_and_lie_on_the_axis(low, high):
    scale = Scale([low, high, np.nan], 0, 100)
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 9
    assert all(0 <= place <= 100 for place, _ in ticks)
    assert all(a < b for (a, _), (b, _) in pairwise(ticks))
    assert all(len(text.strip("-0.")) <= 4 for _, text in ticks)


def test_a_systems_page_gives_its_name_and_what_of_its_pictures_is_published(tmp_path, monkeypatch):
    monkeypatch.setattr(systems, "PAGES", tmp_path / "models")
    (tmp_path / "models/toy_of_ours").mkdir(parents=True)
    page = "# Toy\n\n![A picture](../../results/figures/a.png)\n[gone](../../results/figures/gone.png)\n"
    (tmp_path / "models/toy_of_ours/README.md").write_text(page + "See [a clip](../../results/figures/b.mp4).\n")
    (tmp_path / "figures").mkdir()
    for name in ("a.png", "a.mp4", "b.mp4"):
        (tmp_path / "figures" / name).touch()
    assert systems.title("toy_of_ours") == "Toy"
    assert systems.family("toy_of_ours") == "toy_of_ours"
    assert systems.family("toy_stage") == systems.title("toy") == "toy"
    expected = [("A picture", "figures/a.png", "figures/a.mp4"), ("a clip", "", "figures/b.mp4")]
    assert [tuple(each) for each in systems.exhibits("toy_of_ours", tmp_path)] == expected


def test_the_command_writes_the_page_where_it_is_told_and_says_what_is_missing(written, tmp_path, monkeypatch, capsys):
    page_of(written)
    tables = written.parents[2] / "tables"
    monkeypatch.setattr(sys, "argv", ["index", "--tables", str(tables), "--out", str(tmp_path / "elsewhere")])
    index.main()
    assert capsys.readouterr().out.strip() == str(tmp_path / "elsewhere/index.html")
    assert 'id="tiny-small"' in (tmp_path / "elsewhere/index.html").read_text()
    monkeypatch.setattr(sys, "argv", ["index", "--tables", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="holds no published tables; name the folder"):
        index.main()


def test_a_table_that_nobody_ran_still_has_its_place(written):
    table, scores, provenance = left("small", written)
    claims = [replace(claim("ours_1", "far"), why="Nobody <ran> it."), claim("far", "copy")]
    sheet = assemble(replace(table, claims=claims, published=[]), scores.iloc[:0], provenance)
    folder = written.parents[2] / "tables/tiny"
    page = tree(index.index({folder: {"small": sheet}}, folder.parents[1] / index.PAGE))
    assert [row.get("data-kind") for row in bodies(page, "claims")[0]] == ["no verdict", "no verdict"]
    assert "n/a (not run)" in text_of(page)
    told = [text_of(each) for each in page.iter("span") if each.get("class") == "why"]
    assert told == [
        f"Nothing was compared ({pair})." for pair in ("ours_1: not run, far: not run", "far: not run, copy: not run")
    ]
    assert "why" not in claims_frame(sheet)


@pytest.mark.parametrize(("low", "high"), [(0.05, 1.2), (1, 100), (0.003, 9), (1e-5, 2), (1, 11)])
def test_ticks_of_a_logarithmic_axis_stand_apart(low, high):
    ticks = Scale([low, high], 0, 480, logarithmic=True).ticks()
    assert 3 <= len(ticks) <= 12
    assert all(b - a > 6.1 * (len(one) + len(other)) / 2 for (a, one), (b, other) in pairwise(ticks))


def test_the_names_in_every_published_picture_of_costs_are_whole():
    page = (PUBLISHED / "report/index.html").read_text()
    pictures = re.findall(r'<svg viewBox="0 0 (\d+) \d+"(.*?)</svg>', page, re.DOTALL)
    label = r'<text x="([\d.]+)" y="[\d.]+" text-anchor="(start|end)">([^<]*)</text></g>'
    names = [(int(wide), *each) for wide, svg in pictures for each in re.findall(label, svg)]
    assert len(names) > 500
    cut = [
        name
        for wide, x, anchor, name in names
        if not 0 <= float(x) + (0 if anchor == "start" else -6.1 * len(name)) <= wide - 6.1 * len(name)
    ]
    assert cut == []
