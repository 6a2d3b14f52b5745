"""What a system's own page says: its name, and the pictures and clips that it shows."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

PAGES = Path(__file__).parents[2] / "models"
LINK = re.compile(r"\[([^\]]+)\]\([./]*results/(figures/[\w./-]+\.(?:png|mp4))\)")


class Exhibit(NamedTuple):
    """A published picture or clip.

    Args:
        words: What it shows, as the page has it.
        picture: The file, relative to the folder of the results; empty without one.
        clip: A video of it, likewise.
    """

    words: str
    picture: str
    clip: str


@cache
def _page(system: str) -> str:
    page = PAGES / system / "README.md"
    return page.read_text(encoding="utf-8") if page.is_file() else ""


def family(base: str) -> str:
    """The system of a table's base: its name before an underscore, where the base itself has no page."""
    return base if _page(base) else base.partition("_")[0]


def title(system: str) -> str:
    """The heading of a system's page; its own name without a page."""
    head = _page(system).partition("\n")[0]
    return head.removeprefix("# ") if head.startswith("# ") else system


def exhibits(system: str, results: Path) -> list[Exhibit]:
    """The pictures and clips of a system's page that lie in the results; a clip stands with the picture of its name."""
    found: dict[str, Exhibit] = {}
    for words, name in LINK.findall(_page(system)):
        stem = str(Path(name).with_suffix(""))
        picture, clip = (f"{stem}{end}" if (results / f"{stem}{end}").is_file() else "" for end in (".png", ".mp4"))
        if picture or clip:
            found.setdefault(stem, Exhibit(words, picture, clip))
    return list(found.values())
