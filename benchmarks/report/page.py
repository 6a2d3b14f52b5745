"""A sheet as one self-contained HTML page."""

from jinja2 import Environment
from markupsafe import Markup, escape

from benchmarks.report.sheets import VERDICT_HEADS, Sheet, Style, published_texts, verdict_text

HTML = Style(best="<strong>{}</strong>", second="<u>{}</u>", interval=" <small>[{}]</small>")
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ table.title }}</title>
<style>
  :root { --ink: #1d2129; --soft: #667085; --line: #d8dce3; --wash: #f6f7f9; --good: #136c3a; --bad: #a4262c; }
  body { margin: 2.5rem auto; max-width: 84rem; padding: 0 1.25rem; color: var(--ink);
         font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
  h1 { font-size: 1.5rem; margin: 0 0 1rem; }
  h2 { font-size: 1.05rem; margin: 2.2rem 0 .4rem; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; border-top: 2px solid var(--ink); border-bottom: 2px solid var(--ink);
          font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .7rem; text-align: left; vertical-align: baseline; }
  td { white-space: nowrap; }
  td.claim { white-space: normal; min-width: 18rem; }
  thead th { font-weight: 600; white-space: nowrap; }
  thead tr.groups th { padding-bottom: 0; }
  thead tr.groups th span { display: block; border-bottom: 1px solid var(--line); color: var(--soft);
                            font-weight: 500; }
  thead tr:last-child th { border-bottom: 1px solid var(--ink); }
  tr.block th { background: var(--wash); border-top: 1px solid var(--line); color: var(--soft); font-size: .8rem;
                font-weight: 600; letter-spacing: .04em; text-transform: uppercase; }
  tbody th { font-weight: 400; white-space: nowrap; }
  small { color: var(--soft); font-size: .78em; }
  .scores small { display: block; }
  .none { color: var(--soft); }
  .holds { color: var(--good); font-weight: 600; }
  .contradicted { color: var(--bad); font-weight: 600; }
  .published { opacity: .8; }
  .notes { color: var(--soft); font-size: .85rem; margin-top: 1.6rem; padding-left: 1.1rem; }
</style>
</head>
<body>
<h1>{{ table.title }}</h1>
<div class="scroll"><table class="scores">
<thead>
<tr class="groups"><th></th>
{% for name, span in groups %}
<th colspan="{{ span }}"><span>{{ name }}</span></th>
{% endfor %}
</tr>
<tr><th></th>{% for head in heads %}<th>{{ head }}</th>{% endfor %}</tr>
</thead>
<tbody>
{% for title, rows in blocks %}
<tr class="block"><th colspan="{{ heads | length + 1 }}">{{ title }}</th></tr>
{% for name, cells in rows %}
<tr><th>{{ name }}</th>{% for cell in cells %}<td{{ cell | tone }}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
{% endfor %}
</tbody>
</table></div>
{% for title, verdicts in families %}
<h2>{{ title }}</h2>
<div class="scroll"><table>
<thead><tr>{% for head in verdict_heads %}<th>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for cells in verdicts %}
<tr><td class="claim">{{ cells[0] }}</td>
{% for cell in cells[1:] %}
<td{{ cell | tone }}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table></div>
{% endfor %}
{% for block in table.published %}
<h2>Published figures: another protocol, not comparable</h2>
<p class="none">{{ block.note }}</p>
<div class="scroll"><table class="published">
<thead><tr><th></th>{% for head in block.columns %}<th>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for name, figures in (block | texts).items() %}
<tr><th>{{ name }}</th>{% for figure in figures %}<td>{{ figure }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
{% endfor %}
<ul class="notes">
{% for note in notes %}
<li>{{ note }}</li>
{% endfor %}
</ul>
</body>
</html>
"""


def html(sheet: Sheet) -> str:
    """The page: the table, its verdicts, the published figures and the notes."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"tone": _tone, "texts": published_texts}
    return environment.from_string(PAGE).render(
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
