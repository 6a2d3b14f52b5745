"""Pose and mouth are read off the pictures of strangers by a small network, better than by chance, not without error.

Chance is the training people's mean, the ceiling the exact truth: 0 degrees and a correlation of 1.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from datamodules.world.body.template import template
from datamodules.world.scene.motion import PortraitMotion
from datamodules.world.scene.person import make_person
from datamodules.world.scene.setting import make_setting
from datamodules.world.scene.view import render

SIZE, PEOPLE, STRANGERS, PICTURES, EPOCHS, BATCH = 64, 70, 15, 20, 20, 50
SECONDS = 40.0


@dataclass
class Answers:
    """Rotation vectors ``N 3`` and mouth openings ``N`` of pictures of strangers: true, read off, and the mean."""

    rotation: Tensor
    opening: Tensor
    found_rotation: Tensor
    found_opening: Tensor
    mean_rotation: Tensor


def pictures(number: int) -> tuple[Tensor, Tensor]:
    """Pictures ``N 3 S S`` of one person, and ``N 4``: the head's rotation vector and the opening of the mouth."""
    shape, place, motion = (np.random.SeedSequence(91, spawn_key=(number, part)) for part in range(3))
    who = make_person(shape, "light")
    face = float(np.ptp(who.rest[template("light").landmarks, 1]))
    moving = PortraitMotion(motion, SECONDS)
    moments = [moving(SECONDS * (step + 0.5) / PICTURES) for step in range(PICTURES)]
    frames = render(who, make_setting(place, SIZE, face), moments, SIZE)
    opening = (frames.landmarks_3d[:, 62] - frames.landmarks_3d[:, 66]).norm(dim=1) / face
    turned = torch.from_numpy(Rotation.from_matrix(frames.rotation.numpy()).as_rotvec())
    return frames.image[..., 4:-4, 4:-4], torch.cat([turned, opening[:, None]], 1).float()


def network() -> nn.Sequential:
    def layer(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *layer(3, 16), *layer(16, 32), *layer(32, 32),
        nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 4),
    )  # fmt: skip


def fitted(images: Tensor, targets: Tensor) -> nn.Sequential:
    """A network from pictures to standardised targets."""
    net = network()
    optimiser = torch.optim.Adam(net.parameters(), 2e-3, weight_decay=1e-4)
    steps = EPOCHS * len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(len(images), (BATCH,))
        tinted = images[chosen] * (1 + 0.2 * torch.randn(BATCH, 3, 1, 1))
        loss = ((net(tinted) - targets[chosen]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


@pytest.fixture(scope="module")
def answers() -> Answers:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images, targets = (torch.cat(part) for part in zip(*map(pictures, range(PEOPLE)), strict=True))
        mean, spread = targets.mean(0), targets.std(0)
        net = fitted(images - 0.5, (targets - mean) / spread)
        strange = range(PEOPLE, PEOPLE + STRANGERS)
        images, targets = (torch.cat(part) for part in zip(*map(pictures, strange), strict=True))
        with torch.no_grad():
            found = net(images - 0.5) * spread + mean
    return Answers(targets[:, :3], targets[:, 3], found[:, :3], found[:, 3], mean[:3].expand(len(found), 3))


def degrees(found: Tensor, true: Tensor) -> float:
    """Mean angle between rotations."""
    turned = Rotation.from_rotvec(found.numpy()).inv() * Rotation.from_rotvec(true.numpy())
    return float(np.degrees(turned.magnitude()).mean())


def test_rotation_is_read_better_than_by_chance_and_not_without_error(answers: Answers):
    chance, error = degrees(answers.mean_rotation, answers.rotation), degrees(answers.found_rotation, answers.rotation)
    assert 4 < error < 0.75 * chance, f"{error:.1f} degrees; by chance {chance:.1f}, at best 0"


def test_the_mouth_is_read_better_than_by_chance_and_not_without_error(answers: Answers):
    right = float(np.corrcoef(answers.found_opening, answers.opening)[0, 1])
    rng = np.random.default_rng(0)
    shuffled = [np.corrcoef(rng.permutation(answers.found_opening), answers.opening)[0, 1] for _ in range(200)]
    assert 2 * max(shuffled) < right < 0.95, f"{right:.2f}; of shuffled answers {max(shuffled):.2f}, at best 1"
