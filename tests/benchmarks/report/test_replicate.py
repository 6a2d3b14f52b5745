import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.report import coverage, files, replicate, spec
from benchmarks.report.results import SCORES, Provenance

ROOT = Path(__file__).parents[3]


def left(folder, name, shifts):
    """A published table of two methods; ``shifts`` says by how much A is better than B at each seed."""
    rows = [{"name": row, "configs": [], "kind": "method"} for row in "AB"]
    claim = {"text": "A beats B", "better": "A", "worse": "B", "test": "self", "metric": "L1"}
    content = {"title": "t", "name": name, "base": "dagan", "tests": {"self": {"task": "self_reenactment"}}}
    columns = [{"test": "self", "metric": "L1"}]
    table = spec.parse(content | {"rows": rows, "columns": columns, "claims": [claim], "checks": [claim]})
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0.5, 0.1, 8)
    lines = [
        (row, "self", seed, f"v{video}", "L1", difficulty[video] + (row == "B") * shift + rng.normal(0, 0.001), 1, 0, 0)
        for seed, shift in enumerate(shifts)
        for row in "AB"
        for video in range(8)
    ]
    files.write(table, pd.DataFrame(lines, columns=SCORES), Provenance(), folder)
    return table


def replicated(folder, name):
    table, scores, _ = files.left(name, folder)
    return replicate.replicate(table, scores)


def test_halves_are_disjoint_and_each_split_stands_once():
    for count, splits in ((4, 3), (5, 10), (6, 10), (7, 35)):
        found = replicate.halves(range(count))
        assert len({frozenset(map(frozenset, pair)) for pair in found}) == len(found) == splits
        for first, second in found:
            assert {*first} | {*second} == {*range(count)}
            assert not {*first} & {*second}
            assert (len(first), len(second)) == (count // 2, count - count // 2)
    assert replicate.halves((7, 9, 11)) == []
    assert len(replicate.halves(range(10), most=20)) == 20
    assert replicate.halves(range(10), most=20) == replicate.halves(range(10), most=20)


def test_two_verdicts_agree_weaken_or_turn_round():
    assert [replicate.relation(*pair) for pair in ((1, 1), (0, 0), (-1, -1))] == [replicate.AGREE] * 3
    assert [replicate.relation(*pair) for pair in ((1, 0), (0, -1))] == [replicate.WEAKEN] * 2
    assert [replicate.relation(*pair) for pair in ((1, -1), (-1, 1))] == [replicate.TURN] * 2


def test_a_clear_difference_replicates_and_a_difference_of_fits_alone_weakens_or_is_none(tmp_path):
    left(tmp_path, "clear", [0.1, 0.101, 0.099, 0.1])
    clear = replicated(tmp_path, "clear")
    assert (clear.splits, clear.outcomes[replicate.AGREE], clear.decided) == (3, 6, 6)  # a claim and a check
    left(tmp_path, "noisy", [0.1, -0.1, 0.2, -0.15])
    noisy = replicated(tmp_path, "noisy")
    assert (noisy.outcomes[replicate.AGREE], noisy.decided, noisy.turned) == (6, 0, [])


def test_one_that_turns_round_is_named_and_ends_the_command(tmp_path, capsys):
    """Two kinds of fits, and a half of each kind."""
    left(tmp_path, "turning", [0.1, 0.1005, -0.1, -0.1005])
    found = replicated(tmp_path, "turning")
    assert found.outcomes[replicate.TURN] == 2
    assert found.turned[0] == "A beats B on L1 (self), seeds 0, 1 and 2, 3"
    out = tmp_path / "out.md"
    with pytest.raises(SystemExit, match="Verdicts turned round"):
        replicate.main(["--folder", str(tmp_path), "--out", str(out)])
    assert "- turning turned round: A beats B on L1 (self), seeds 0, 1 and 2, 3." in out.read_text()
    assert capsys.readouterr().out == out.read_text()


def test_halves_of_two_fits_are_judged_and_three_seeds_are_too_few(tmp_path, capsys):
    left(tmp_path, "four", [0.1, 0.101, 0.099, 0.1])
    left(tmp_path, "three", [0.1, 0.101, 0.099])
    replicate.main(["four", "three", "--folder", str(tmp_path)])
    text = capsys.readouterr().out
    assert "| four | 4 | 3 | 6 | 6 | 0 | 0 |" in text
    assert "| three | 3 | too few seeds: 4 make two halves |" in text
    assert "has no verdict that a table would print" in text
    with pytest.raises(SystemExit, match=r"none\.samples\.csv is missing"):
        replicate.main(["none", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit, match="holds no tables"):
        replicate.main(["--folder", str(tmp_path / "nowhere")])


@pytest.mark.parametrize("published", sorted(ROOT.glob("results/tables/*/replication.md")), ids=lambda p: p.parent.name)
def test_what_is_published_of_replication_is_what_the_command_gives(published, tmp_path):
    replicate.main(["--folder", str(published.parent), "--out", str(tmp_path / "again.md")])
    assert (tmp_path / "again.md").read_text() == published.read_text()


def test_what_is_published_of_coverage_is_what_the_command_gives_and_keeps_the_bounds():
    """The bounds of all that is published; one line is simulated anew."""
    lines = (ROOT / "results/metrics/crossed.md").read_text().splitlines()
    draws = int(re.search(r"([\d,]+) draws a figure", "\n".join(lines))[1].replace(",", ""))
    head = next(coverage.page(draws)).splitlines()
    assert lines[: len(head)] == head
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = [list(map(float, row)) for row in cells if len(row) == 8 and row[0].isdigit()]
    assert len(found) == len(coverage.SEEDS) * len(coverage.VIDEOS) * len(coverage.RESIDUAL_SD)
    shares = {(row[0], i): row[3:] for i, row in enumerate(found)}
    assert min(map(min, shares.values())) >= 94.7  # 95, within three standard errors of 40,000 draws
    assert max(max(row) for (seeds, _), row in shares.items() if seeds >= 5) <= 98.5
    again = coverage.coverage_line(3, 6, 1.0, draws)
    assert again in cells


def test_all_pairs_of_the_pairing_table_are_there():
    cells = (ROOT / "results/metrics/crossed.md").read_text()
    for seeds, shared in [(s, h) for s in coverage.SEEDS for h in coverage.SHARED]:
        assert f"\n| {seeds} | {shared:g} | " in cells


def test_draws_have_the_spreads_that_are_asked_for():
    for shared in (0.0, 0.5):
        design = coverage.Design(5, 20, 2.0, 0.5, shared)
        first, second = coverage.draw(design, 4_000, np.random.default_rng(0))
        difference = first - second
        seeds = (difference.mean(2) - difference.mean((1, 2))[:, None]).var() * 5 / 4
        assert seeds == pytest.approx((1 - shared) * (2.0**2 + 0.5**2 / 20), rel=0.05)
        pairs = combinations(range(2), 2)
        assert all(np.corrcoef(first[:, a, 0], second[:, b, 0])[0, 1] < 0.1 for a, b in pairs)
        assert difference.mean() == pytest.approx(0, abs=0.02)
