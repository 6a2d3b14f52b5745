"""What became of the papers' claims, a line for each table."""

from collections.abc import Iterable
from itertools import compress
from typing import NamedTuple

from benchmarks.report.markdown import VERDICTS, pipes
from benchmarks.report.sheets import ABSENT, Sheet, Style
from benchmarks.report.spec import is_cost
from benchmarks.report.verdicts import Verdict

HEADS = ["Table", "Scale", "Fits", "Claims", "Held", "Contradicted", "Open", "Checks held"]
PLAIN = Style(best="**{}**", second="<ins>{}</ins>", interval="")


class Tally(NamedTuple):
    """How many claims and checks of a table came out how.

    ``unscored`` are the claims of which a row, or its score, is missing; ``judged`` the checks that have a verdict.
    """

    claims: int
    held: int
    contradicted: int
    unscored: int
    checks: int
    judged: int
    checks_held: int

    @property
    def open(self) -> int:
        """Claims that are not separated, or have no verdict for want of a row, of its score, or of fits."""
        return self.claims - self.held - self.contradicted


def tally(sheet: Sheet) -> Tally:
    """Counts the verdicts of a table."""
    held, contradicted = (_count(sheet.claims, outcome) for outcome in ("holds", "contradicted"))
    judged = sum(check.outcome in VERDICTS for check in sheet.checks)
    unscored = sum(claim.comparison is None for claim in sheet.claims)
    checks = len(sheet.checks), judged, _count(sheet.checks, "holds")
    return Tally(len(sheet.claims), held, contradicted, unscored, *checks)


def scoreboard(tables: Iterable[tuple[str, str, Sheet]]) -> str:
    """Claims held, contradicted and open (not separated, or without a verdict), and checks.

    Args:
        tables: Of each its folder, scale and sheet.

    Returns:
        A Markdown table with a link to the page of each.
    """
    lines = [HEADS, ["---"] * len(HEADS), *(_line(*table) for table in tables)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def glance(sheet: Sheet) -> str:
    """A table's values without their intervals and costs, as Markdown with its title."""
    kept = [not is_cost(column.metric) for column in sheet.table.columns]
    rows = [[row.name, *compress(sheet.text(row, PLAIN), kept)] for _, rows in sheet.blocks for row in rows]
    return f"**{sheet.table.title}**\n\n{pipes(['', *compress(sheet.heads, kept)], rows)}"


def _line(folder: str, scale: str, sheet: Sheet) -> list[str]:
    link = f"[{sheet.table.title}]({folder}/{sheet.table.name}.md)"
    counts = tally(sheet)
    unscored = f" ({counts.unscored} unscored)" if counts.unscored else ""
    claims = [*map(str, (counts.claims, counts.held, counts.contradicted)), f"{counts.open}{unscored}"]
    return [link, scale, fits(sheet), *(claims if counts.claims else [ABSENT] * 4), checks_text(counts)]


def _count(verdicts: list[Verdict], outcome: str) -> int:
    return sum(verdict.outcome == outcome for verdict in verdicts)


def fits(sheet: Sheet) -> str:
    """``5``, or ``3–5`` where methods that draw differ; of a table in which none does, the seeds of its rows."""
    methods = {row.name for row in sheet.table.rows if row.kind == "method"}
    run = [cell for cell in sheet.cells.values() if cell]
    drawn = [cell.fits for (row, _), cell in sheet.cells.items() if cell and cell.fits and row in methods]
    counts = drawn or [cell.seeds for cell in run] or [0]
    return "–".join(dict.fromkeys(map(str, (min(counts), max(counts)))))


def checks_text(counts: Tally) -> str:
    """``5 of 6``; without a verdict for want of fits ``6, not judged``."""
    if not counts.checks:
        return ABSENT
    return f"{counts.checks_held} of {counts.checks}" if counts.judged else f"{counts.checks}, not judged"
