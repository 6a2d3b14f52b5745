"""Pictures of the editors, of their tables' finished fits: ``python -m benchmarks.report.editing_figures``."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.cli import fitted, parse
from benchmarks.evaluation.figures import mark
from benchmarks.report.curve import Trade, draw_trade, values_of
from benchmarks.report.fits import Fits, astronaut, command
from benchmarks.report.panels import enlarged, save, sheet
from benchmarks.report.spec import FOLDER, load
from datamodules.base import PortraitDataModule
from models.base import PortraitModule
from models.errors import UserError
from models.mcdm.pair_stage import PairStage
from models.tasks import Context, perform, seeds
from models.tasks.editing import Edited, Editing

FIGURES = ("edits", "curve", "pairs", "astronaut")
TABLE, OURS, TEST, GENERATED = "mcdm_edit", "ours", "val", "generated pairs"
RIVALS = ("w/o mask", "SDEdit 0.5", "DiffEdit", "SPADE", "BBDM")
FLOOR = "copied input"
CURVE = "L1-outside", "L1-inside"  # what the two ends of the trade are
PEOPLE = 8  # rows of the sheet: each edit once
TILE = 128  # pixels; pictures are enlarged to the largest multiple of their side within it


def samples_of(data: PortraitDataModule, count: int) -> Editing:
    """The first samples of a test as one batch."""
    batches = [data.test_set[i] for i in range(len(data.test_set))]  # type: ignore[arg-type]
    return first_samples(batches, count)


def first_samples(batches: list[Editing], count: int) -> Editing:
    """The first samples of some batches as one."""
    columns = {field.name: [getattr(batch, field.name) for batch in batches] for field in fields(Editing)}
    return Editing(**{name: _first(values, count) for name, values in columns.items()})


def _first(values: list[Any], count: int) -> Any:  # noqa: ANN401 - of any field
    """The first of some tensors, lists or tuples, or dictionaries of them, as one; all else is the same in all."""
    if isinstance(values[0], Tensor):
        return torch.cat(values)[:count]
    if isinstance(values[0], dict):
        return {name: _first([value[name] for value in values], count) for name in values[0]}
    if isinstance(values[0], list | tuple):
        return type(values[0])(each for value in values for each in value)[:count]
    return values[0]


def edits(models: Mapping[str, PortraitModule], shown: Editing) -> Image.Image:
    """Inputs, the mask that ours found and the exact one, ours, the perfect target, and the rivals."""
    assert shown.source is not None
    made: dict[str, Edited] = {name: perform(model, shown) for name, model in models.items()}
    ours = made.pop(OURS)
    columns = {"input": shown.source, "its mask": ours.mask, "exact mask": shown.mask, OURS: ours.image}
    columns |= {"perfect target": shown.target} | {name: edited.image for name, edited in made.items()}
    sides = [target for _, target in shown.prompts]
    return _drawn(columns, [_short(words) for words in sides])


def portrait(model: Any, picture: Tensor, prompts: list[tuple[str, str]]) -> Image.Image:  # noqa: ANN401 - any editor
    """A photograph ``1 3 H W`` under each of some prompts, and the masks that were found."""
    many = picture.expand(len(prompts), -1, -1, -1)
    context = Context(seeds=seeds([target for _, target in prompts]), prompts=tuple(prompts))
    made = model.edit(many, [target for _, target in prompts], context)
    size = enlarged(picture.shape[-1], TILE)
    lines = [list(many), list(made.image)] + ([] if made.mask is None else [list(_rgb(made.mask))])
    sides = ["photograph", "edited"] + ([] if made.mask is None else ["its mask"])
    return sheet(lines, [_short(target) for _, target in prompts], sides, size)


def pairs(stage: PairStage, prompts: list[tuple[str, str]]) -> Image.Image:
    """Pairs that the generator draws, by their prompts."""
    drawn = stage.draw(prompts, seeds([target for _, target in prompts]))
    size = enlarged(stage.image_size, TILE)
    return sheet([list(side) for side in drawn], [_short(target) for _, target in prompts], ["x_A", "x_B"], size)


def stage_of(fits: Fits) -> PairStage:
    """The fit that drew the pairs of the table's row.

    Raises:
        UserError: If it is not done.
    """
    need = fits.run("mcdm_noise", GENERATED, TEST).needs["checkpoint"].needs["pairs"]
    model = fitted(parse(["fit", *need.args]).model, need.checkpoint)
    assert isinstance(model, PairStage)
    return model


def trade(fits: Fits) -> Trade:
    """The methods of the table of guidance, beside those of the main table and the copied input."""
    tables = [load(FOLDER / f"{name}.yaml") for name in ("mcdm_guidance", TABLE)]
    shown = {row.name for table in tables for row in table.rows if row.kind == "method"} | {FLOOR}
    swept, others = (
        {name: values for name, values in values_of(table, TEST, CURVE, fits.choice).items() if name in shown}
        for table in tables
    )
    swept.pop(FLOOR, None)
    if not swept:
        line = f"python -m benchmarks.run_all --scale {fits.choice.scale} --tables mcdm_guidance"
        raise UserError(f"No row of the table of guidance is run; run first:\n  {line}")
    return Trade(CURVE, swept, {name: values for name, values in others.items() if name not in swept})


def picture_of(fits: Fits, name: str) -> Image.Image:
    """One of the figures."""
    if name == "curve":
        return draw_trade(trade(fits))
    shown = samples_of(fits.data(TABLE, OURS, TEST), PEOPLE)
    prompts = list(shown.prompts)
    if name == "pairs":
        return pairs(stage_of(fits), prompts)
    ours = fits.model(TABLE, OURS, TEST)
    if name == "astronaut":
        return portrait(ours, astronaut(ours.image_size), prompts)
    return edits({OURS: ours, **fits.those_done(TABLE, RIVALS, TEST)}, shown)


@torch.no_grad()
def draw(fits: Fits, name: str, folder: Path) -> list[Path]:
    """Draws and writes one figure."""
    return [save(picture_of(fits, name), folder / f"editing_{name}.png", mark("MCDM"))]


def _drawn(columns: Mapping[str, Tensor | None], sides: list[str]) -> Image.Image:
    there = {name: _rgb(column) for name, column in columns.items() if column is not None}
    size = enlarged(next(iter(there.values())).shape[-1], TILE)
    return sheet([list(line) for line in zip(*there.values(), strict=True)], list(there), sides, size)


def _rgb(picture: Tensor) -> Tensor:
    return picture.expand(-1, 3, -1, -1)


def _short(words: str) -> str:
    """A target's words without what all have in common."""
    return words.partition(" of a person ")[2] or words


def main() -> None:
    """Draws and writes."""
    command("editing_figures", __doc__, FIGURES, draw)


if __name__ == "__main__":
    main()
