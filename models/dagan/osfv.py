"""OSFV: one-shot free-view talking heads from keypoints in three dimensions (Wang, Mallya, Liu, CVPR 2021).

Equations and weights are the paper's, as remembered: its text was not at hand. Choices: the head pose is taught by
the portrait world's exact one, where the paper asks a pretrained estimator; the equivariance loss has one set of
canonical keypoints, the source's; pairs of the keypoint prior are of two different keypoints; relative motion.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import relu

from models.dagan import losses
from models.dagan.discriminator import DiscriminatorConfig, PatchDiscriminator
from models.dagan.family import build_optimisers, drawn, end_step, fixed, initial_frame, log_rebuilt, update
from models.dagan.keypoints import AffineKeypoints
from models.dagan.optimisation import DaGANOptimiserConfig
from models.dagan.osfv_networks import (
    CanonicalConfig,
    CanonicalDetector,
    PoseConfig,
    PoseEstimator,
    VolumeConfig,
    VolumeEncoder,
    VolumeGenerator,
    VolumeGeneratorConfig,
    VolumeMotion,
    VolumeMotionConfig,
)
from models.dagan.osfv_volumes import HeadMotion, warp_volume
from models.dagan.perceptual import PerceptualConfig, PerceptualModule
from models.dagan.precision import in_full_precision
from models.dagan.sides import check_sides
from models.dagan.transform import RandomTransform, TransformConfig
from models.editing.spade import discriminator_hinge, generator_hinge
from models.errors import UserError
from models.tasks import Batch, Context

ROTATIONS = ("source_rotation", "driving_rotation")


@dataclass
class OSFVLossConfig:
    """Weights of the losses (section 3.3), beside those of the perceptual loss.

    Args:
        adversarial: Hinge loss of the generator.
        feature_matching: Distance of the discriminator's features.
        equivariance: Keypoints under a known transform, as they are seen from the front.
        keypoint_prior: Crowding of the keypoints, and their mean depth.
        distance: Squared distance in [-1, 1] coordinates below which two keypoints are crowded (D_t).
        mean_depth: What the mean of their z should be (z_t).
        head_pose: Rotation against the truth of the samples; 0 needs none.
        expression: Size of the deltas.
    """

    adversarial: float
    feature_matching: float
    equivariance: float
    keypoint_prior: float
    distance: float
    mean_depth: float
    head_pose: float
    expression: float


class OSFV(PerceptualModule):
    """One-shot free-view synthesis (face-vid2vid).

    Args:
        image_size: Side of the square images in pixels.
        canonical: The detector of canonical keypoints.
        pose: The estimator of pose and expression.
        volume: The volume of features.
        flow: The network of the volume's motion.
        painter: The generator.
        discriminator: The discriminator; it sees pictures alone, so that its ``kp_variance`` is not used.
        perceptual: The perceptual loss.
        loss_weights: Of the other losses.
        transform: The random transform of the equivariance loss.
        optimiser: Adam, for each of the two steps.
        align_corners: Whether warps sample so that the identity grid is the identity.
    """

    every_parameter_learns: ClassVar[bool] = False  # each of the two steps moves its own

    def __init__(
        self,
        image_size: int,
        canonical: CanonicalConfig,
        pose: PoseConfig,
        volume: VolumeConfig,
        flow: VolumeMotionConfig,
        painter: VolumeGeneratorConfig,
        discriminator: DiscriminatorConfig,
        perceptual: PerceptualConfig,
        loss_weights: OSFVLossConfig,
        transform: TransformConfig,
        optimiser: DaGANOptimiserConfig,
        align_corners: bool,
    ) -> None:
        super().__init__(image_size)
        _check(image_size, canonical, volume, flow, discriminator)
        check_sides(image_size, discriminator=discriminator)
        self.automatic_optimization = False
        self.perceptual, self.loss, self.transform = perceptual, loss_weights, transform
        self.optimiser, self.align_corners = optimiser, align_corners
        self.canonical_detector = CanonicalDetector(canonical, volume.depth)
        self.pose_estimator = PoseEstimator(pose, canonical.number)
        self.encoder = VolumeEncoder(volume)
        self.motion = VolumeMotion(flow, volume, canonical.number, align_corners)
        self.generator = VolumeGenerator(painter, volume)
        self.discriminator = PatchDiscriminator(3, discriminator)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of all but the discriminator, then one of it (section 3.3).

        Raises:
            UserError: If a loss is not finite, or the samples lack the head pose.
        """
        source, driving = batch["source"], batch["driving"]
        transform = RandomTransform(len(driving), self.transform, driving)
        images = torch.cat([source, driving, transform.image(driving, self.align_corners)])
        canonical = self.canonical_detector(source)
        here, there, moved = self.pose_estimator(images).chunk(3)
        fake = self.draw(self.encoder(source), here, there, canonical)

        real_features, real_score = self.discriminator(driving)
        features, score = fixed(self.discriminator, fake)
        generator, discriminator = self.optimizers()  # type: ignore[attr-defined]
        parts = {
            "perceptual": self.perceptual_loss(fake, driving),
            "adversarial": self.loss.adversarial * generator_hinge([[score]]),
            "feature_matching": self.loss.feature_matching * losses.feature_matching(real_features, features),
            **self.keypoint_losses(canonical, there, moved, transform),
            **self.pose_losses(batch, here, there),
        }
        update(self, generator, torch.stack(list(parts.values())).sum())
        _, fake_score = self.discriminator(fake.detach())
        parts["discriminator"] = discriminator_hinge([[real_score]], [[fake_score]])
        update(self, discriminator, parts["discriminator"])
        end_step(self, parts)

    def keypoint_losses(
        self, canonical: Tensor, driving: HeadMotion, moved: HeadMotion, transform: RandomTransform
    ) -> dict[str, Tensor]:
        """Equivariance, keypoint prior and size of the deltas."""
        points = driving.place(canonical)
        seen = [AffineKeypoints(x[..., :2], None) for x in (points, moved.place(canonical))]
        prior = keypoint_prior(points, self.loss.distance, self.loss.mean_depth)
        return {
            "equivariance": self.loss.equivariance * losses.equivariance_value(seen[0], seen[1], transform),
            "keypoint_prior": self.loss.keypoint_prior * prior,
            "expression": self.loss.expression * driving.expression.abs().mean(),
        }

    def pose_losses(self, batch: Batch, source: HeadMotion, driving: HeadMotion) -> dict[str, Tensor]:
        """The rotations against those of the samples; nothing where they are not asked for.

        Raises:
            UserError: If the samples have none.
        """
        if not self.loss.head_pose:
            return {}
        if any(name not in batch for name in ROTATIONS):
            raise UserError(
                "The samples have no head pose: set data.init_args.sample to posed_pairs where clips have a truth, "
                "or model.init_args.loss_weights.head_pose to 0."
            )
        truth = torch.cat([batch[name] for name in ROTATIONS])
        error = (torch.cat([source.rotation, driving.rotation]) - truth).abs().mean()
        return {"head_pose": self.loss.head_pose * error}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """L1 of driving frames rebuilt from another frame of the same clip."""
        log_rebuilt(self, batch)

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Maps source ``B 3 H W`` and driving ``B T 3 H W`` to ``B T 3 H W``, all RGB in [0, 1] (section 4).

        Raises:
            UserError: If relative motion is asked for without its initial frame.
        """
        volume, canonical, here = self.encoder(source), self.canonical_detector(source), self.pose_estimator(source)
        initial = initial_frame(context)
        start = None if initial is None else self.pose_estimator(initial)

        def frames(images: Tensor, times: int) -> Tensor:
            ours, there = here.repeat(times), self.pose_estimator(images)
            if start is not None:
                there = transfer_head_motion(ours, there, start.repeat(times))
            repeated = (x.repeat_interleave(times, 0) for x in (volume, canonical))
            return self.draw(next(repeated), ours, there, next(repeated))

        return drawn(frames, driving)

    def draw(self, volume: Tensor, here: HeadMotion, there: HeadMotion, canonical: Tensor) -> Tensor:
        """Moves a volume ``B C D h w`` from one head to another and paints it: ``B 3 H W`` in [0, 1]."""
        flow, occlusion = self.motion(volume, here, there, canonical)
        picture: Tensor = self.generator(warp_volume(volume, flow, self.align_corners), occlusion)
        return picture

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """Two optimisers: everything but the discriminator, and it."""
        parts = (self.canonical_detector, self.pose_estimator, self.encoder, self.motion, self.generator)
        ours = [parameter for part in parts for parameter in part.parameters()]
        return build_optimisers(self, self.optimiser, ours, self.discriminator.parameters())

    def notes(self) -> dict[str, str]:
        """Which perceptual loss the fit used, and by which pose it learnt."""
        taught = "the samples' own head pose" if self.loss.head_pose else "no head pose"
        return super().notes() | {"pose": taught}


def keypoint_prior(points: Tensor, distance: float, mean_depth: float) -> Tensor:
    """Keeps keypoints ``B K 3`` apart, and their mean depth where it should be (section 3.3).

    The sum over pairs of max(0, D_t - |x_i - x_j|^2), and |mean z - z_t|, averaged over the batch.
    """
    squared = (points[:, :, None] - points[:, None]).square().sum(-1)
    apart = ~torch.eye(points.shape[1], dtype=torch.bool, device=points.device)
    crowding = relu(distance - squared[:, apart]).sum(1)
    return (crowding + (points[..., 2].mean(1) - mean_depth).abs()).mean()


@in_full_precision
def transfer_head_motion(source: HeadMotion, driving: HeadMotion, initial: HeadMotion) -> HeadMotion:
    """Moves the source's head as the driving one moved since ``initial``: R_d R_0^-1 R_s, the others by addition."""
    turn = driving.rotation @ initial.rotation.mT @ source.rotation
    shifts = (ours + theirs - start for ours, theirs, start in zip(source[1:], driving[1:], initial[1:], strict=True))
    return HeadMotion(turn, *shifts)


def _check(
    size: int,
    canonical: CanonicalConfig,
    volume: VolumeConfig,
    flow: VolumeMotionConfig,
    discriminator: DiscriminatorConfig,
) -> None:
    needed = (
        round(1 / canonical.scale_factor) * 2**canonical.num_blocks,
        2 ** (volume.num_down_blocks + flow.num_blocks),
    )
    if any(size % step for step in needed):
        raise UserError(f"image_size {size} is not a multiple of {max(needed)}; choose one that is, such as 256.")
    if discriminator.keypoints:
        raise UserError(
            "OSFV's discriminator sees pictures alone: set model.init_args.discriminator.keypoints to false."
        )
