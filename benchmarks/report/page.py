"""A sheet as one self-contained HTML page."""

from markupsafe import Markup, escape

from benchmarks.report.sheets import VERDICT_HEADS, Sheet, Style, published_texts, verdict_text
from benchmarks.report.templates import template

HTML = Style(best="<strong>{}</strong>", second="<u>{}</u>", interval=" <small>[{}]</small>")


def html(sheet: Sheet) -> str:
    """The page: the table, its verdicts, the published figures and the notes."""
    return template("page.html.j2").render(
        tone=_tone,
        texts=published_texts,
        table=sheet.table,
        groups=sheet.groups,
        heads=sheet.heads,
        blocks=[(t, [(r.name, list(map(Markup, sheet.text(r, HTML)))) for r in rows]) for t, rows in sheet.blocks],
        families=[
            (title, [_verdict(verdict_text(sheet, v, HTML)) for v in verdicts]) for title, verdicts in sheet.families
        ],
        verdict_heads=VERDICT_HEADS,
        notes=[*sheet.notes, sheet.origin],
    )


def _verdict(texts: list[str]) -> list[str]:
    """Marks the advantage, whose tags are ours, as markup; the claim's words stay text."""
    return [*texts[:2], Markup(texts[2]), *texts[3:]]


def _tone(text: str) -> Markup:
    """The class attribute of a cell by what it says."""
    if text in ("holds", "contradicted"):
        return Markup(f' class="{escape(text)}"')
    return Markup(' class="none"') if text.startswith(("n/a", "–", "not separated", "n too small")) else Markup("")
