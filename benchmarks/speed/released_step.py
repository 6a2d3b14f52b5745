"""A training step as the released design of DaGAN takes it: every loss computes what it needs, and keeps it all."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.optim import Adam

from benchmarks.speed.released_dagan import AffinePoints, ReleasedDaGAN
from models.dagan import DaGAN
from models.dagan.perceptual import PerceptualLoss
from models.dagan.transform import RandomTransform
from models.tasks import Batch


class ReleasedStep:
    """Steps of the generator with the keypoint detector, and of the discriminator.

    Args:
        model: A model under the released settings, whose losses are weighted as it says.
        perceptual: Its perceptual loss, of which only the network of features is used.
    """

    def __init__(self, model: DaGAN, perceptual: PerceptualLoss) -> None:
        self.model, self.perceptual, self.networks = model, perceptual, ReleasedDaGAN(model, training=True)
        learnt = {name: tensor for name, tensor in self.networks.tensors.items() if tensor.requires_grad}
        critic = [tensor for name, tensor in learnt.items() if name.startswith("discriminator.")]
        others = [tensor for name, tensor in learnt.items() if not name.startswith("discriminator.")]
        self.learnt = learnt
        self.optimisers = [Adam(part, lr=model.optimiser.lr, betas=model.optimiser.betas) for part in (others, critic)]

    def __call__(self, batch: Batch, transform: RandomTransform) -> None:
        """One step of both."""
        source, driving, networks = batch["source"], batch["driving"], self.networks
        disparity = networks.disparity(source)
        there, here = networks.keypoints(source, disparity), networks.keypoints(driving, networks.disparity(driving))
        fake = networks.draw(source, disparity, there, here)
        moved = transform.image(driving, False)
        losses = [*self._perceptual(fake, driving), *self._adversarial(fake, driving, here[0])]
        losses += self._equivariance(here, networks.keypoints(moved, networks.disparity(moved)), transform)
        losses += [self.model.loss.keypoint_distance * (_crowding(there[0]) + _crowding(here[0]))]
        self._update(0, sum(losses))
        (_, real), (_, made) = (networks.judge(image, here[0]) for image in (driving, fake.detach()))
        self._update(1, (1 - real).square().mean() + made.square().mean())

    def _update(self, number: int, loss: Tensor | int) -> None:
        assert isinstance(loss, Tensor)
        loss.backward()
        self.optimisers[number].step()
        self.optimisers[0].zero_grad()  # the generator's step has filled the discriminator's gradients too
        self.optimisers[1].zero_grad()

    def _perceptual(self, fake: Tensor, real: Tensor) -> list[Tensor]:
        weights, losses = self.perceptual.weights, []
        for scale in self.model.perceptual.scales:
            features = [self.perceptual.features(_smaller(image, scale)) for image in (fake, real)]
            losses += [w * (a - b.detach()).abs().mean() for w, a, b in zip(weights, *features, strict=True)]
        return losses

    def _adversarial(self, fake: Tensor, real: Tensor, points: Tensor) -> list[Tensor]:
        (made, score), (wanted, _) = (self.networks.judge(image, points) for image in (fake, real))
        weight = self.model.loss.feature_matching
        matching = [weight * (a - b).abs().mean() for a, b in zip(wanted, made, strict=True)]
        return [self.model.loss.adversarial * (1 - score).square().mean(), *matching]

    def _equivariance(self, here: AffinePoints, moved: AffinePoints, transform: RandomTransform) -> list[Tensor]:
        value = (here[0] - transform.points(moved[0])).abs().mean()
        product = torch.inverse(here[1]) @ transform.jacobian(moved[0]) @ moved[1]
        turned = (torch.eye(2).to(product) - product).abs().mean()
        return [self.model.loss.equivariance_value * value, self.model.loss.equivariance_jacobian * turned]


def _crowding(points: Tensor) -> Tensor:
    distance = (points[:, :, None] - points[:, None]).norm(dim=-1) + torch.eye(points.shape[1]).to(points)
    return (1 - torch.sign(distance - 0.2)).sum((1, 2)).mean() / points.shape[1] ** 2


def _smaller(image: Tensor, scale: float) -> Tensor:
    """Blurs the whole image, then takes every so many-th pixel."""
    step, sigma = round(1 / scale), (1 / scale - 1) / 2
    if step == 1:
        return image
    line = torch.arange(-round(4 * sigma), round(4 * sigma) + 1.0)  # in float32, as kernels are made
    line = torch.exp(-line.square() / (2 * sigma**2))
    kernel = line[:, None] * line
    kernel = (kernel / kernel.sum()).to(image)
    blurred = conv2d(image, kernel.expand(3, 1, -1, -1), padding=len(line) // 2, groups=3)
    return blurred[:, :, ::step, ::step]
