"""Editing: portraits changed as words say, against the perfect edits, inside and outside the exact masks."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.evaluation.availability import LEAST_PHOTOGRAPH, LEAST_PROXY, face
from benchmarks.evaluation.figures import Write, evenly
from benchmarks.evaluation.saved import Batches, Saved
from benchmarks.tasks import FLAGGED, Fed, as_bytes
from benchmarks.tasks import plain_samples as samples
from datamodules.editing.protocols import EditBatches, EditProtocol
from datamodules.outputs.edits import EDITS, MASKS, edit_files, read_edits, truth_of
from metrics.editing import (
    BoxSSIM,
    Evaluations,
    InsideL1,
    OutsideL1,
    OutsideLPIPS,
    OutsidePSNR,
    OutsideSSIM,
    ToPerfect,
    TrainingToPerfect,
)
from metrics.editing_masks import AreaError, BestIoU, GridCeiling, GridIoU, MaskAP
from metrics.editing_proxy import ProxyEditAccuracy, ProxyEditDirection, ProxyEditScore
from metrics.face import CSIM, IdentityDistance
from metrics.fid import FID
from metrics.image import L1, LPIPS, PSNR, SSIM
from metrics.mask import MaskIoU
from metrics.pictures import as_saved
from metrics.proxy import ProxyFD
from models.tasks.editing import Edited, Editing

__all__ = ["FLAGGED", "samples"]
HEADING = "Portrait editing"
STRIP = "inputs, masks where the method has any, results, perfect edits"
METRICS = (
    *(metric.scored() for metric in (L1, PSNR, SSIM)),
    LPIPS.by("alex"),
    *(metric.scored() for metric in (OutsideL1, OutsidePSNR, OutsideSSIM, OutsideLPIPS)),
    *(metric.scored() for metric in (InsideL1, BoxSSIM, ToPerfect, TrainingToPerfect)),
    MaskIoU.scored(group="edit_mask"),
    *(metric.scored() for metric in (BestIoU, MaskAP, AreaError, GridIoU, GridCeiling)),
    *(metric.scored() for metric in (ProxyEditAccuracy, ProxyEditDirection)),
    ProxyEditScore.scored(least_size=LEAST_PROXY),
    face(CSIM, "procface", group="identity"),  # of the source, whose person is to be kept
    ProxyFD.scored(least_size=LEAST_PROXY),
    face(CSIM, "yunet-sface", group="identity"),
    *(face(metric, "dlib-resnet", group="identity") for metric in (CSIM, IdentityDistance)),
    FID.scored(least_size=LEAST_PHOTOGRAPH),
    Evaluations.scored(),
)
FLAGS_ALL_METRICS = False  # whether a status is of the sample, not of one metric


def facts(test: Mapping[str, Any]) -> dict[str, str]:
    """What decides the column of a table's test: whose pictures are edited."""
    return {"split": str(test.get("split", "val"))}


def truth(batch: Editing) -> list[bytes]:
    """The perfect edits and the exact masks."""
    return [as_bytes(parts) for parts in zip(batch.target, batch.mask, strict=True)]


def side(batch: Editing) -> int:
    """The smaller side of the pictures in pixels."""
    return min(batch.target.shape[-2:])


def feed(edited: Edited, batch: Editing) -> dict[str, Fed]:
    """The whole picture; the same inside and outside the mask, with its words; the person; mask and cost, if known."""
    names, source = batch.sample_id, batch.source
    fed = {"picture": Fed((edited.image, batch.target), names)}
    if source is not None:
        around = batch.target, source, batch.mask, batch.training_target
        asked = [words for _, words in batch.prompts]
        fed["edit"] = Fed((edited.image, *around), names)
        fed["edit_words"] = Fed((edited.image, batch.target, source, asked), names)
        fed["identity"] = Fed((edited.image, source), names)
    if edited.mask is not None:
        fed["edit_mask"] = Fed((as_saved(edited.mask.float()), batch.mask), names)  # ranks tie as those of files do
    if edited.evaluations:
        fed["edit_cost"] = Fed((torch.full((len(names),), float(edited.evaluations)),), names)
    return fed


def lines(edited: Edited, batch: Editing, columns: int) -> list[Tensor]:
    """Input, the method's mask where it has one, result, and perfect edit, one above the other."""
    chosen = evenly(len(batch.target), columns)
    source = [] if batch.source is None else [batch.source]
    masks = [] if edited.mask is None else [edited.mask.float().expand(-1, 3, -1, -1)]
    return [row[chosen] for row in (*source, *masks, edited.image, batch.target)]


def save(edited: Edited, batch: Editing, folder: Path, write: Write) -> None:
    """An edit a pair, and the masks, each in a folder of theirs, under the names of the pairs."""
    for place, name in enumerate(batch.video_id):
        write(edited.image[place], folder / EDITS / f"{name}.png")
        if edited.mask is not None:
            write(edited.mask[place].float().expand(3, -1, -1), folder / MASKS / f"{name}.png")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which of a table's tests the truth is."""
    parser.add_argument("--split", choices=("val", "ood"), default="val", help="whose pictures --truth holds")


def saved(options: argparse.Namespace) -> Saved:
    """Edits that somebody saved: ``edited/<pair>.png``, and ``masks/<pair>.png`` of all pairs or of none.

    Raises:
        UserError: If no truth is named, or an edit is missing.
    """
    protocol = EditProtocol(options.task, split=options.split, max_frames=options.max_frames)
    truth = truth_of(options.truth, options.image_size)
    tests = EditBatches(truth, protocol, batch_size=1, seed=0)
    scored = [truth.pairs[place].name for places in tests.items for place in places]
    files = edit_files(options.predictions, scored, [pair.name for pair in truth.pairs])

    def batches() -> Batches:
        for index in range(len(tests)):
            batch = tests[index]
            height, width = batch.target.shape[-2:]
            picture, mask = read_edits(files, batch.video_id, (height, width))
            yield Edited(picture, mask), batch

    listed = [(name, path) for part in files.values() for name, path in part.items()]
    return Saved(batches, listed, facts({"split": options.split}))
