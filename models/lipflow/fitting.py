"""Fitting codes to what is seen at inference time (LiP-Flow, eqs. 10 to 12): all frames at once, each alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from models.rendering import camera
from models.tasks.avatar import Keypoints, Pictures

Objective = Callable[[Tensor], Tensor]  # codes B D -> B


@dataclass
class Schedule:
    """Adam on the codes; its rate falls along a cosine.

    Args:
        steps: Steps.
        lr: Rate of the first step; no dimension travels farther than about ``lr * steps / 2``.
        final_lr: Rate of the last.
    """

    steps: int
    lr: float
    final_lr: float


@dataclass
class FittingConfig:
    """Fitting at inference time.

    Args:
        headset: Steps for headset pictures.
        keypoints: Steps for keypoints.
        frontal: Steps for frontal pictures.
        weights: Weights of the latent likelihood (lambda_L of eq. 10) to choose from, on validation frames alone.
        tolerance: A fit whose objective falls by less than this share in the last tenth of its steps has converged.
        infrared: Share of red, green and blue in what a headset's camera sees.
        match_light: Whether each rendered headset view is first brought to the picture's light by the gain and offset
            of least squares, since a headset has lamps of its own.
    """

    headset: Schedule
    keypoints: Schedule
    frontal: Schedule
    weights: list[float]
    tolerance: float
    infrared: tuple[float, float, float]
    match_light: bool


class Fitted(NamedTuple):
    """The fitted codes ``B D``, the objective ``B`` at start and end, and which converged or diverged, ``B`` bool."""

    codes: Tensor
    start: Tensor
    end: Tensor
    converged: Tensor
    diverged: Tensor


def minimise(objective: Objective, start: Tensor, schedule: Schedule, tolerance: float, label: str = "fit") -> Fitted:
    """Minimises an objective of codes, frame by frame in one batch.

    The frames' objectives are summed and Adam works on each number alone, so that no frame changes another's result.
    Of each frame the code of the least objective is returned; one whose objective ceases to be finite stays there.

    Args:
        objective: Maps codes ``B D`` to ``B``; row i depends on code i only.
        start: ``B D``.
        schedule: Steps and rates.
        tolerance: See `FittingConfig`.
        label: Of the progress bar.
    """
    codes = start.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([codes], lr=schedule.lr)
    slowing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, schedule.steps, schedule.final_lr)
    best, least = codes.detach().clone(), torch.full_like(start[:, 0], torch.inf)
    diverged = torch.zeros_like(least, dtype=torch.bool)
    history: list[Tensor] = []
    for _ in tqdm(range(schedule.steps), desc=label, leave=False, disable=None):
        value = objective(codes)
        (gradient,) = torch.autograd.grad(value[value.isfinite()].sum(), codes)
        diverged = diverged | ~value.isfinite() | ~gradient.isfinite().all(1)
        history.append(value.detach())
        best, least = _better(best, least, codes, value)
        codes.grad = gradient.masked_fill(diverged[:, None], 0)
        optimiser.step()
        slowing.step()
        with torch.no_grad():
            codes.copy_(torch.where(diverged[:, None], best, codes))
    with torch.no_grad():
        history.append(objective(codes))
    best, least = _better(best, least, codes, history[-1])
    diverged = diverged | ~history[-1].isfinite()
    return Fitted(best, history[0], least, _settled(history, tolerance) & ~diverged, diverged)


def random_codes(seeds: Tensor, like: Tensor) -> Tensor:
    """Draws ``B D`` of N(0, I), each frame's from its own seed; of the dtype and device of ``like``, ``B D``."""
    draws = [torch.randn(like.shape[1], generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
    return torch.stack(draws).to(like)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Keeps a module's parameters out of the gradient, since only codes are fitted."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _better(best: Tensor, least: Tensor, codes: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    lower = value.detach() < least  # never true of nan
    return torch.where(lower[:, None], codes.detach(), best), torch.where(lower, value.detach(), least)


def _settled(history: list[Tensor], tolerance: float) -> Tensor:
    earlier = history[-max(2, len(history) // 10)]
    return (earlier - history[-1]).abs() <= tolerance * history[0].abs().clamp(min=1e-12)


def picture_error(drawn: Tensor, given: Pictures, std: float | Tensor) -> Tensor:
    """Mean squared error of drawn pictures ``B N C H W`` where they are seen, in units of ``std``, ``B`` (eq. 11)."""
    squares = ((drawn - given.image) * given.mask).square().sum((1, 2, 3, 4))
    return squares / (given.mask.sum((1, 2, 3, 4)) * drawn.shape[2]).clamp(min=1) / std**2


def as_headset(drawn: Tensor, given: Pictures, config: FittingConfig) -> Tensor:
    """Drawn pictures ``B N 3 h w`` as the headset would show them, ``B N 1 h w``."""
    grey = (drawn * drawn.new_tensor(config.infrared)[:, None, None]).sum(2, keepdim=True)
    return _relit(grey, given) if config.match_light else grey


def _relit(grey: Tensor, given: Pictures) -> Tensor:
    """The picture under the gain and offset of least squares; at their optimum they pass no gradient on."""
    with torch.no_grad():
        x, y = grey.flatten(2), given.image.flatten(2)
        weight = given.mask.flatten(2)
        weight = weight / weight.sum(2, keepdim=True).clamp(min=1)
        mean_x, mean_y = (weight * x).sum(2, keepdim=True), (weight * y).sum(2, keepdim=True)
        variance = (weight * (x - mean_x).square()).sum(2, keepdim=True)
        gain = (weight * (x - mean_x) * (y - mean_y)).sum(2, keepdim=True) / variance.clamp(min=1e-6)
        gain = gain.clamp(0.2, 5.0)  # a flat or inverted match would hide the face
        offset = mean_y - gain * mean_x
    return gain[..., None, None] * grey + offset[..., None, None]


def keypoint_error(vertices: Tensor, keypoints: Keypoints, std: float | Tensor) -> Tensor:
    """Mean squared distance of the projected vertices ``B K 3`` from the present keypoints, per coordinate, ``B``.

    In units of ``std``, the keypoints' own deviation in pictures of side 1; 0 of a frame without keypoints.
    """
    cameras = keypoints.cameras
    pose = cameras.rotation[:, 0], cameras.translation[:, 0]
    flat = camera.project(camera.transform(vertices, *pose), cameras.K[:, 0])[..., :2]
    height, width = cameras.size
    given = torch.where(keypoints.present[..., None], keypoints.points, flat.detach())
    squares = ((flat - given) / flat.new_tensor([width, height])).square().mean(2)
    return (squares * keypoints.present).sum(1) / keypoints.present.sum(1).clamp(min=1) / std**2
