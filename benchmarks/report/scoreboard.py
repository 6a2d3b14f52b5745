"""What became of the papers' claims, a line for each table."""

from collections.abc import Iterable

from benchmarks.report.markdown import VERDICTS, pipes
from benchmarks.report.sheets import ABSENT, Sheet, Style
from benchmarks.report.verdicts import Verdict

HEADS = ["Table", "Scale", "Fits", "Claims", "Held", "Contradicted", "Open", "Checks held"]
PLAIN = Style(best="**{}**", second="<ins>{}</ins>", interval="")


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
    """A table's values without their intervals, as Markdown with its title."""
    rows = [[row.name, *sheet.text(row, PLAIN)] for _, rows in sheet.blocks for row in rows]
    return f"**{sheet.table.title}**\n\n{pipes(['', *sheet.heads], rows)}"


def _line(folder: str, scale: str, sheet: Sheet) -> list[str]:
    link = f"[{sheet.table.title}]({folder}/{sheet.table.name}.md)"
    held, contradicted = (_count(sheet.claims, outcome) for outcome in ("holds", "contradicted"))
    counts = [len(sheet.claims), held, contradicted, len(sheet.claims) - held - contradicted]
    claims = map(str, counts) if sheet.claims else [ABSENT] * 4
    return [link, scale, str(_fits(sheet)), *claims, _checks(sheet.checks)]


def _count(verdicts: list[Verdict], outcome: str) -> int:
    return sum(verdict.outcome == outcome for verdict in verdicts)


def _fits(sheet: Sheet) -> int:
    """Of the row that has most."""
    return max((cell.seeds for cell in sheet.cells.values() if cell), default=0)


def _checks(checks: list[Verdict]) -> str:
    """``5 of 6``; without a verdict for want of fits ``0 of 6 judged``."""
    judged = [check for check in checks if check.outcome in VERDICTS]
    if not checks:
        return ABSENT
    return f"{_count(judged, 'holds')} of {len(checks)}" if judged else f"{len(checks)}, not judged"
