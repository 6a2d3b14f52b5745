"""The portrait world's command line: ``python -m datamodules.world export | sheet | card``."""

import argparse
import errno
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from datamodules.world.export.layouts import LAYOUTS, write_layout
from datamodules.world.sets.portraits import PortraitSpec
from datamodules.world.sets.presets import PRESETS, preset
from datamodules.world.show.card import write_card
from datamodules.world.show.sheet import KINDS, write_sheet
from models.arguments import Gathered
from models.errors import UserError


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes a named set of portraits, a contact sheet or the data card.

    Raises:
        SystemExit: With one sentence if the request cannot be met.
    """
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.seed < 0:
            raise UserError(f"A seed of {chosen.seed}: give --seed 0 or more.")
        chosen.run(chosen)
    except UserError as error:
        sys.exit(str(error))
    except ValueError as error:
        sys.exit(" ".join(str(error).split()))
    except OSError as error:
        remedy = "free some space" if error.errno == errno.ENOSPC else "name another place with --out"
        sys.exit(f"'{error.filename or chosen.out}' cannot be written ({error.strerror}): {remedy}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m datamodules.world", description="The portrait world: named sets, contact sheets, the data card."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write a set in a layout that users of real data have")
    export.set_defaults(run=_export)
    export.add_argument("--preset", required=True, help=", ".join(PRESETS))
    export.add_argument("--layout", help=f"{', '.join(LAYOUTS)}; by default the first that can hold the set")
    export.add_argument("--size", default="tiny", help="tiny, small or full")
    export.add_argument("--store", help="frames or mp4, of the layout voxceleb")
    export.add_argument("--workers", type=int, help="processes; as many as there are cores by default, 0 for none")
    sheet = commands.add_parser("sheet", help="draw a contact sheet")
    sheet.set_defaults(run=_sheet)
    sheet.add_argument("--columns", type=int, default=8)
    sheet.add_argument(
        "--kinds", nargs="+", action=Gathered, default=KINDS, metavar="KIND", help=f"some of {', '.join(KINDS)}"
    )
    card = commands.add_parser("card", help="write the data card and its contact sheet")
    card.set_defaults(run=lambda chosen: write_card(chosen.out, chosen.image_size, chosen.seed))
    for command, size in ((export, None), (sheet, 128), (card, 128)):
        command.add_argument("--out", type=Path, required=command is not card, default="card.md")
        command.add_argument("--image-size", type=int, default=size, help="side of the pictures in pixels")
        command.add_argument("--seed", type=int, default=0, help="other seeds, other people")
    return parser


def _sheet(chosen: argparse.Namespace) -> None:
    write_sheet(chosen.out, chosen.image_size, chosen.columns, chosen.seed, chosen.kinds)


def _export(chosen: argparse.Namespace) -> None:
    if chosen.workers is not None and chosen.workers < 0:
        raise UserError(f"{chosen.workers} workers: give --workers 0 or more.")
    spec = preset(chosen.preset, chosen.size, chosen.seed, chosen.image_size)
    layout = chosen.layout or next(name for name, (kind, _) in LAYOUTS.items() if isinstance(spec, kind))
    if chosen.store is not None:
        if not isinstance(spec, PortraitSpec) or layout != "voxceleb":
            raise UserError("--store is for the layout voxceleb: leave it out.")
        if chosen.store not in ("frames", "mp4"):
            raise UserError(f"'{chosen.store}' is no store: name frames or mp4.")
        spec = replace(spec, store=chosen.store)
    print(write_layout(spec, layout, chosen.out, chosen.workers))


if __name__ == "__main__":
    main()
