"""Avatars: pictures of every scored view, vertices of every frame, and how each fit went."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.cli import data_module, parse
from benchmarks.evaluation.figures import Write, evenly
from benchmarks.evaluation.saved import Batches, Saved
from benchmarks.tasks import FLAGGED, Fed, Sample, as_bytes, plain_samples
from datamodules.base import PortraitDataModule
from datamodules.outputs.avatars import MESHES, mesh_files, read_meshes, read_renders, render_files
from metrics.base import Status
from metrics.geometry import StandardisedVertexError, VertexError
from metrics.image import PSNR, SSIM
from models.errors import UserError
from models.tasks.avatar import AvatarEstimate, AvatarFrames, FitReport, Keypoints, Pictures

__all__ = ["FLAGGED"]
HEADING = "Avatar"
STRIP = "what was observed and where the fit began, if anything; the avatar; the truth"
FLAGS_ALL_METRICS = False  # whether a status is of the sample, not of one metric


STANDARDISED = "standardised mesh"  # vertices in units of the training set's spread
METRICS = (
    *(metric.scored() for metric in (PSNR, SSIM, VertexError)),
    StandardisedVertexError.scored(name="Geom", group=STANDARDISED),
)


def samples(batch: AvatarFrames) -> list[Sample]:
    """Each frame, whose mesh is scored, and each view of it; a cluster is a held-out segment."""
    frames = plain_samples(batch)
    views = [Sample(_view_id(name, view), video, f) for name, video, f in frames for view in batch.view_names]
    return frames + views


def truth(batch: AvatarFrames) -> list[bytes]:
    """The frames' vertices, then the pictures of their views."""
    return [as_bytes([part]) for part in (*batch.truth, *batch.views.image.flatten(0, 1))]


def side(batch: AvatarFrames) -> int:
    """The smaller side of the views in pixels."""
    return min(batch.views.image.shape[-2:])


def feed(estimate: AvatarEstimate, batch: AvatarFrames) -> dict[str, Fed]:
    """Pictures and meshes; a fit that has not converged counts, with a status beside its scores.

    Pictures are compared inside the true mesh's silhouette, in front of black: of the whole face, also of what the
    headset did not see (LiP-Flow, section 4.2).
    """
    views, unit = batch.views, batch.vertex_std
    status = _status(estimate.report, len(estimate.vertices))
    names = [_view_id(sample, view) for sample in batch.sample_id for view in batch.view_names]
    pictures = (estimate.renders * views.mask).flatten(0, 1), (views.image * views.mask).flatten(0, 1)
    return {
        "picture": Fed(pictures, names, status.repeat_interleave(len(batch.view_names))),
        "mesh": Fed((estimate.vertices, batch.truth), batch.sample_id, status),
        STANDARDISED: Fed((estimate.vertices / unit, batch.truth / unit), batch.sample_id, status),
    }


def details(estimate: AvatarEstimate, batch: AvatarFrames) -> pd.DataFrame:
    """How the fit of each frame went; empty of a method that does not fit."""
    report = estimate.report
    if report is None:
        return pd.DataFrame()
    columns = {name: getattr(report, name).tolist() for name in ("start", "end", "converged", "diverged")}
    return pd.DataFrame({"sample_id": batch.sample_id, **columns, "weight": report.weight})


def lines(estimate: AvatarEstimate, batch: AvatarFrames, columns: int = 4) -> list[Tensor]:
    """Lines of a fitting strip, each ``N 3 H W``: observation, start, final and truth of evenly spread frames.

    Without a fit there is no start, and of the dome's data no observation.
    """
    chosen = evenly(len(estimate.vertices), columns)
    middle = len(batch.view_names) // 2
    views = batch.views
    shown = [views.image] if estimate.report is None else [estimate.report.first, views.image]
    shown.insert(-1, estimate.renders)
    rows = [(pictures * views.mask)[chosen, middle] for pictures in shown]
    observed = _observation(batch, chosen, rows[-1].shape[-2:])
    return [*([] if observed is None else [observed]), *rows]


def _observation(batch: AvatarFrames, chosen: Tensor, size: Sequence[int]) -> Tensor | None:
    """What the fit was given, as pictures of the frontal view's size; None of the dome's data."""
    given = {"frontal": batch.frontal, "headset": batch.headset, "keypoints": batch.keypoints}.get(batch.target)
    if isinstance(given, Keypoints):
        return torch.stack([_dots(points, given.cameras.size, size) for points in given.points[chosen]])
    if given is None:
        return None
    return given.image[chosen, 0] if given is batch.frontal else _side_by_side(given, chosen, size)


def _side_by_side(headset: Pictures, chosen: Tensor, size: Sequence[int]) -> Tensor:
    """The headset's views in a row, as wide as a picture, with bars above and below."""
    views = torch.cat(list((headset.image * headset.mask)[chosen].unbind(1)), -1)
    pictures = torch.nn.functional.interpolate(views, scale_factor=size[1] / views.shape[-1], mode="area")
    missing = size[0] - pictures.shape[-2]
    margins = (0, size[1] - pictures.shape[-1], missing // 2, missing - missing // 2)
    return torch.nn.functional.pad(pictures, margins).expand(-1, 3, -1, -1)


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


def summary(table: pd.DataFrame) -> dict[str, int]:
    """Counts for the record of a run, of `details`: how many fits there were, and how they ended."""
    if table.empty:
        return {}
    return {
        "fits": len(table),
        "not_converged": int((~table["converged"]).sum()),
        "diverged": int(table["diverged"].sum()),
    }


def save(estimate: AvatarEstimate, batch: AvatarFrames, folder: Path, write: Write) -> None:
    """A picture a view and frame, and the frame's vertices in metres as ``.npy`` in float32."""
    for i, (video, frame) in enumerate(zip(batch.video_id, batch.frame, strict=True)):
        for render, view in zip(estimate.renders[i], batch.view_names, strict=True):
            write(render, folder / video / view / f"{int(frame):07d}.png")
        mesh = folder / video / MESHES / f"{int(frame):07d}.npy"
        mesh.parent.mkdir(parents=True, exist_ok=True)
        np.save(mesh, estimate.vertices[i].float().cpu().numpy())


def facts(test: Mapping[str, Any]) -> dict[str, str]:
    """What decides the column of a table's test: what the avatar is made from."""
    made = str(test.get("avatar", "reconstruct"))
    return {"avatar": made, "drive": str(test.get("drive", "headset")) if made == "fit" else ""}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The configuration that says which capture, frames and views are the truth, and what drove the avatar."""
    files = "the files that name the data, in place of --truth"
    parser.add_argument("-c", "--config", nargs="+", action="extend", default=[], help=files)
    parser.add_argument("--avatar", choices=("reconstruct", "fit"), default="fit")
    parser.add_argument("--drive", choices=("headset", "keypoints", "frontal"), default="headset")


def saved(options: argparse.Namespace) -> Saved:
    """Avatars that somebody saved, beside the frames of a capture that a test run of the same files would score.

    Raises:
        UserError: If no configuration is named, or a picture is missing.
    """
    if not options.config or options.truth:
        example = "-c benchmarks/lipflow.yaml benchmarks/tiny/lipflow.yaml"
        raise UserError(f"The truth of avatars is a capture: name it by its files instead of --truth: {example}.")
    data = _data(options)
    has_mesh = any(options.predictions.glob(f"*/{MESHES}/*.npy"))
    files = [
        (path.parent.parent.name, path)
        for pattern in ("*/*/*.png", f"*/{MESHES}/*.npy")
        for path in sorted(options.predictions.glob(pattern))
    ]

    def batches() -> Batches:
        for batch in data.test_dataloader():
            renders = read_renders(render_files(options.predictions, batch), batch)
            meshes = read_meshes(mesh_files(options.predictions, batch), batch) if has_mesh else batch.truth
            yield AvatarEstimate(meshes, renders), batch

    without = {} if has_mesh else dict.fromkeys(("Vertex", "Geom"), "no mesh saved")
    return Saved(batches, files, facts(vars(options)), without)


def _data(options: argparse.Namespace) -> PortraitDataModule:
    """The data module of the files, set up for the test."""
    test = [f"--data.init_args.test.{name}={getattr(options, name)}" for name in ("avatar", "drive")]
    if options.max_frames:
        test.append(f"--data.init_args.test.max_frames={options.max_frames}")
    config = parse(["test", *(part for file in options.config for part in ("-c", file)), *test])
    data = data_module(config.data)
    data.prepare_data()
    data.setup("test")
    return data
