"""A sheet as Markdown."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from benchmarks.report.sheets import (
    ABSENT,
    OF_THESE_FITS,
    VERDICT_HEADS,
    Sheet,
    Style,
    head,
    published_texts,
    verdict_text,
)
from benchmarks.report.spec import Published, card
from benchmarks.report.templates import template
from benchmarks.report.verdicts import Verdict

MARKDOWN = Style(best="**{}**", second="<ins>{}</ins>", interval=" [{}]")
VERDICTS = ("holds", "contradicted", "not separated")
LINKS = {"everything": ".md", "page": ".html", "LaTeX": ".tex", "numbers": ".csv"}


def markdown(sheet: Sheet) -> str:
    """The table, its verdicts, the published figures and the notes, with columns aligned for a terminal."""
    return template("page.md.j2").render(
        title=sheet.table.title,
        tables=_markdown_tables(sheet),
        families=[(title, _markdown_verdicts(sheet, verdicts)) for title, verdicts in sheet.families],
        published=[(block.note, _markdown_figures(block)) for block in sheet.table.published],
        notes=[*sheet.notes, sheet.origin],
    )


def summary(sheet: Sheet, folder: str) -> str:
    """What a list of results shows: the table, which claims of the paper hold and which do not, where the rest is."""
    text = template("summary.md.j2").render(
        title=sheet.table.title,
        tables=_markdown_tables(sheet),
        families=[
            (f"{title[0].lower()}{title[1:]}", len(verdicts), list(_outcomes(sheet, verdicts)))
            for title, verdicts in sheet.families
            if verdicts is not sheet.checks
        ],
        checks=_checks(sheet),
        origin=sheet.origin,
        links=LINKS,
        folder=folder,
        name=sheet.table.name,
    )
    return text.rstrip("\n")


def _checks(sheet: Sheet) -> str:
    """How many checks hold, which do not, and how many have no verdict; empty without any."""
    judged = [verdict for verdict in sheet.checks if verdict.outcome in VERDICTS]
    failing = [f"{v.claim.text} on {v.claim.metric} ({v.outcome})" for v in judged if v.outcome != "holds"]
    parts = [f"{len(judged) - len(failing)} of the {len(judged)} checks of the benchmark itself hold"] if judged else []
    parts += [f"not so: {'; '.join(failing)}"] if failing else []
    without = Counter(verdict.outcome for verdict in sheet.checks if verdict.outcome not in VERDICTS)
    parts += [f"{n} check{'s'[: n > 1]} of the benchmark itself: {outcome}" for outcome, n in without.items()]
    return "; ".join(parts) + "." if parts else ""


def _outcomes(sheet: Sheet, verdicts: list[Verdict]) -> Iterator[tuple[str, int, list[str]]]:
    """For each outcome its orderings, their number, and each with the metrics on which it came out so."""
    for outcome in dict.fromkeys([*VERDICTS, *(v.outcome for v in verdicts)]):
        metrics: dict[str, list[str]] = {}
        for verdict in (v for v in verdicts if v.outcome == outcome):
            metrics.setdefault(verdict.claim.text, []).append(verdict_text(sheet, verdict, MARKDOWN)[1])
        if metrics:
            texts = [f"{text} [{', '.join(where)}]" for text, where in metrics.items()]
            yield outcome, sum(map(len, metrics.values())), texts


def beside_published(here: pd.DataFrame, published: pd.DataFrame) -> str:
    """Differences of fits that are too few for a verdict, beside the verdicts that are published on the same claims.

    Args:
        here: As `claims_frame` gives them, of what was run.
        published: The same of the published table.

    Returns:
        Markdown; empty if no claim that was run here has a published verdict and none here.
    """
    same = ["text", "better", "worse", "test", "metric"]
    if "advantage" not in here:  # nothing was compared
        return ""
    both = here.merge(published, on=same, suffixes=("", "_published"))
    both = both[both["verdict_published"].isin(VERDICTS) & ~both["verdict"].isin(VERDICTS) & both["advantage"].notna()]
    if both.empty:
        return ""
    heads = ["Claim", "Metric", f"Advantage{OF_THESE_FITS}", "Published", "Published verdict"]
    lines = [_beside(row) for _, row in both.iterrows()]
    return f"**Of these fits, beside what is published**\n\n{pipes(heads, lines)}\n"


def _beside(row: pd.Series) -> list[str]:
    digits = card(row["metric"]).digits + 1
    advantages = [f"{row[name]:+.{digits}f}" for name in ("advantage", "advantage_published")]
    return [row["text"], f"{head(row['metric'])}, {row['test']}", *advantages, row["verdict_published"]]


def pipes(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table with columns aligned for a terminal."""
    rows = [[text.replace("|", "\\|") for text in line] for line in [heads, *lines]]
    widths = [max(3, *(len(line[i]) for line in rows)) for i in range(len(heads))]
    padded = ["| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |" for line in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])


def _markdown_tables(sheet: Sheet) -> list[tuple[str, str]]:
    """One table per protocol, so that a line fits a terminal."""
    return [
        (name, pipes(["", *sheet.heads[columns]], _markdown_lines(sheet, columns))) for name, columns in sheet.slices
    ]


def _markdown_lines(sheet: Sheet, columns: slice) -> Iterator[Sequence[str]]:
    """Rows under the heads of their blocks, less those that have no part in the columns."""
    for title, rows in sheet.blocks:
        yield [f"*{title}*", *[""] * len(sheet.heads[columns])]
        for row in rows:
            if set(cells := sheet.text(row, MARKDOWN)[columns]) != {ABSENT}:
                yield [row.name, *cells]


def _markdown_figures(block: Published) -> str:
    return pipes(["", *block.columns], [[name, *texts] for name, texts in published_texts(block).items()])


def _markdown_verdicts(sheet: Sheet, verdicts: Iterable[Verdict]) -> str:
    texts = [verdict_text(sheet, verdict, MARKDOWN) for verdict in verdicts]
    return pipes(VERDICT_HEADS, [[*text[:-1], f"**{text[-1]}**"] for text in texts])
