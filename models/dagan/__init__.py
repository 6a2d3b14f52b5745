"""DaGAN: talking heads from a source image and a driving video, guided by self-supervised depth (Hong et al., 2022)."""

from dataclasses import asdict, is_dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.base import check_finite
from models.dagan import losses
from models.dagan.depth import DepthConfig, DepthNetwork
from models.dagan.discriminator import Discriminator, DiscriminatorConfig
from models.dagan.family import at_once, build_optimisers, drawn, end_step, initial_frame, log_rebuilt, update
from models.dagan.generator import DEPTH_QUERIES, Generator, GeneratorConfig, SourceCode
from models.dagan.keypoints import AffineKeypoints, KeypointDetector, KeypointDetectorConfig, transfer_motion
from models.dagan.losses import DaGANLossConfig
from models.dagan.motion import MotionConfig, MotionField
from models.dagan.optimisation import DaGANOptimiserConfig
from models.dagan.perceptual import PerceptualConfig, PerceptualModule
from models.dagan.precision import in_full_precision
from models.dagan.sides import check_sides
from models.dagan.transform import RandomTransform, TransformConfig
from models.errors import UserError
from models.published import Publishable
from models.tasks import Batch, Context
from models.tasks.depth import DepthEstimate


class DaGAN(PerceptualModule, Publishable):
    """Depth-aware generative adversarial network, and by its switches FOMM and the paper's ablations (section 3).

    Args:
        image_size: Side of the square images in pixels.
        keypoints: The keypoint detector.
        motion: The dense motion network.
        generator: The generator with its attention.
        discriminator: The discriminator.
        depth: The face depth network; it is left out where neither keypoints nor attention use depth.
        perceptual: The perceptual loss.
        loss: Weights of the other losses.
        transform: The random transform of the equivariance losses.
        optimiser: Adam, for each of the two steps.
        align_corners: Whether warps sample so that the identity grid is the identity; false as released.
        determinant_floor: What the determinants of jacobians are kept away from zero by; 0, as released, inverts them
            as they are.
        joint_pass: Whether a training step finds the keypoints of source, driving and transformed frames in one pass,
            whose batch norms see all three; false as released: one pass each.
        adapt_scale: Whether relative motion is scaled by the size of the faces.
    """

    every_parameter_learns: ClassVar[bool] = False  # each of the two steps moves its own

    def __init__(
        self,
        image_size: int,
        keypoints: KeypointDetectorConfig,
        motion: MotionConfig,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        depth: DepthConfig,
        perceptual: PerceptualConfig,
        loss: DaGANLossConfig,
        transform: TransformConfig,
        optimiser: DaGANOptimiserConfig,
        align_corners: bool,
        determinant_floor: float,
        joint_pass: bool,
        adapt_scale: bool,
    ) -> None:
        given = {name: _plain(value) for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(image_size)
        self.given, self.released = given, ""
        sees_depth = keypoints.depth or generator.attention.query in DEPTH_QUERIES
        _check_size(image_size, keypoints, motion, generator)
        check_sides(image_size, keypoints=keypoints, motion=motion, generator=generator, discriminator=discriminator)
        if sees_depth:
            check_sides(image_size, depth=depth)
        self.automatic_optimization = False
        self.perceptual, self.loss, self.transform, self.optimiser = perceptual, loss, transform, optimiser
        self.align_corners, self.determinant_floor = align_corners, determinant_floor
        self.joint_pass, self.adapt_scale = joint_pass, adapt_scale
        self.detector_sees_depth = keypoints.depth
        self.depth_network: DepthNetwork | None = None
        if sees_depth:
            self.depth_network = DepthNetwork(depth).requires_grad_(False).eval()
        self.keypoint_detector = KeypointDetector(keypoints)
        self.generator = Generator(generator, motion, keypoints.number, align_corners, determinant_floor)
        self.discriminator = Discriminator(discriminator, keypoints.number)
        self.to(memory_format=torch.channels_last)  # convolutions and norms take less time so

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of the generator and keypoint detector, then one of the discriminator (eq. 10).

        Raises:
            UserError: If a loss is not finite.
        """
        source, driving = (batch[name].contiguous(memory_format=torch.channels_last) for name in ("source", "driving"))
        transform = RandomTransform(len(driving), self.transform, driving)
        images = torch.cat([source, driving, transform.image(driving, self.align_corners)])
        disparity = self.disparity(images)
        at_source, at_driving, at_transformed = self._keypoints_of_three(images, disparity)
        source_disparity, driving_disparity = (None, None) if disparity is None else disparity.chunk(3)[:2]

        code = self.generator.encode(source, source_disparity)
        fake = self.generator(code, at_source, at_driving, driving_disparity)
        generator, discriminator = self.optimizers()  # type: ignore[attr-defined]
        parts, slope, judged = self._picture_losses(fake.detach().requires_grad_(), driving, at_driving)
        of_points = self._keypoint_losses(at_source, at_driving, at_transformed, transform)
        parts |= of_points
        check_finite(torch.stack(list(parts.values())).sum())
        parts["discriminator"] = judged
        moved = [*self.discriminator.parameters()]  # and not the picture: all that its step needs is in the slope
        update(self, discriminator, judged, inputs=moved)
        update(self, generator, (fake * slope).sum() + torch.stack(list(of_points.values())).sum())
        end_step(self, parts)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """L1 of driving frames rebuilt from another frame of the same clip."""
        log_rebuilt(self, batch)

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Maps source ``B 3 H W`` and driving ``B T 3 H W`` to ``B T 3 H W``, all RGB in [0, 1] (FOMM, section 3.3).

        Raises:
            UserError: If relative motion is asked for without its initial frame.
        """
        initial, disparity = initial_frame(context), self.disparity(source)
        at_source = self.find_keypoints(source, disparity)
        with torch.autocast(source.device.type, enabled=False):  # once a clip: half of what half precision gets wrong
            code = self.generator.encode(source, disparity)
        at_initial = None if initial is None else self.find_keypoints(initial, self.disparity(initial))
        return drawn(partial(self._animate, code, at_source, at_initial), driving)

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Maps an image ``B 3 H W`` in [0, 1] to its disparity ``B 1 H W``.

        Raises:
            UserError: If this variant has no depth network.
        """
        disparity = self.disparity(image)
        if disparity is None:
            raise UserError("This variant of DaGAN has no depth network; take one whose keypoints or attention use it.")
        return DepthEstimate(disparity, "disparity")

    @in_full_precision
    def disparity(self, images: Tensor) -> Tensor | None:
        """The frozen depth network's map ``B 1 H W`` in (0, 1), or None where no part uses it."""
        if self.depth_network is None:
            return None
        with torch.no_grad():
            return self.depth_network(images)

    @in_full_precision
    def find_keypoints(self, images: Tensor, disparity: Tensor | None) -> AffineKeypoints:
        """Keypoints of images ``B 3 H W`` (eq. 6); in half precision they would be pixels off."""
        return self.keypoint_detector(images, disparity if self.detector_sees_depth else None)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """Two optimisers, generator with keypoint detector and discriminator, each with its schedule."""
        ours = [*self.generator.parameters(), *self.keypoint_detector.parameters()]
        return build_optimisers(self, self.optimiser, ours, self.discriminator.parameters())

    def train(self, mode: bool = True) -> "DaGAN":
        """Changes the mode of all but the frozen depth network."""
        super().train(mode)
        if self.depth_network is not None:
            self.depth_network.eval()
        return self

    def contract(self) -> dict[str, Any]:
        """What changes pictures and does not show in the shapes of the weights."""
        keypoints, attention = self.given["keypoints"], self.given["generator"]["attention"]
        return {
            "align_corners": self.align_corners,
            "determinant_floor": self.determinant_floor,
            "keypoints.temperature": keypoints["temperature"],
            "motion.kp_variance": self.given["motion"]["kp_variance"],
            **{f"attention.{name}": attention[name] for name in ("query", "scale", "pool")},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Writes the arguments down, too, by which ``DaGAN.load_from_checkpoint`` builds the model again."""
        super().on_save_checkpoint(checkpoint)
        if self.released:  # a fit that went on from released weights is read as they are
            checkpoint["released"] = self.released
        checkpoint["hyper_parameters"] = self.given | {"_instantiator": "lightning.pytorch.cli.instantiate_module"}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of another model; released weights are fitted at the rate that is asked for here.

        Raises:
            UserError: If it is another model's, or does not say under which settings its weights were fitted.
        """
        if "contract" not in checkpoint:
            raise UserError(
                "The checkpoint does not say under which settings its weights were fitted, and under others they draw "
                "other pictures; convert a released file by: python -m benchmarks.released --help"
            )
        if checkpoint["contract"] == {} and "loops" in checkpoint:  # a fit from before this contract
            checkpoint["contract"] = self.contract()
        super().on_load_checkpoint(checkpoint)
        self.released = checkpoint.get("released", "")
        if self.released:
            self.optimiser.overwrite(checkpoint.get("optimizer_states", []), checkpoint.get("lr_schedulers", []))

    def on_train_start(self) -> None:
        """Begins a fit that goes on from released weights at the rate that its own schedule has there."""
        if self.released:
            schedules: list[Any] = self.lr_schedulers()  # type: ignore[assignment]
            for schedule in schedules:
                (group,), (factor,) = schedule.optimizer.param_groups, schedule.lr_lambdas
                group["lr"] = self.optimiser.lr * factor(schedule.last_epoch)

    def _animate(
        self, code: SourceCode, source: AffineKeypoints, initial: AffineKeypoints | None, images: Tensor, times: int
    ) -> Tensor:
        """Frames of driving ones ``(B t) 3 H W``, t of each source."""
        few = at_once(images)
        maps = [self.disparity(part) for part in images.split(few)]
        there = self.find_keypoints(images, None if maps[0] is None else torch.cat(maps))  # type: ignore[arg-type]
        here = source.repeat(times)
        if initial is not None:
            there = transfer_motion(here, there, initial.repeat(times), self.adapt_scale, self.determinant_floor)
        samples = torch.arange(len(images), device=images.device) // times
        fields = self.generator.move(code.image[samples], here, there)
        pictures = [
            self.generator.draw(code.of(which), MotionField(*field), disparity)
            for which, *field, disparity in zip(samples.split(few), *(x.split(few) for x in fields), maps, strict=True)
        ]
        return torch.cat(pictures)

    def _keypoints_of_three(self, images: Tensor, disparity: Tensor | None) -> list[AffineKeypoints]:
        """Keypoints of source, driving and transformed frames, one after the other in ``3B 3 H W``."""
        if self.joint_pass:
            return self.find_keypoints(images, disparity).chunk(3)
        maps = [None] * 3 if disparity is None else disparity.chunk(3)
        return [self.find_keypoints(*each) for each in zip(images.chunk(3), maps, strict=True)]

    def _picture_losses(
        self, fake: Tensor, real: Tensor, keypoints: AffineKeypoints
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The generator's losses of its pictures, their gradient at these, and the discriminator's loss.

        What a loss keeps for its gradient is freed before the next, and the discriminator sees a picture once.
        """
        perceptual, slope = self.perceptual_loss.with_slope(fake, real)
        wanted, real_score = self.discriminator(real, keypoints)
        features, score = self.discriminator(fake, keypoints)
        parts = {
            "adversarial": self.loss.adversarial * losses.generator_adversarial(score),
            "feature_matching": self.loss.feature_matching * losses.feature_matching(wanted, features),
        }
        (of_critic,) = torch.autograd.grad(sum(parts.values(), torch.zeros_like(perceptual)), fake, retain_graph=True)
        if self.given["discriminator"]["spectral_norm"]:  # which goes on with its estimate whenever it is asked
            _, score = self.discriminator(fake.detach(), keypoints)
        judged = losses.discriminator_adversarial(real_score, score)
        parts = {"perceptual": perceptual, **{name: part.detach() for name, part in parts.items()}}
        return parts, slope + of_critic, judged

    def _keypoint_losses(
        self,
        source: AffineKeypoints,
        driving: AffineKeypoints,
        transformed: AffineKeypoints,
        transform: RandomTransform,
    ) -> dict[str, Tensor]:
        value = losses.equivariance_value(driving, transformed, transform)
        parts = {"equivariance_value": self.loss.equivariance_value * value}
        if driving.jacobian is not None:
            jacobian = losses.equivariance_jacobian(driving, transformed, transform, self.determinant_floor)
            parts["equivariance_jacobian"] = self.loss.equivariance_jacobian * jacobian
        kind, threshold = self.loss.keypoint_distance_kind, self.loss.keypoint_distance_threshold
        if kind != "none":
            crowding = [losses.keypoint_distance(points.value, threshold, kind) for points in (source, driving)]
            parts["keypoint_distance"] = self.loss.keypoint_distance * (crowding[0] + crowding[1])
        return parts


def _check_size(size: int, keypoints: KeypointDetectorConfig, motion: MotionConfig, generator: GeneratorConfig) -> None:
    steps = (round(1 / keypoints.scale_factor), round(1 / motion.scale_factor), 2**generator.num_down_blocks)
    if any(size % step for step in steps):
        raise UserError(f"image_size {size} is not a multiple of {max(steps)}; choose one that is, such as 256.")


def _plain(value: Any) -> Any:  # noqa: ANN401 - an argument of any kind
    """An argument as a checkpoint holds it, where nothing but plain values is read."""
    return _listed(asdict(value)) if is_dataclass(value) and not isinstance(value, type) else value


def _listed(tree: dict[str, Any]) -> dict[str, Any]:
    return {k: _listed(v) if isinstance(v, dict) else list(v) if isinstance(v, tuple) else v for k, v in tree.items()}
