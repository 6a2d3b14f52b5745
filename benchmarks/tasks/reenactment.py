"""What the reenactment tasks share: frames are scored against frames, by picture, by face and as clips."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.evaluation.availability import LEAST_PHOTOGRAPH, LEAST_PROXY, face
from benchmarks.evaluation.figures import Write, evenly
from benchmarks.evaluation.saved import Piece, Saved, matched
from benchmarks.tasks import FLAGGED, Fed, as_bytes
from benchmarks.tasks import plain_samples as samples
from datamodules.outputs.matching import Selection, manifest
from datamodules.outputs.sizes import check_sizes
from datamodules.video.clips import Framing
from datamodules.video.samples import to_float
from metrics.face import AKD, CSIM, NME, ExpressionError, HeadPose, IdentityDistance
from metrics.fid import FID, FVD, KID, KVD
from metrics.image import L1, LPIPS, MSSSIM, PSNR, SSIM
from metrics.proxy import ProxyFD, ProxyFVD
from models.errors import UserError
from models.tasks import Motion
from models.tasks.reenactment import Reenactment

__all__ = ["FLAGGED", "samples"]
METRICS = (
    *(metric.scored() for metric in (L1, PSNR, SSIM, MSSSIM)),
    LPIPS.by("alex"),
    face(AKD, "procface"),
    face(CSIM, "procface", group="picture"),  # of the true frame, which shows the person to be kept
    *(face(metric, "procface") for metric in (HeadPose, ExpressionError)),
    *(metric.scored(least_size=LEAST_PROXY) for metric in (ProxyFD, ProxyFVD)),
    *(face(metric, "2dfan4") for metric in (AKD, NME)),
    face(CSIM, "yunet-sface", group="picture"),
    *(face(metric, "dlib68") for metric in (AKD, NME)),
    *(face(metric, "dlib-resnet", group="picture") for metric in (CSIM, IdentityDistance)),
    *(metric.scored(least_size=LEAST_PHOTOGRAPH) for metric in (FID, KID, FVD, KVD)),
)
STRIP = "the source beside driving frames, then results, then targets where there are any"
FLAGS_ALL_METRICS = False  # whether a status is of the sample, not of one metric


def facts(test: Mapping[str, Any]) -> dict[str, str]:
    """What decides the column of a table's test: how motion is transferred, and what is given of the answer."""
    given = {"condition": str(test["condition"])} if test.get("condition") else {}
    return {"motion": str(test.get("motion", "absolute"))} | given


def truth(batch: Reenactment) -> list[bytes]:
    """The frames that are scored against."""
    return [as_bytes([frame]) for frame in _target(batch)[0]]


def side(batch: Reenactment) -> int:
    """The smaller side of the frames in pixels."""
    return min(_target(batch).shape[-2:])


def feed(frames: Tensor, batch: Reenactment) -> dict[str, Fed]:
    """Frames for metrics of pictures; of a video's first batch the clip, too."""
    target = _target(batch)
    fed = {"picture": Fed((frames.flatten(0, 1), target.flatten(0, 1)), batch.sample_id)}
    return fed if batch.piece else fed | {"clip": Fed((frames, target), batch.sample_id[:1])}


def lines(frames: Tensor, batch: Reenactment, columns: int) -> list[Tensor]:
    """The source; one above the other driving frames, results, and targets where there are any."""
    chosen = evenly(frames.shape[1], columns)
    source = batch.source[0]
    blank = torch.ones_like(source)
    rows = [(source, batch.driving), (blank, frames), (blank, batch.target)]
    return [torch.stack([first, *row[0, chosen]]) for first, row in rows if row is not None]


def save(frames: Tensor, batch: Reenactment, folder: Path, write: Write) -> None:
    """A picture a frame, under the number of the frame that it is compared with."""
    for frame, number in zip(frames[0], batch.number, strict=True):
        write(frame, folder / batch.video_id[0] / f"{int(number):07d}.png")


def add_condition(parser: argparse.ArgumentParser) -> None:
    """What the method was given of the answer, which has columns of its own."""
    parser.add_argument("--condition", choices=("depth",), help="what of the answer the method was given, if anything")


def saved_frames(
    options: argparse.Namespace, motion: Motion, skipped: int | None, sources: Mapping[str, int] | None = None
) -> Saved:
    """Frames that somebody saved, beside the true ones.

    Args:
        options: Those of `benchmarks.score`.
        motion: How motion was transferred.
        skipped: The index of the source frame, which is not scored; None for none.
        sources: The index of each video's source frame, where it is one of another clip; 0 of those not named.

    Raises:
        UserError: If the two folders do not match.
    """
    selection = Selection(options.max_frames, skipped)
    matches = manifest(options.predictions, options.truth, ("pictures", "pictures"), selection)

    def read(piece: Piece) -> tuple[Tensor, Reenactment]:
        ours, true = (frames[None] for frames in pictures(piece, options.image_size))
        video = piece.match.truth.name
        first = (sources or {}).get(video, skipped)
        names = [f"{video}/{frame:07d}" + (f"@{first:07d}" if first else "") for frame in piece.frames]
        blank = true[:, 0]
        return ours, Reenactment(
            **piece.named(options.task, names), motion=motion, source=blank, initial=blank, driving=true, target=true,
            number=piece.frames,
        )  # fmt: skip

    return matched(matches, read, facts=facts(vars(options) | {"motion": motion}))


def pictures(piece: Piece, image_size: int | None) -> tuple[Tensor, Tensor]:
    """Outputs and truth ``T 3 H W`` of a piece, in [0, 1].

    Args:
        piece: Which frames.
        image_size: The side in pixels that the truth is scaled to; None leaves it.

    Raises:
        UserError: If their sizes differ, or one cannot be read.
    """
    true, ours = piece.match.truth.pictures(piece.frames), piece.match.saved.pictures(piece.positions)
    if image_size:
        true = [Framing(image_size).image(picture) for picture in true]
    check_sizes(piece.match, piece.positions, ours, true, image_size, piece.sizes)
    return to_float(torch.stack(ours)), to_float(torch.stack(true))


def _target(batch: Reenactment) -> Tensor:
    if batch.target is None:
        raise UserError(
            "These cross-identity pairs have no exact target, so no metric of this version applies; "
            "use clips with targets (the built-in portraits), or the predict subcommand to look at the frames."
        )
    return batch.target
