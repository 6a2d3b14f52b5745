"""The first stage of DaGAN: depth, pose and camera learnt from face videos alone (DaGAN, section 3.2)."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from kornia.augmentation import ColorJitter, VideoSequential
from torch import Tensor
from torch.nn.functional import interpolate

from models import weights
from models.base import PortraitModule, check_finite
from models.dagan.depth import DepthConfig, DepthNetwork, PoseNetwork, RigidMotion
from models.dagan.optimisation import DaGANOptimiserConfig
from models.dagan.precision import exact
from models.dagan.reprojection import (
    disparity_to_depth,
    photometric_error,
    reproject,
    rigid_transform,
    sample_pixels,
    smoothness,
)
from models.dagan.sides import check_sides
from models.errors import UserError
from models.tasks import Batch, Context
from models.tasks.depth import DepthEstimate

IMAGENET = "resnet18_imagenet"
IMAGENET_SIZE = (18, 64)  # layers, and features after the first convolution
PREVIOUS, TARGET, NEXT = range(3)


class DepthStage(PortraitModule):
    """Learns depth by predicting each frame from its neighbours through depth, pose and camera (eqs. 1 to 5).

    Args:
        image_size: Side of the square images in pixels.
        depth: The face depth network.
        pose_features: Features of the heads of the pose network.
        pose_scale: Factor on the six numbers of a pose.
        intrinsics: ``learned`` gives the camera a gradient; ``truncated`` cuts it to whole pixels, as released.
        pretrained: Whether the trunks start from ImageNet: ``imagenet``, ``none``, or ``auto`` where its file is, and
            the trunks are of its size: 18 layers and width 64.
        alpha: Weight of SSIM against L1.
        halve_ssim: Whether the structural term is (1 - SSIM)/2 (released code) or 1 - SSIM (eq. 5).
        auto_mask: Whether pixels that the unmoved neighbour explains better are left out.
        smoothness_weight: Weight of the smoothness of disparity at full size, halved at each smaller scale.
        nearest: Depth at disparity 1.
        farthest: Depth at disparity 0.
        jitter: Brightness, contrast, saturation and hue jitter of what the networks see (not of what the losses
            compare), or empty for none.
        jitter_probability: How often a sample is jittered.
        optimiser: Adam.
        align_corners: Whether warps sample so that no motion is the identity; false as released.
    """

    def __init__(
        self,
        image_size: int,
        depth: DepthConfig,
        pose_features: int,
        pose_scale: float,
        intrinsics: Literal["learned", "truncated"],
        pretrained: Literal["auto", "imagenet", "none"],
        alpha: float,
        halve_ssim: bool,
        auto_mask: bool,
        smoothness_weight: float,
        nearest: float,
        farthest: float,
        jitter: list[float],
        jitter_probability: float,
        optimiser: DaGANOptimiserConfig,
        align_corners: bool,
    ) -> None:
        super().__init__(image_size)
        check_sides(image_size, depth=depth)
        self.alpha, self.halve_ssim, self.auto_mask = alpha, halve_ssim, auto_mask
        self.smoothness_weight, self.nearest, self.farthest = smoothness_weight, nearest, farthest
        self.optimiser, self.align_corners = optimiser, align_corners
        self.truncated = intrinsics == "truncated"
        self.depth_network = DepthNetwork(depth)
        self.pose_network = PoseNetwork(depth.layers, depth.width, pose_features, pose_scale, self.truncated)
        self.jitter = None
        if jitter:
            brightness, contrast, saturation, hue = jitter
            change = ColorJitter(brightness, contrast, saturation, hue, p=jitter_probability)
            self.jitter = VideoSequential(change, data_format="BTCHW")
        self.pretrained = _starts_from_imagenet(pretrained, depth.layers, depth.width)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The photometric and smoothness losses of a batch of triplets (eq. 5).

        Raises:
            UserError: If the loss is not finite.
        """
        frames = batch["frames"]
        seen = frames if self.jitter is None else self.jitter(frames)
        motions, still = self.motions(seen), self.still_errors(frames)
        pyramid = self.depth_network.pyramid(seen[:, TARGET])
        rough = [smoothness(disparity, frames[:, TARGET]) / 2**level for level, disparity in enumerate(pyramid)]
        loss = self.photometric_loss(pyramid, motions, frames, still)
        loss = loss + self.smoothness_weight * torch.stack(rough).mean()
        check_finite(loss)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def motions(self, frames: Tensor) -> tuple[RigidMotion, RigidMotion]:
        """The motion from previous to target, and from target to next, in triplets ``B 3 3 H W`` (eq. 2)."""
        first, second = frames[:, : TARGET + 1].flatten(1, 2), frames[:, TARGET:].flatten(1, 2)
        pairs = torch.cat([first, second]).chunk(2, 1)
        both = self.pose_network(*pairs)
        before, after = (RigidMotion(*part) for part in zip(*(x.chunk(2) for x in both), strict=True))
        if self.truncated:  # as released: the camera of the pair that came last is used for both
            before = before._replace(camera=after.camera)
        return before, after

    def still_errors(self, frames: Tensor) -> list[Tensor]:
        """How well each unmoved neighbour explains the target: what auto-masking compares with (monodepth2, eq. 5)."""
        if not self.auto_mask:
            return []
        errors = [self._error(frames[:, i], frames[:, TARGET]) for i in (PREVIOUS, NEXT)]
        return [error + 1e-5 * torch.randn_like(error) for error in errors]  # breaks ties in favour of neither

    def photometric_loss(
        self, pyramid: list[Tensor], motions: tuple[RigidMotion, RigidMotion], frames: Tensor, still: list[Tensor]
    ) -> Tensor:
        """The least of the errors of both reconstructions, and of both unmoved neighbours (monodepth2, eq. 4).

        The mean over the levels of the disparity's pyramid, which are warped at once, each at the frames' size.
        """
        size, levels = frames.shape[-2:], len(pyramid)
        disparity = torch.cat([interpolate(level, size=size, mode="bilinear") for level in pyramid])
        depth = disparity_to_depth(disparity, self.nearest, self.farthest)
        errors = [error.expand(levels, *error.shape) for error in still]
        for motion, neighbour in zip(motions, (PREVIOUS, NEXT), strict=True):
            moved = (*rigid_transform(motion, invert=neighbour == PREVIOUS), motion.camera)
            pixels = reproject(depth, *(_repeated(part, levels) for part in moved))
            warped = sample_pixels(_repeated(frames[:, neighbour], levels), pixels, self.align_corners)
            errors.append(self._error(warped.unflatten(0, (levels, -1)), frames[:, TARGET]))
        return torch.stack(errors).amin(0).mean()

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Maps an image ``B 3 H W`` in [0, 1] to its disparity ``B 1 H W``."""
        return DepthEstimate(exact(self.depth_network, image), "disparity")

    def setup(self, stage: str) -> None:
        """Starts both trunks of a fit from ImageNet, where that is asked for; a checkpoint is read after this."""
        if self.pretrained and stage == "fit":
            trunk = {k: v for k, v in weights.load(IMAGENET).items() if not k.startswith("fc.")}
            self.depth_network.encoder.load_state_dict(trunk)
            # Two frames side by side: half of each filter for either (monodepth2).
            trunk["conv1.weight"] = torch.cat([trunk["conv1.weight"]] * 2, 1) / 2
            self.pose_network.encoder.load_state_dict(trunk)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """One optimiser over both networks, its schedule stepped with every batch."""
        optimiser, schedule = self.optimiser.build_for(self.trainer, self.parameters())
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]

    @classmethod
    def resolved(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Whether the trunks of a fit would start from ImageNet."""
        depth = options["depth"]
        starts = _starts_from_imagenet(options["pretrained"], depth["layers"], depth["width"])
        return {"pretrained": IMAGENET if starts else "none"}

    def notes(self) -> dict[str, str]:
        """Whether the trunks started from ImageNet."""
        return {"pretrained": IMAGENET if self.pretrained else "none"}

    def _error(self, image: Tensor, target: Tensor) -> Tensor:
        return photometric_error(image, target, self.alpha, self.halve_ssim)


def _repeated(x: Tensor, times: int) -> Tensor:
    """The whole batch, that many times."""
    return x.repeat(times, *[1] * (x.ndim - 1))


def _starts_from_imagenet(pretrained: str, layers: int, width: int) -> bool:
    fits = (layers, width) == IMAGENET_SIZE
    if pretrained == "imagenet" and not fits:
        raise UserError(
            f"No ImageNet weights fit trunks of {layers} layers and width {width}: set model.init_args.pretrained to "
            "auto or none, or model.init_args.depth to 18 layers and width 64."
        )
    return pretrained == "imagenet" or (pretrained == "auto" and fits and weights.find(IMAGENET) is not None)
