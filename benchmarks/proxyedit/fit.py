"""Teaches the suite's own edit classifier from edit pairs of the portrait world."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import AdamW
from tqdm import trange

from benchmarks.procface.augment import blurred, compressed, in_part, noisy, recoloured
from benchmarks.procface.fit import rise_and_fall
from metrics.proxyedit import ProxyEdit

TURN, GROW, SHIFT = 6.0, 1.15, 0.06  # degrees; largest change of scale; share of the side
# Shares of the batches that are degraded, and the worst: what networks' pictures look like, and saved files.
RECOLOURED, BLURRED, WORST_BLUR, NOISY, WORST_NOISE, COMPRESSED = 0.6, 0.35, 1.5, 0.3, 0.08, 0.1
QUALITY = (30, 90)  # of JPEG
SMOOTHING = 0.05  # of the labels: features are of use only where the likeliest class is not certain


@dataclass(frozen=True)
class EditRecipe:
    """How the classifier is taught.

    Args:
        steps: Batches.
        batch: Pictures in each.
        rate: Highest learning rate of AdamW, falling as a cosine to nothing.
        decay: Weight decay.
        seed: Of the first weights, the order, and every change to a picture.
    """

    steps: int = 1100
    batch: int = 48
    rate: float = 3e-3
    decay: float = 0.05
    seed: int = 0


def fit(data: dict[str, Tensor], recipe: EditRecipe) -> ProxyEdit:
    """The classifier after its lessons on pictures ``N 3 64 64`` uint8 with their labels ``N``."""
    torch.manual_seed(recipe.seed)
    rng = torch.Generator().manual_seed(recipe.seed)
    network = ProxyEdit().train()
    optimiser = AdamW(network.parameters(), recipe.rate, weight_decay=recipe.decay)
    schedule = rise_and_fall(optimiser, recipe.steps)
    weights = balanced(data["label"])
    bar = trange(recipe.steps, desc="Training", disable=None)
    for step in bar:
        chosen = torch.multinomial(weights, recipe.batch, replacement=True, generator=rng)
        loss = lesson(network, varied(data["image"][chosen].float() / 255, rng), data["label"][chosen])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return network.eval()


def lesson(network: ProxyEdit, images: Tensor, label: Tensor) -> Tensor:
    """The cross entropy of a batch."""
    return F.cross_entropy(network.look(images)[0], label, label_smoothing=SMOOTHING)


def balanced(label: Tensor) -> Tensor:
    """How often each picture is drawn, ``N``: unedited ones three times as often as those of one edit."""
    counts = torch.bincount(label)
    share = torch.ones(len(counts), dtype=torch.float64)
    share[0] = 3.0
    return (share / counts.clamp(min=1))[label]


def varied(images: Tensor, rng: Generator) -> Tensor:
    """Pictures ``B 3 64 64`` in [0, 1], mirrored, framed anew, and some of them recoloured and degraded."""
    images = in_part(reframed(images, rng), RECOLOURED, lambda x: recoloured(x, rng), rng)
    sigma = WORST_BLUR * float(torch.rand((), generator=rng))
    images = in_part(images, BLURRED, lambda x: blurred(x, sigma), rng)
    images = in_part(
        images, NOISY, lambda x: noisy(x, WORST_NOISE * torch.rand(len(x), 1, 1, 1, generator=rng), rng), rng
    )
    return in_part(images, COMPRESSED, lambda x: compressed(x, int(torch.randint(*QUALITY, (), generator=rng))), rng)


def reframed(images: Tensor, rng: Generator) -> Tensor:
    """Pictures mirrored half of the time, and tilted, scaled and shifted a little."""
    count = len(images)
    angle = torch.randn(count, generator=rng).clamp(-2, 2) * torch.pi / 180 * TURN
    scale = GROW ** (2 * torch.rand(count, generator=rng) - 1)
    shift = 2 * SHIFT * (2 * torch.rand(count, 2, 1, generator=rng) - 1)
    flip = 1 - 2 * (torch.rand(count, generator=rng) < 0.5).float()
    cos, sin = angle.cos() * scale, angle.sin() * scale
    turn = torch.stack([torch.stack([cos * flip, -sin], 1), torch.stack([sin * flip, cos], 1)], 1)
    grid = F.affine_grid(torch.cat([turn, shift], 2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="reflection")
