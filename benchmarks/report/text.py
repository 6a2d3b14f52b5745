"""A sheet as CSV frames, Markdown and LaTeX."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

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
from benchmarks.report.spec import METRICS
from benchmarks.report.verdicts import Cell, Verdict

MARKDOWN = Style(best="**{}**", second="<ins>{}</ins>", interval=" [{}]")
LATEX = Style(best=r"\textbf{{{}}}", second=r"\underline{{{}}}", interval=r" {{\scriptsize[{}]}}")
LATEX_CHARACTERS = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "≤": r"$\leq$", "±": r"$\pm$", "°": r"$^\circ$", "·": r"$\cdot$"}
    | {"–": "--", "δ": r"$\delta$"}
)
VERDICTS = ("holds", "contradicted", "not separated")
LINKS = {"everything": ".md", "page": ".html", "LaTeX": ".tex", "numbers": ".csv"}
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def long_frame(sheet: Sheet) -> pd.DataFrame:
    """One line per row and column of the table: numbers as numbers, empty where there is none."""
    lines: list[dict[str, Any]] = []
    for row in sheet.table.rows:
        for i, column in enumerate(sheet.table.columns):
            if column.test not in sheet.table.tests_of(row):
                continue
            cell, facts = sheet.cells[row.name, i], METRICS[column.metric]
            named: dict[str, Any] = {
                "row": row.name,
                "kind": row.kind,
                "test": column.test,
                "metric": column.metric,
                "unit": facts.unit,
            }
            named |= {
                "higher_is_better": facts.higher_is_better,
                "status": "ok" if cell else sheet.gaps.get((row.name, i), "not run"),
            }
            lines.append(named | {"mark": sheet.marks.get((row.name, i), "")} | _told(cell))
    return _whole(pd.DataFrame(lines), ["videos", "frames", "excluded", "flagged", "seeds", "fits", "set_size"])


def wide_frame(sheet: Sheet) -> pd.DataFrame:
    """One line per row of the table, one column of means per column."""
    lines = []
    for row in sheet.table.rows:
        values = {
            f"{column.test} {column.metric}": cell.value if (cell := sheet.cells[row.name, i]) else np.nan
            for i, column in enumerate(sheet.table.columns)
        }
        lines.append({"row": row.name, "kind": row.kind} | values)
    return pd.DataFrame(lines)


def claims_frame(sheet: Sheet) -> pd.DataFrame:
    """One line per claim or check."""
    lines = [
        {"family": family}
        | asdict(verdict.claim)
        | (asdict(verdict.comparison) if verdict.comparison else {})
        | {"p_holm": verdict.p, "separable": verdict.separable, "verdict": verdict.outcome}
        for family, verdicts in (("claim", sheet.claims), ("check", sheet.checks))
        for verdict in verdicts
    ]
    return _whole(pd.DataFrame(lines), ["videos", "fits", "seeds", "agreeing_seeds"])


def markdown(sheet: Sheet) -> str:
    """The table, its verdicts, the published figures and the notes, with columns aligned for a terminal."""
    parts = [f"## {sheet.table.title}", *_markdown_tables(sheet)]
    for title, verdicts in sheet.families:
        parts += [f"**{title}**", _markdown_verdicts(sheet, verdicts)]
    for block in sheet.table.published:
        figures = [[name, *texts] for name, texts in published_texts(block).items()]
        parts += [f"**Published figures: another protocol, not comparable.** {block.note}"]
        parts += [_pipes(["", *block.columns], figures)]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in [*sheet.notes, sheet.origin])]) + "\n"


def summary(sheet: Sheet, folder: str) -> str:
    """What a README shows: the table, which claims of the paper hold and which do not, where the rest is."""
    parts = [f"### {sheet.table.title}", *_markdown_tables(sheet)]
    if sheet.claims:
        parts.append("\n".join([f"Of {len(sheet.claims)} claims of the paper,\n", *_outcomes(sheet)]))
    if sheet.checks:
        parts.append(_checks(sheet))
    name = sheet.table.name
    links = ", ".join(f"[{what}]({folder}/{name}{suffix})" for what, suffix in LINKS.items())
    return "\n\n".join([*parts, f"{sheet.origin} · {links}"])


def _checks(sheet: Sheet) -> str:
    """How many checks hold, which do not, and how many have no verdict."""
    judged = [verdict for verdict in sheet.checks if verdict.outcome in VERDICTS]
    failing = [f"{v.claim.text} on {v.claim.metric} ({v.outcome})" for v in judged if v.outcome != "holds"]
    told = [f"{len(judged) - len(failing)} of the {len(judged)} checks of the benchmark itself hold"] if judged else []
    told += [f"not so: {'; '.join(failing)}"] if failing else []
    without = Counter(verdict.outcome for verdict in sheet.checks if verdict.outcome not in VERDICTS)
    told += [f"{n} check{'s'[: n > 1]} of the benchmark itself: {outcome}" for outcome, n in without.items()]
    return "; ".join(told) + "."


def _outcomes(sheet: Sheet) -> Iterator[str]:
    """A line of claims for each outcome, each claim with the metrics on which it came out so."""
    for outcome in dict.fromkeys([*VERDICTS, *(v.outcome for v in sheet.claims)]):
        metrics: dict[str, list[str]] = {}
        for verdict in (v for v in sheet.claims if v.outcome == outcome):
            metrics.setdefault(verdict.claim.text, []).append(verdict_text(sheet, verdict, MARKDOWN)[1])
        if metrics:
            told = "; ".join(f"{text} [{', '.join(where)}]" for text, where in metrics.items())
            yield f"- **{outcome}** ({sum(map(len, metrics.values()))}): {told}."


def beside_published(here: pd.DataFrame, published: pd.DataFrame) -> str:
    """Differences of fits that are too few for a verdict, beside the verdicts that are published on the same claims.

    Args:
        here: As `claims_frame` gives them, of what was run.
        published: The same of the published table.

    Returns:
        Markdown; empty if no claim has a published verdict and none here.
    """
    same = ["text", "better", "worse", "test", "metric"]
    both = here.merge(published, on=same, suffixes=("", "_published"))
    both = both[both["verdict_published"].isin(VERDICTS) & ~both["verdict"].isin(VERDICTS)]
    if both.empty:
        return ""
    lines = []
    for row in both.to_dict("records"):
        digits = METRICS[row["metric"]].digits + 1
        told = [f"{row[name]:+.{digits}f}" for name in ("advantage", "advantage_published")]
        lines.append([row["text"], f"{head(row['metric'])}, {row['test']}", *told, row["verdict_published"]])
    heads = ["Claim", "Metric", f"Advantage{OF_THESE_FITS}", "Published", "Published verdict"]
    return f"**Of these fits, beside what is published**\n\n{_pipes(heads, lines)}\n"


def latex(sheet: Sheet) -> str:
    r"""Table floats to be read by ``\input``; the preamble needs booktabs and graphicx."""
    table = sheet.table
    tabulars = "\n\\par\\medskip\n".join(_latex_table(sheet, name, columns) for name, columns in sheet.slices)
    parts = [_float(table.title, f"tab:{table.name}", tabulars, [*sheet.notes, sheet.origin])]
    for title, verdicts in sheet.families:
        texts = [verdict_text(sheet, v, LATEX) for v in verdicts]
        lines = [[_tex(t[0]), _tex(t[1]), _tex_marks(t[2]), *map(_tex, t[3:])] for t in texts]
        tabular = _tabular(pd.DataFrame(lines, columns=[_tex(h) for h in VERDICT_HEADS]))
        parts.append(_float(f"{table.title}: {title.lower()}", f"tab:{table.name}-{title.split()[0].lower()}", tabular))
    for i, block in enumerate(table.published):
        figures = [[_tex(text) for text in (name, *texts)] for name, texts in published_texts(block).items()]
        tabular = _tabular(pd.DataFrame(figures, columns=["", *map(_tex, block.columns)]))
        caption = f"{table.title}: published figures, another protocol, not comparable. {block.note}"
        parts.append(_float(caption, f"tab:{table.name}-published-{i + 1}", tabular))
    return "% needs \\usepackage{booktabs,graphicx}\n" + "\n".join(parts)


def _latex_table(sheet: Sheet, protocol: str, columns: slice) -> str:
    """The columns of one protocol, rows by block."""
    heads = pd.MultiIndex.from_tuples([(_tex(protocol), _tex(head)) for head in sheet.heads[columns]])
    index, body = [], []
    for title, rows in sheet.blocks:
        for row in rows:
            cells = sheet.text(row, LATEX)[columns]
            if set(cells) != {ABSENT}:
                index.append((rf"\emph{{{title}}}", _tex(row.name)))
                body.append([_tex_marks(text) for text in cells])
    return _tabular(pd.DataFrame(body, pd.MultiIndex.from_tuples(index), heads))


def _tabular(frame: pd.DataFrame) -> str:
    """The frame, whose texts are LaTeX already, with booktabs rules; blocks of a two-level index are ruled apart."""
    styler: Styler = frame.style
    nested = isinstance(frame.index, pd.MultiIndex)
    if not nested:
        styler = styler.hide(axis="index")
    text = styler.to_latex(
        hrules=True,
        multicol_align="c",
        multirow_align="naive",
        clines="skip-last;data" if nested else None,
        column_format=("ll" if nested else "l") + "l" * (frame.shape[1] - (not nested)),
    )
    lines = ["\\midrule" if line.startswith("\\cline") else line for line in text.splitlines()]
    last_rule = len(lines) - 1 - lines[::-1].index("\\bottomrule")
    if lines[last_rule - 1] == "\\midrule":
        lines.pop(last_rule - 1)
    return "\n".join([FIT, *lines]) + "}"


def _float(caption: str, label: str, tabulars: str, notes: Iterable[str] = ()) -> str:
    small = " ".join(map(_tex, notes))
    foot = f"\n\\par\\smallskip\\raggedright\\scriptsize\n{small}\\par" if small else ""
    head = f"\\begin{{table}}[tbp]\n\\centering\\small\n\\caption{{{_tex(caption)}}}\n\\label{{{label}}}\n"
    return f"{head}{tabulars}{foot}\n\\end{{table}}\n"


def _pipes(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [[text.replace("|", "\\|") for text in line] for line in [heads, *lines]]
    widths = [max(3, *(len(line[i]) for line in rows)) for i in range(len(heads))]
    padded = ["| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |" for line in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])


def _markdown_tables(sheet: Sheet) -> list[str]:
    """One table per protocol, so that a line fits a terminal."""
    parts = []
    for name, columns in sheet.slices:
        lines: list[Sequence[str]] = []
        for title, rows in sheet.blocks:
            lines += [[f"*{title}*", *[""] * len(sheet.heads[columns])]]
            lines += [
                [row.name, *cells] for row in rows if set(cells := sheet.text(row, MARKDOWN)[columns]) != {ABSENT}
            ]
        parts += [f"{name}.", _pipes(["", *sheet.heads[columns]], lines)]
    return parts


def _markdown_verdicts(sheet: Sheet, verdicts: Iterable[Verdict]) -> str:
    texts = [verdict_text(sheet, verdict, MARKDOWN) for verdict in verdicts]
    return _pipes(VERDICT_HEADS, [[*text[:-1], f"**{text[-1]}**"] for text in texts])


def _told(cell: Cell | None) -> dict[str, Any]:
    """A cell's fields; the size of a set only where there is one."""
    return {name: value for name, value in asdict(cell).items() if value is not None} if cell else {}


def _tex(text: str) -> str:
    return text.translate(LATEX_CHARACTERS)


def _tex_marks(text: str) -> str:
    """Escapes what a cell's own LaTeX leaves to be escaped."""
    return text.replace("±", r"$\pm$").replace("–", "--")


def _whole(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Counts as integers, also beside missing ones."""
    return frame.astype({name: "Int64" for name in columns if name in frame})
