"""A conditional GAN after SPADE, whose map is the picture to be edited (Park et al., CVPR 2019)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from models.base import check_finite
from models.dagan.perceptual import PerceptualConfig, PerceptualModule
from models.diffusion.words import Vocabulary
from models.editing.spade_networks import PatchPyramid, PatchPyramidConfig, SPADEGenerator, SPADEGeneratorConfig
from models.errors import UserError
from models.optimisation import length_of_fit
from models.tasks import Batch, Context
from models.tasks.editing import Edited

Judged = list[list[Tensor]]  # features of each block, the scores last, at each size


@dataclass
class SPADELossConfig:
    """Weights of the generator's losses, beside those of the perceptual loss.

    Args:
        adversarial: The hinge loss.
        feature_matching: Distance of the discriminator's features.
    """

    adversarial: float
    feature_matching: float


@dataclass
class TwoRateConfig:
    """Adam with a rate for each network (two time-scale update rule).

    Args:
        lr_generator: Of the generator.
        lr_discriminator: Of the discriminator.
        betas: Decay of the two moments.
        constant: Share of the steps after which the rates fall to 0 along a line.
    """

    lr_generator: float
    lr_discriminator: float
    betas: tuple[float, float]
    constant: float

    def build(self, parameters: Iterable[nn.Parameter], lr: float, steps: int) -> tuple[Adam, LambdaLR]:
        """Builds an optimiser and a schedule that is stepped after each of the ``steps``."""
        optimiser = Adam(parameters, lr, self.betas)
        return optimiser, LambdaLR(optimiser, lambda step: self.factor(step, steps))

    def factor(self, step: int, steps: int) -> float:
        """The learning rate over its first at a step."""
        falling = steps * (1 - self.constant)
        return min(1.0, (steps - step) / falling) if falling else 1.0


class SPADE(PerceptualModule):
    """Edits in one pass; one model for all edits, whose map is the picture beside a plane of the edit's embedding.

    The paper paints label maps. MCDM compares with it and does not say how a photograph was fed, or how an edit was
    told: both are ours.

    Args:
        image_size: Side of the square images in pixels.
        prompts: The edits that it knows, by the prompts of their targets.
        edit_width: Features of an edit's embedding, of generator and discriminator each.
        generator: The generator.
        discriminator: The discriminator.
        perceptual: The perceptual loss.
        loss_weights: Of the other losses.
        rates: Adam, for each of the two steps.

    Raises:
        UserError: If the picture cannot be halved as often as the generator doubles.
    """

    every_parameter_learns: ClassVar[bool] = False  # each of the two steps moves its own

    def __init__(
        self,
        image_size: int,
        prompts: list[str],
        edit_width: int,
        generator: SPADEGeneratorConfig,
        discriminator: PatchPyramidConfig,
        perceptual: PerceptualConfig,
        loss_weights: SPADELossConfig,
        rates: TwoRateConfig,
    ) -> None:
        super().__init__(image_size)
        if image_size % (step := 2 ** (len(generator.widths) - 1)):
            raise UserError(f"image_size {image_size} is not a multiple of {step}; choose one that is, such as 256.")
        self.automatic_optimization = False
        self.prompts = prompts
        self.perceptual, self.loss_weights, self.rates = perceptual, loss_weights, rates
        self.words = nn.ModuleDict(
            {side: Vocabulary(prompts, 1, edit_width) for side in ("generator", "discriminator")}
        )
        self.generator = SPADEGenerator(generator, 3 + edit_width)
        self.discriminator = PatchPyramid(discriminator, 6 + edit_width)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of the generator, then one of the discriminator (section 3).

        Raises:
            UserError: If a loss is not finite.
        """
        source, target, prompts = batch["source"], batch["target"], batch["target_prompt"]
        fake = self.generator(self.map(source, prompts, "generator"))
        generator, discriminator = self.optimizers()  # type: ignore[attr-defined]

        self.discriminator.requires_grad_(False)
        shown = self.map(source, prompts, "discriminator").detach()
        parts = self._generator_losses(shown, fake, target)
        self._update(generator, torch.stack(list(parts.values())).sum())
        self.discriminator.requires_grad_(True)

        shown = self.map(source, prompts, "discriminator")
        judged = (self.discriminator(torch.cat([shown, x], 1)) for x in (2 * target - 1, fake.detach()))
        parts["discriminator"] = discriminator_hinge(*judged)
        self._update(discriminator, parts["discriminator"])
        for scheduler in self.lr_schedulers():  # type: ignore[union-attr]
            scheduler.step()
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()}, prog_bar=True)

    def map(self, source: Tensor, prompts: Sequence[str], side: str) -> Tensor:
        """What a network is given of pictures ``B 3 H W`` in [0, 1]: in [-1, 1], beside planes of its edit embedding.

        Raises:
            UserError: If a prompt is none of those it was trained with.
        """
        planes = self.words[side](prompts)[:, 0, :, None, None].expand(-1, -1, *source.shape[-2:])
        return torch.cat([2 * source - 1, planes], 1)

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """Maps pictures ``B 3 H W`` in [0, 1] and the prompts of their targets to edits.

        Raises:
            UserError: If a prompt is none of those it was trained with.
        """
        return Edited((self.generator(self.map(image, instruction, "generator")) + 1) / 2, None, 1)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """Two optimisers, generator and discriminator, each with the embedding that it reads, and their schedules."""
        config = self.rates
        _, steps = length_of_fit(self.trainer, by_epochs=False, to_the_end=config.constant < 1)
        firsts = {"generator": config.lr_generator, "discriminator": config.lr_discriminator}
        pairs = [config.build(self._learning(side), lr, steps) for side, lr in firsts.items()]
        return [optimiser for optimiser, _ in pairs], [schedule for _, schedule in pairs]

    def contract(self) -> dict[str, Any]:
        """The edits."""
        return {"prompts": self.prompts}

    def _learning(self, side: str) -> list[nn.Parameter]:
        return [*getattr(self, side).parameters(), *self.words[side].parameters()]

    def _generator_losses(self, shown: Tensor, fake: Tensor, target: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted = self.discriminator(torch.cat([shown, 2 * target - 1], 1))
        judged = self.discriminator(torch.cat([shown, fake], 1))
        return {
            "adversarial": self.loss_weights.adversarial * generator_hinge(judged),
            "feature_matching": self.loss_weights.feature_matching * matching(wanted, judged),
            "perceptual": self.perceptual_loss((fake + 1) / 2, target),
        }

    def _update(self, optimiser: Any, loss: Tensor) -> None:  # noqa: ANN401 - Lightning's wrapper of an optimiser
        check_finite(loss)
        optimiser.zero_grad()
        self.manual_backward(loss)
        optimiser.step()


def generator_hinge(fake: Judged) -> Tensor:
    """The fake's scores should be high (Lim and Ye 2017, Geometric GAN), the mean over the sizes."""
    return torch.stack([-features[-1].mean() for features in fake]).mean()


def discriminator_hinge(real: Judged, fake: Judged) -> Tensor:
    """Scores of real patches should be above 1, of fake ones below -1 (Geometric GAN), the mean over the sizes."""
    pairs = zip(real, fake, strict=True)
    return torch.stack([relu(1 - a[-1]).mean() + relu(1 + b[-1]).mean() for a, b in pairs]).mean()


def matching(real: Judged, fake: Judged) -> Tensor:
    """Sum over blocks of the mean distance of their features, the mean over the sizes (pix2pixHD, eq. 4)."""
    at_sizes = [
        torch.stack([(a.detach() - b).abs().mean() for a, b in zip(ours[:-1], theirs[:-1], strict=True)]).sum()
        for ours, theirs in zip(real, fake, strict=True)
    ]
    return torch.stack(at_sizes).mean()
