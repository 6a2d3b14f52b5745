"""A sheet as LaTeX."""

from collections.abc import Iterable, Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from benchmarks.report.sheets import ABSENT, VERDICT_HEADS, Sheet, Style, published_texts, verdict_text
from benchmarks.report.spec import Published
from benchmarks.report.templates import template
from benchmarks.report.verdicts import Verdict

LATEX = Style(best=r"\textbf{{{}}}", second=r"\underline{{{}}}", interval=r" {{\scriptsize[{}]}}")
LATEX_CHARACTERS = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "≤": r"$\leq$", "±": r"$\pm$", "°": r"$^\circ$", "·": r"$\cdot$"}
    | {"–": "--", "δ": r"$\delta$", "Σ": r"$\Sigma$"}
)
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def latex(sheet: Sheet) -> str:
    r"""Table floats to be read by ``\input``; the preamble needs booktabs and graphicx."""
    table = sheet.table
    tabulars = [_latex_table(sheet, name, columns) for name, columns in sheet.slices]
    parts = [_float(table.title, f"tab:{table.name}", tabulars, [*sheet.notes, sheet.origin])]
    for title, verdicts in sheet.families:
        label = f"tab:{table.name}-{title.split()[0].lower()}"
        parts.append(_float(f"{table.title}: {title.lower()}", label, [_latex_verdicts(sheet, verdicts)]))
    for i, block in enumerate(table.published):
        caption = f"{table.title}: published figures, another protocol, not comparable. {block.note}"
        parts.append(_float(caption, f"tab:{table.name}-published-{i + 1}", [_latex_figures(block)]))
    return "% needs \\usepackage{booktabs,graphicx}\n" + "\n".join(parts)


def _latex_verdicts(sheet: Sheet, verdicts: Iterable[Verdict]) -> str:
    texts = [verdict_text(sheet, verdict, LATEX) for verdict in verdicts]
    lines = [[_tex(t[0]), _tex(t[1]), _tex_marks(t[2]), *map(_tex, t[3:])] for t in texts]
    return _tabular(pd.DataFrame(lines, columns=[_tex(h) for h in VERDICT_HEADS]))


def _latex_figures(block: Published) -> str:
    figures = [[_tex(text) for text in (name, *texts)] for name, texts in published_texts(block).items()]
    return _tabular(pd.DataFrame(figures, columns=["", *map(_tex, block.columns)]))


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
    return "\n".join([FIT, *_ruled(text.splitlines())]) + "}"


def _ruled(lines: list[str]) -> list[str]:
    """Blocks apart by a rule of booktabs, and none before the last."""
    lines = ["\\midrule" if line.startswith("\\cline") else line for line in lines]
    last_rule = len(lines) - 1 - lines[::-1].index("\\bottomrule")
    if lines[last_rule - 1] == "\\midrule":
        lines.pop(last_rule - 1)
    return lines


def _float(caption: str, label: str, tabulars: Sequence[str], notes: Sequence[str] = ()) -> str:
    facts = {"caption": caption, "label": label, "tabulars": tabulars, "notes": notes}
    return template("float.tex.j2").render(facts, tex=_tex)


def _tex(text: str) -> str:
    return text.translate(LATEX_CHARACTERS)


def _tex_marks(text: str) -> str:
    """Escapes what a cell's own LaTeX leaves to be escaped."""
    return text.replace("±", r"$\pm$").replace("–", "--")
