"""Monkey-Net: keypoints with covariances move the features of a source image (Siarohin et al., CVPR 2019).

The equations are the paper's, as remembered: its text was not at hand. What it leaves open, or what memory does, is
marked as a choice.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.base import PortraitModule
from models.dagan import losses
from models.dagan.discriminator import DiscriminatorConfig, PatchDiscriminator
from models.dagan.family import build_optimisers, drawn, end_step, fixed, initial_frame, log_rebuilt, update
from models.dagan.monkey_networks import (
    GaussianDetector,
    GaussianDetectorConfig,
    GaussianKeypoints,
    HeatmapMotion,
    HeatmapMotionConfig,
    MonkeyGenerator,
    MonkeyGeneratorConfig,
    heatmaps,
    transfer_gaussians,
)
from models.dagan.optimisation import DaGANOptimiserConfig
from models.dagan.sides import check_sides
from models.tasks import Batch, Context


@dataclass
class MonkeyLossConfig:
    """Weights of the losses (section 3.5).

    Args:
        adversarial: Least-squares loss of the generator.
        image: L1 of the picture, which is the discriminator's input, D_0 of the reconstruction loss.
        features: L1 of the features of each of the discriminator's blocks, D_1 and on.
    """

    adversarial: float
    image: float
    features: float


class MonkeyNet(PortraitModule):
    """Deep motion transfer by moving keypoints.

    Args:
        image_size: Side of the square images in pixels.
        detector: The keypoint detector.
        flow: The network of the dense motion.
        unet: The generator, whose every skip is deformed.
        discriminator: The discriminator; it sees the keypoints' own heatmaps, so that its ``kp_variance`` is not used.
        loss_weights: Of the losses.
        optimiser: Adam, for each of the two steps.
        align_corners: Whether warps sample so that the identity grid is the identity.
    """

    every_parameter_learns: ClassVar[bool] = False  # each of the two steps moves its own

    def __init__(
        self,
        image_size: int,
        detector: GaussianDetectorConfig,
        flow: HeatmapMotionConfig,
        unet: MonkeyGeneratorConfig,
        discriminator: DiscriminatorConfig,
        loss_weights: MonkeyLossConfig,
        optimiser: DaGANOptimiserConfig,
        align_corners: bool,
    ) -> None:
        super().__init__(image_size)
        check_sides(image_size, detector=detector, flow=flow, unet=unet, discriminator=discriminator)
        self.automatic_optimization = False
        self.loss, self.optimiser, self.sees_keypoints = loss_weights, optimiser, discriminator.keypoints
        self.keypoint_detector = GaussianDetector(detector)
        self.motion = HeatmapMotion(flow, detector.number, align_corners)
        self.generator = MonkeyGenerator(unet, detector.number, align_corners)
        channels = 3 + detector.number * discriminator.keypoints
        self.discriminator = PatchDiscriminator(channels, discriminator)
        self.to(memory_format=torch.channels_last)  # convolutions and norms take less time so

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of detector, motion and generator, then one of the discriminator (section 3.5).

        Raises:
            UserError: If a loss is not finite.
        """
        source, driving = batch["source"], batch["driving"]
        here, there = self.keypoint_detector(torch.cat([source, driving])).chunk(2)
        fake = self.draw(source, self.generator.encode(source), here, there)

        real = self.beside_heatmaps(driving, there)
        made = self.beside_heatmaps(fake, there)
        real_features, real_score = self.discriminator(real)
        features, score = fixed(self.discriminator, made)
        generator, discriminator = self.optimizers()  # type: ignore[attr-defined]
        parts = {
            "adversarial": self.loss.adversarial * losses.generator_adversarial(score),
            "image": self.loss.image * (fake - driving).abs().mean(),
            "features": self.loss.features * losses.feature_matching(real_features, features),
        }
        update(self, generator, torch.stack(list(parts.values())).sum())
        _, fake_score = self.discriminator(made.detach())
        parts["discriminator"] = losses.discriminator_adversarial(real_score, fake_score)
        update(self, discriminator, parts["discriminator"])
        end_step(self, parts)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """L1 of driving frames rebuilt from another frame of the same clip."""
        log_rebuilt(self, batch)

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Maps source ``B 3 H W`` and driving ``B T 3 H W`` to ``B T 3 H W``, all RGB in [0, 1].

        Raises:
            UserError: If relative motion is asked for without its initial frame.
        """
        skips, here, initial = self.generator.encode(source), self.keypoint_detector(source), initial_frame(context)
        at_initial = None if initial is None else self.keypoint_detector(initial)

        def frames(images: Tensor, times: int) -> Tensor:
            ours, there = here.repeat(times), self.keypoint_detector(images)
            if at_initial is not None:
                there = transfer_gaussians(ours, there, at_initial.repeat(times))
            repeated = [skip.repeat_interleave(times, 0) for skip in skips]
            return self.draw(source.repeat_interleave(times, 0), repeated, ours, there)

        return drawn(frames, driving)

    def draw(self, source: Tensor, skips: list[Tensor], here: GaussianKeypoints, there: GaussianKeypoints) -> Tensor:
        """The source ``B 3 H W`` with its keypoints moved from ``here`` to ``there``: ``B 3 H W`` in [0, 1]."""
        return self.generator(skips, self.motion(source, here, there), here, there)

    def beside_heatmaps(self, image: Tensor, keypoints: GaussianKeypoints) -> Tensor:
        """What the discriminator sees: images ``B 3 H W`` and, unless switched off, the keypoints they should show."""
        if not self.sees_keypoints:
            return image
        fixed_points = GaussianKeypoints(keypoints.mean.detach(), keypoints.covariance.detach())
        return torch.cat([image, heatmaps(fixed_points, (image.shape[-2], image.shape[-1]))], 1)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """Two optimisers: detector, motion and generator; and the discriminator."""
        ours = [p for part in (self.keypoint_detector, self.motion, self.generator) for p in part.parameters()]
        return build_optimisers(self, self.optimiser, ours, self.discriminator.parameters())
