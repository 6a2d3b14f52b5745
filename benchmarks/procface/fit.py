"""Teaches the suite's own face network from pictures of the portrait world."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Generator, Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from tqdm import trange

from benchmarks.procface.augment import FaceBatch, augmented, without_face
from metrics.procface import EMBEDDING, ProcFace
from models.files import write_bytes

MARGIN, SHARPNESS = 0.2, 24.0  # CosFace: how much nearer the right person must be, and what the cosines are scaled by
HIDDEN_WEIGHT = 0.3  # of landmarks that are not seen: they hold the shape together, and cannot be exact
# What each error counts, so that no part of the network waits for another. Expressions are mostly zero: their error is
# squared, for the absolute one is least where nothing is ever said.
WEIGHTS = {"rough": 20.0, "points": 40.0, "rotation": 2.0, "expression": 15.0, "identity": 0.2, "presence": 0.3}
WARM_UP = 0.05  # share of the steps over which the learning rate rises
FACELESS = 8  # one picture without a face comes with this many faces


@dataclass(frozen=True)
class Recipe:
    """How the network is taught.

    Args:
        steps: Batches.
        batch: Faces in each.
        rate: Highest learning rate of AdamW, falling as a cosine to nothing.
        decay: Weight decay.
        seed: Of the first weights, the order, and every change to a picture.
    """

    steps: int = 4000
    batch: int = 32
    rate: float = 2e-3
    decay: float = 0.02
    seed: int = 0


class Lesson(nn.Module):
    """The network with what only its training needs: one direction for each person.

    Reference: Wang et al., CosFace: Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018.

    Args:
        people: Persons to tell apart.
    """

    def __init__(self, people: int) -> None:
        super().__init__()
        self.network = ProcFace()
        self.people = nn.Parameter(F.normalize(torch.randn(people, EMBEDDING), dim=1))

    def training_step(self, batch: FaceBatch, faceless: Tensor) -> dict[str, Tensor]:
        """The error of every part: of faces as `augmented` gives them, and of pictures without one.

        Returns:
            Scalars under the names of `WEIGHTS`; points are in halves of the picture's side.
        """
        images = torch.cat([batch["image"], faceless]).contiguous(memory_format=torch.channels_last)
        outputs = self.network.look(images)
        count = len(batch["image"])
        faces = {name: value[:count] for name, value in outputs.items()}
        present = (torch.arange(len(images)) < count).float()
        weight = batch["visible"] + HIDDEN_WEIGHT * ~batch["visible"]
        return {
            "rough": _pointed(faces["rough"], batch["points"], weight),
            "points": _pointed(faces["points"], batch["points"], weight),
            "rotation": (faces["rotation"] - batch["rotation"]).square().sum((1, 2)).add(1e-6).sqrt().mean(),
            "expression": F.mse_loss(faces["expression"], batch["expression"]),
            "identity": self._told_apart(faces["identity"], batch["person"]),
            "presence": F.binary_cross_entropy_with_logits(outputs["presence"], present),
        }

    def _told_apart(self, embedding: Tensor, person: Tensor) -> Tensor:
        cosine = F.normalize(embedding, dim=1) @ F.normalize(self.people, dim=1).T
        return F.cross_entropy(SHARPNESS * (cosine - MARGIN * F.one_hot(person, len(self.people))), person)


def fit(data: FaceBatch, recipe: Recipe) -> ProcFace:
    """The network after its lessons, its features standardised on the training pictures."""
    torch.manual_seed(recipe.seed)
    rng = torch.Generator().manual_seed(recipe.seed)
    lesson = Lesson(int(data["person"].max()) + 1).to(memory_format=torch.channels_last).train()
    optimiser = AdamW(_groups(lesson, recipe.decay), recipe.rate)
    schedule = rise_and_fall(optimiser, recipe.steps)
    order = _order(len(data["image"]), recipe, rng)
    bar = trange(recipe.steps, desc="Training", disable=None)
    for step in bar:
        errors = lesson.training_step(*_batch(data, order[step], rng))
        optimiser.zero_grad()
        torch.stack([WEIGHTS[name] * error for name, error in errors.items()]).sum().backward()
        nn.utils.clip_grad_norm_(lesson.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            bar.set_postfix({name: f"{error.item():.3f}" for name, error in errors.items()})
    return standardised(lesson.network.eval(), data, rng)


@torch.no_grad()
def standardised(network: ProcFace, data: FaceBatch, rng: Generator, count: int = 1024) -> ProcFace:
    """The network with every feature of mean zero and deviation one over some of the pictures as they are."""
    chosen = torch.randperm(len(data["image"]), generator=rng)[:count]
    pooled = torch.cat([network.look(data["image"][piece].float() / 255)["pooled"] for piece in chosen.split(64)])
    network.centre.copy_(pooled.mean(0))
    network.scale.copy_(pooled.std(0).clamp(min=1e-3))
    return network


def write(network: nn.Module, path: Path) -> None:
    """Writes the weights in half precision."""
    state = network.state_dict()
    kept = {name: value.half().contiguous() for name, value in state.items() if value.is_floating_point()}
    write_bytes(path, save(kept))


def _groups(lesson: Lesson, decay: float) -> list[dict[str, object]]:
    """Weight matrices decay; biases and scales do not."""
    matrices = [value for value in lesson.parameters() if value.ndim > 1]
    others = [value for value in lesson.parameters() if value.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def rise_and_fall(optimiser: Optimizer, steps: int) -> SequentialLR:
    """The learning rate from nothing along a line over the warm-up, then to nothing along a cosine."""
    warm = max(1, round(WARM_UP * steps))
    rise = LinearLR(optimiser, start_factor=1e-12, total_iters=warm)  # torch wants more than 0
    return SequentialLR(optimiser, [rise, CosineAnnealingLR(optimiser, steps - warm)], [warm])


def _order(count: int, recipe: Recipe, rng: Generator) -> Tensor:
    """Which pictures ``steps batch`` are looked at: pass after pass, each in an order of its own."""
    wanted = recipe.steps * recipe.batch
    passes = [torch.randperm(count, generator=rng) for _ in range(-(-wanted // count))]
    return torch.cat(passes)[:wanted].view(recipe.steps, recipe.batch)


def _batch(data: FaceBatch, chosen: Tensor, rng: Generator) -> tuple[FaceBatch, Tensor]:
    batch = augmented({name: value[chosen] for name, value in data.items()}, rng)
    return batch, without_face(batch["image"][: len(chosen) // FACELESS], rng)


def _pointed(points: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean distance along the axes in halves of the side, of the landmarks as they are weighted."""
    return ((points - truth).abs().mean(2) * weight).sum() / (weight.sum())
