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
    """How many claims and checks of a table came out how; ``judged`` are the checks that have a verdict."""

    claims: int
    held: int
    contradicted: int
    checks: int
    judged: int
    checks_held: int

    @property
    def open(self) -> int:
        """Claims that are not separated, or have no verdict for want of fits."""
        return self.claims - self.held - self.contradicted


def tally(sheet: Sheet) -> Tally:
    """Counts the verdicts of a table."""
    held, contradicted = (_count(sheet.claims, outcome) for outcome in ("holds", "contradicted"))
    judged = sum(check.outcome in VERDICTS for check in sheet.checks)
    return Tally(len(sheet.claims), held, contradicted, len(sheet.checks), judged, _count(sheet.checks, "holds"))


def scoreboard(tables: Iterable[tuple[str, str, Sheet]]) -> str:
    """Claims held, contradicted and open (not separated, or without a verdict for want of fits), and checks.

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
    claims = [counts.claims, counts.held, counts.contradicted, counts.open] if counts.claims else [ABSENT] * 4
    return [link, scale, str(fits(sheet)), *map(str, claims), checks_text(counts)]


def _count(verdicts: list[Verdict], outcome: str) -> int:
    return sum(verdict.outcome == outcome for verdict in verdicts)


def fits(sheet: Sheet) -> int:
    """The fits of the row that has most."""
    return max((cell.seeds for cell in sheet.cells.values() if cell), default=0)


def checks_text(counts: Tally) -> str:
    """``5 of 6``; without a verdict for want of fits ``6, not judged``."""
    if not counts.checks:
        return ABSENT
    return f"{counts.checks_held} of {counts.checks}" if counts.judged else f"{counts.checks}, not judged"
