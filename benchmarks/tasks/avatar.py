"""How avatars are scored: pictures of every scored view, vertices of every frame, and how each fit went."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from metrics.base import PerSampleMetric, Scored, Status
from metrics.geometry import StandardisedVertexError, VertexError
from metrics.image import PSNR, SSIM
from models.tasks import Batch
from models.tasks.avatar import AvatarEstimate, FitReport

STANDARDISED = "standardised mesh"  # vertices in units of the training set's spread
METRICS: tuple[Scored, ...] = (
    *(metric.scored() for metric in (PSNR, SSIM, VertexError)),
    StandardisedVertexError.scored(name="Geom", group=STANDARDISED),
)


def samples(batch: Batch) -> list[tuple[str, str, int]]:
    """The samples of a batch as (sample, cluster, frame): each frame, and each view of it.

    A cluster is a held-out segment: what the frames of one share, others do not.
    """
    frames = list(zip(batch["sample_id"], batch["video_id"], batch["frame"], strict=True))
    views = [(_view_id(s, view), video, int(f)) for s, video, f in frames for view in batch["view_names"]]
    return [(sample, video, int(frame)) for sample, video, frame in frames] + views


def update(metrics: Sequence[PerSampleMetric], estimate: AvatarEstimate, batch: Batch) -> None:
    """Scores a batch; a fit that has not converged counts, with a status beside its scores.

    Pictures are compared inside the true mesh's silhouette, in front of black: of the whole face, also of what the
    headset did not see (LiP-Flow, section 4.2).
    """
    views = batch["views"]
    status = _status(estimate.report, len(estimate.vertices))
    for metric in metrics:
        if metric.card.group in ("mesh", STANDARDISED):
            unit = batch["vertex_std"] if metric.card.group == STANDARDISED else 1.0
            metric.update(estimate.vertices / unit, batch["truth"] / unit, batch["sample_id"], status)
        else:
            names = [_view_id(sample, view) for sample in batch["sample_id"] for view in batch["view_names"]]
            pair = (estimate.renders * views.mask).flatten(0, 1), (views.image * views.mask).flatten(0, 1)
            metric.update(*pair, names, status.repeat_interleave(len(batch["view_names"])))


def fits(estimate: AvatarEstimate, batch: Batch) -> pd.DataFrame:
    """How the fit of each frame went; empty of a method that does not fit."""
    report = estimate.report
    if report is None:
        return pd.DataFrame()
    told = {name: getattr(report, name).tolist() for name in ("start", "end", "converged", "diverged")}
    return pd.DataFrame({"sample_id": batch["sample_id"], **told, "weight": report.weight})


def picture_row(estimate: AvatarEstimate, batch: Batch, columns: int = 4) -> list[Tensor]:
    """Lines of a fitting strip, each ``N 3 H W``: observation, start, final and truth of evenly spread frames.

    Without a fit there is no start, and of the dome's data no observation.
    """
    chosen = torch.linspace(0, len(estimate.vertices) - 1, columns).round().long()
    middle = len(batch["view_names"]) // 2
    views = batch["views"]
    truth = (views.image * views.mask)[chosen, middle]
    lines = [(estimate.renders * views.mask)[chosen, middle], truth]
    if estimate.report is not None:
        lines.insert(0, (estimate.report.first * views.mask)[chosen, middle])
    observed = _observation(batch, chosen, truth.shape[-2:])
    return [*([] if observed is None else [observed]), *lines]


def _observation(batch: Batch, chosen: Tensor, size: Sequence[int]) -> Tensor | None:
    """What the fit was given, as pictures of the frontal view's size."""
    target = batch["target"]
    if target == "frontal":
        return batch["frontal"].image[chosen, 0]
    if target == "headset":
        seen = torch.cat(list((batch["headset"].image * batch["headset"].mask)[chosen].unbind(1)), -1)
        pictures = torch.nn.functional.interpolate(seen, scale_factor=size[1] / seen.shape[-1], mode="area")
        missing = size[0] - pictures.shape[-2]
        padded = torch.nn.functional.pad(
            pictures, (0, size[1] - pictures.shape[-1], missing // 2, missing - missing // 2)
        )
        return padded.expand(-1, 3, -1, -1)
    if target == "keypoints":
        return torch.stack(
            [_dots(points, batch["keypoints"].cameras.size, size) for points in batch["keypoints"].points[chosen]]
        )
    return None


def _dots(points: Tensor, given: Sequence[int], size: Sequence[int]) -> Tensor:
    """White dots on black where the points lie that are present."""
    picture = torch.zeros(3, *size)
    scale = points.new_tensor([size[1] / given[1], size[0] / given[0]])
    places = (((points + 0.5) * scale) - 0.5)[points.isfinite().all(1)].round().long().cpu()
    inside = ((places >= 0) & (places < torch.tensor([size[1], size[0]]))).all(1)
    picture[:, places[inside, 1], places[inside, 0]] = 1
    return picture


def _status(report: FitReport | None, count: int) -> Tensor:
    flags = torch.full((count,), int(Status.OK))
    if report is not None:
        flags[~report.converged.cpu()] = int(Status.NOT_CONVERGED)
        flags[report.diverged.cpu()] = int(Status.DIVERGED)
    return flags


def _view_id(sample: str, view: str) -> str:
    return f"{sample}-{view}"


def summary(told: pd.DataFrame) -> dict[str, Any]:
    """Counts for the record of a run, of what `fits` told: how many fits there were, and how they ended."""
    if told.empty:
        return {}
    return {
        "fits": len(told),
        "not_converged": int((~told["converged"]).sum()),
        "diverged": int(told["diverged"].sum()),
    }
