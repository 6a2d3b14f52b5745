"""Beside a claim: the paper's own figures of its two rows, and a sentence on why it came out as it did."""

import re
from typing import NamedTuple

import yaml

from benchmarks.report.sheets import ABSENT, Sheet, published_texts
from benchmarks.report.spec import FAMILIES, FOLDER, Claim, Published, Table, by_metric, card
from benchmarks.report.verdicts import Verdict, enough

TABLE = re.compile(r"Table \d+")
STANDS_FOR = {  # what papers print in the place of a metric whose name is another
    "proxy-ID": ("CSIM", "AED", "ID Similarity"),
    "proxy-pose": ("PRMSE", "Pose"),
    "proxy-expr": ("AUCON", "Expression"),
}


class PaperFigures(NamedTuple):
    """A paper's figures of the two rows of a claim, under the head of their column."""

    head: str
    better: str
    worse: str


def paper_figures(table: Table, claim: Claim) -> list[PaperFigures]:
    """What a paper prints of both rows by the claim's metric, or by one that the claim's words name.

    A claim that names a table of the paper has the figures of that table alone.
    """
    blocks = [block for block in table.published if _same_table(block, claim)]
    return [figures for block in blocks for figures in _of(block, claim)]


def _same_table(block: Published, claim: Claim) -> bool:
    named = set(TABLE.findall(claim.text))
    return not named or bool(named & set(TABLE.findall(block.note)))


def _of(block: Published, claim: Claim) -> list[PaperFigures]:
    texts, (better, worse) = published_texts(block), (block.called.get(row, row) for row in (claim.better, claim.worse))
    if better not in texts or worse not in texts:
        return []
    pairs = zip(block.columns, texts[better], texts[worse], strict=True)
    return [PaperFigures(*each) for each in pairs if _measures(each[0], claim) and each[1:] != (ABSENT, ABSENT)]


def _measures(head: str, claim: Claim) -> bool:
    """Whether a column of a paper, less its arrow, is of a claim's metric or named in its words."""
    name, metric = head.rstrip("↑↓× "), claim.metric.removeprefix("proxy-").replace("Delta", "δ")
    if claim.metric in STANDS_FOR:
        return name in STANDS_FOR[claim.metric]
    return metric == name or metric.startswith(f"{name}-") or bool(re.search(rf"\b{re.escape(name)}\b", claim.text))


def reasons(table: Table) -> dict[Claim, Claim]:
    """The words on each ordering: of today's file of the table, or of its record without a file."""
    path = FOLDER / f"{table.name}.yaml"
    if not path.is_file():
        return {_wordless(claim): claim for claim in table.orderings}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    orderings = [Claim(**each) for family in FAMILIES for each in by_metric(content.get(family, []))]
    return {_wordless(each): each for each in orderings}


def why(sheet: Sheet, verdict: Verdict, words: dict[Claim, Claim]) -> str:
    """One sentence on why a claim came out as it did: somebody's words, else what the numbers alone can say."""
    said = words.get(_wordless(verdict.claim))
    return (_said(said, verdict) if said else "") or of_the_numbers(sheet, verdict)


def _said(claim: Claim, verdict: Verdict) -> str:
    """The words that were written for this outcome; those on a row that is behind never stand beside one ahead."""
    if verdict.outcome == "holds":
        return claim.why_held
    behind = claim.why if verdict.comparison and verdict.comparison.advantage < 0 else ""
    return {"contradicted": behind, "not separated": claim.why_open or behind}.get(verdict.outcome, "")


def of_the_numbers(sheet: Sheet, verdict: Verdict) -> str:
    """What keeps a claim open, or how its fits agree; empty for one of too few videos."""
    result, digits = verdict.comparison, card(verdict.claim.metric).digits + 1
    if result is None:
        return _missing(sheet, verdict.claim)
    if not enough(result.fits):
        return f"Of {_fits(result.fits)} a difference may as well be one of seeds as of methods."
    agree = (
        f"{result.agreeing_seeds} of {_fits(result.seeds)} have the claimed sign" if result.fits else "Nothing is drawn"
    )
    if verdict.outcome == "not separated":
        needed = f"from {verdict.separable:.{digits}f} on it would be told from chance"
        return f"{agree}; the difference is {result.advantage:+.{digits}f}, {needed}."
    if verdict.outcome not in ("holds", "contradicted"):
        return ""
    if not result.error:  # of videos that all differ by the same
        return f"{agree}."
    return f"{agree}; the difference is {abs(result.advantage) / result.error:.1f} times its standard error."


def _missing(sheet: Sheet, claim: Claim) -> str:
    """Which rows of a claim have no score, and why, as the table prints it."""
    places = {(column.test, column.metric): i for i, column in enumerate(sheet.table.columns)}
    i = places.get((claim.test, claim.metric))
    rows = [row for row in sheet.table.rows if row.name in (claim.better, claim.worse)]
    gaps = [f"{row.name}: {sheet.gap(row, i)}" for row in rows if i is not None and not sheet.cells[row.name, i]]
    return f"Nothing was compared ({', '.join(gaps) or 'no score of both on the same videos'})."


def _fits(count: int) -> str:
    return f"{count} fit{'s' if count > 1 else ''}"


def _wordless(claim: Claim) -> Claim:
    return Claim(claim.text, claim.better, claim.worse, claim.test, claim.metric)
