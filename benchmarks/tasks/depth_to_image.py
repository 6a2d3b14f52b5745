"""Depth to image: pictures of a person over a given face geometry, against those that the geometry belongs to."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.evaluation.availability import LEAST_PHOTOGRAPH, LEAST_PROXY, face
from benchmarks.evaluation.figures import Write, evenly
from benchmarks.evaluation.saved import Piece, Saved, matched
from benchmarks.tasks import FLAGGED, Fed, as_bytes
from benchmarks.tasks import plain_samples as samples
from benchmarks.tasks.depth import grey
from benchmarks.tasks.reenactment import pictures
from datamodules.outputs.matching import Selection, manifest
from metrics.face import AKD, CSIM, NME, IdentityDistance
from metrics.fid import FID
from metrics.image import L1, LPIPS, PSNR, SSIM
from metrics.proxy import ProxyFD
from models.tasks.depth_to_image import DepthToImage

__all__ = ["FLAGGED", "samples"]
HEADING = "Depth to image"
STRIP = "references, depths (nearer is brighter), results, targets"
METRICS = (
    *(metric.scored() for metric in (L1, PSNR, SSIM)),
    LPIPS.by("alex"),
    face(AKD, "procface"),  # whether the geometry is obeyed
    face(CSIM, "procface", group="picture"),  # of the true picture, which shows the person to be kept
    ProxyFD.scored(least_size=LEAST_PROXY),
    face(AKD, "2dfan4"),
    face(CSIM, "yunet-sface", group="picture"),
    *(face(metric, "dlib68") for metric in (AKD, NME)),
    *(face(metric, "dlib-resnet", group="picture") for metric in (CSIM, IdentityDistance)),
    FID.scored(least_size=LEAST_PHOTOGRAPH),
)
FLAGS_ALL_METRICS = False  # whether a status is of the sample, not of one metric


def facts(test: Mapping[str, Any]) -> dict[str, str]:
    """What decides the column of a table's test: nothing."""
    return {}


def truth(batch: DepthToImage) -> list[bytes]:
    """The pictures that are scored against."""
    return [as_bytes([picture]) for picture in batch.target]


def side(batch: DepthToImage) -> int:
    """The smaller side of the pictures in pixels."""
    return min(batch.target.shape[-2:])


def feed(painted: Tensor, batch: DepthToImage) -> dict[str, Fed]:
    """The pictures and the true ones."""
    return {"picture": Fed((painted, batch.target), batch.sample_id)}


def lines(painted: Tensor, batch: DepthToImage, columns: int) -> list[Tensor]:
    """Reference, depth (nearer is brighter), result and target, one above the other."""
    assert batch.reference is not None
    assert batch.depth is not None
    chosen = evenly(len(painted), columns)
    rows = batch.reference, grey(-batch.depth, batch.depth > 0), painted, batch.target
    return [row[chosen] for row in rows]


def save(painted: Tensor, batch: DepthToImage, folder: Path, write: Write) -> None:
    """A picture a frame, under the number of the frame that it is compared with."""
    for picture, video, index in zip(painted, batch.video_id, batch.frame, strict=True):
        write(picture, folder / video / f"{int(index):07d}.png")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The frame that shows the person, where it is always the same one and not scored."""
    whose = "the index, counted from 0, of the frame that was every picture's reference and is not scored; none"
    parser.add_argument("--reference-frame", type=int, help=f"{whose} by default")


def saved(options: argparse.Namespace) -> Saved:
    """Pictures that somebody saved.

    Raises:
        UserError: If the two folders do not match.
    """
    selection = Selection(options.max_frames, options.reference_frame, "--reference-frame")
    matches = manifest(options.predictions, options.truth, ("pictures", "pictures"), selection)

    def read(piece: Piece) -> tuple[Tensor, DepthToImage]:
        painted, target = pictures(piece, options.image_size)
        named = piece.named(options.task, [f"{piece.match.truth.name}/{frame:07d}" for frame in piece.frames])
        return painted, DepthToImage(**named, reference=None, depth=None, target=target)

    return matched(matches, read)
