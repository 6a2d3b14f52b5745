"""TPSMM: thin-plate splines move what affine motions cannot (Zhao and Zhang, CVPR 2022).

Equations and schedule are the paper's, as remembered: its text was not at hand. Choices are the blocks of the
generator, the smoothing of the splines, what relative motion does to the background, and that the warp loss moves
the source's features alone.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.base import check_finite
from models.dagan import losses
from models.dagan.family import build_optimisers, drawn, initial_frame, log_rebuilt
from models.dagan.keypoints import AffineKeypoints
from models.dagan.motion import MotionConfig
from models.dagan.optimisation import DaGANOptimiserConfig
from models.dagan.perceptual import PerceptualConfig, PerceptualModule
from models.dagan.precision import in_full_precision
from models.dagan.sides import check_sides
from models.dagan.tpsmm_networks import (
    BackgroundConfig,
    BackgroundMotion,
    InpaintingConfig,
    InpaintingGenerator,
    SplineDenseMotion,
    SplineDetector,
    SplineMotion,
    SplinesConfig,
)
from models.dagan.transform import RandomTransform, TransformConfig
from models.errors import UserError
from models.tasks import Batch, Context


@dataclass
class TPSMMLossConfig:
    """Weights of the losses (section 3.5), beside those of the perceptual loss.

    Args:
        equivariance: Keypoints under a known transform.
        background: The background's motion there and back.
        warp: Warped features of the source against those of the driving frame.
    """

    equivariance: float
    background: float
    warp: float


@dataclass
class TPSMMScheduleConfig:
    """What changes while it trains.

    Args:
        dropout_first: Chance that a spline is left out in the first epoch.
        dropout_last: That in the last epoch with dropout.
        dropout_epochs: Epochs with dropout.
        background_from: First epoch in which the background moves.
    """

    dropout_first: float
    dropout_last: float
    dropout_epochs: int
    background_from: int

    def dropout(self, epoch: int) -> float:
        """The chance in an epoch, from 0 on; it rises evenly, and then there is none."""
        if epoch >= self.dropout_epochs:
            return 0.0
        return self.dropout_first + (self.dropout_last - self.dropout_first) * epoch / max(1, self.dropout_epochs - 1)


class TPSMM(PerceptualModule):
    """The thin-plate spline motion model.

    Args:
        image_size: Side of the square images in pixels.
        splines: The keypoints and their splines.
        background: The network of the background's motion.
        motion: The dense motion network.
        inpainting: The generator.
        perceptual: The perceptual loss.
        loss_weights: Of the other losses.
        schedule: What changes while it trains.
        transform: The random transform of the equivariance loss.
        optimiser: Adam.
        align_corners: Whether warps sample so that the identity grid is the identity.
    """

    def __init__(
        self,
        image_size: int,
        splines: SplinesConfig,
        background: BackgroundConfig,
        motion: MotionConfig,
        inpainting: InpaintingConfig,
        perceptual: PerceptualConfig,
        loss_weights: TPSMMLossConfig,
        schedule: TPSMMScheduleConfig,
        transform: TransformConfig,
        optimiser: DaGANOptimiserConfig,
        align_corners: bool,
    ) -> None:
        super().__init__(image_size)
        step = max(2**inpainting.num_down_blocks, round(1 / motion.scale_factor))
        if image_size % step:
            raise UserError(f"image_size {image_size} is not a multiple of {step}; choose one that is, such as 256.")
        check_sides(image_size, motion=motion)
        self.perceptual, self.loss, self.transform = perceptual, loss_weights, transform
        self.schedule, self.optimiser, self.align_corners = schedule, optimiser, align_corners
        self.detector = SplineDetector(splines)
        self.background = BackgroundMotion(background)
        self.motion = SplineDenseMotion(motion, splines, inpainting.num_down_blocks + 1, align_corners)
        self.generator = InpaintingGenerator(inpainting, align_corners)
        self.to(memory_format=torch.channels_last)  # convolutions and norms take less time so

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Perceptual, equivariance, background and warp loss; no adversary (section 3.5).

        Raises:
            UserError: If the loss is not finite.
        """
        source, driving = batch["source"], batch["driving"]
        transform = RandomTransform(len(driving), self.transform, driving)
        moved = transform.image(driving, self.align_corners)
        at_source, at_driving, at_moved = self.detector(torch.cat([source, driving, moved])).chunk(3)
        there_and_back = self.background(torch.cat([source, driving]), torch.cat([driving, source])).chunk(2)
        is_moving = self.current_epoch >= self.schedule.background_from
        background = there_and_back[0] if is_moving else torch.eye(3).to(at_source).expand(len(source), 3, 3)
        dropout = self.schedule.dropout(self.current_epoch)
        flow, occlusions = self.motion(source, at_source, at_driving, background, dropout)
        deformed = self.generator.deform(self.generator.encode(source), flow)
        fake = self.generator(deformed, occlusions)
        with torch.no_grad():
            wanted = self.generator.encode(driving)

        points = [AffineKeypoints(x.flatten(1, 2), None) for x in (at_driving, at_moved)]
        parts = {
            "perceptual": self.perceptual_loss(fake, driving),
            "equivariance": self.loss.equivariance * losses.equivariance_value(points[0], points[1], transform),
            "background": self.loss.background * is_moving * there_and_back_error(*there_and_back),
            "warp": self.loss.warp * losses.feature_matching(wanted, deformed),
        }
        loss = torch.stack(list(parts.values())).sum()
        check_finite(loss)
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()}, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """L1 of driving frames rebuilt from another frame of the same clip."""
        log_rebuilt(self, batch)

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Maps source ``B 3 H W`` and driving ``B T 3 H W`` to ``B T 3 H W``, all RGB in [0, 1].

        The background moves as the driver's has since the source, or, in relative motion, since the initial frame.

        Raises:
            UserError: If relative motion is asked for without its initial frame.
        """
        features, at_source, initial = self.generator.encode(source), self.detector(source), initial_frame(context)
        change = torch.zeros_like(at_source) if initial is None else at_source - self.detector(initial)
        start = source if initial is None else initial

        def frames(images: Tensor, times: int) -> Tensor:
            image, first, ours, added, *encoded = (
                x.repeat_interleave(times, 0) for x in (source, start, at_source, change, *features)
            )
            there = self.detector(images) + added
            flow, occlusions = self.move(image, ours, there, self.background(first, images))
            return self.generator(self.generator.deform(encoded, flow), occlusions)

        return drawn(frames, driving)

    def move(self, image: Tensor, source: Tensor, driving: Tensor, background: Tensor) -> SplineMotion:
        """The motion of source images ``B 3 H W`` by keypoints ``B K N 2`` and the background's ``B 3 3``, all kept."""
        motion: SplineMotion = self.motion(image, source, driving, background, 0.0)
        return motion

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """One optimiser and its schedule."""
        (optimiser,), (schedule,) = build_optimisers(self, self.optimiser, self.parameters())
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]


@in_full_precision
def there_and_back_error(there: Tensor, back: Tensor) -> Tensor:
    """Mean distance of the product of two affine motions ``B 3 3`` from rest (section 3.5)."""
    product = back @ there
    return (product - torch.eye(3).to(product)).abs().mean()
