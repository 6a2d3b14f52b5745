"""End to end: the joint network's depth in one step, tuned on the error of the map itself (our row of Table 1)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.base import PortraitModule, check_finite
from models.depth_losses import DepthLossConfig, depth_losses
from models.depth_regression import standard_closeness
from models.diffusion.codecs import Codec
from models.diffusion.networks import UNetConfig
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.joint.completion import Answerer, pose
from models.joint.denoiser import Denoiser, LayoutConfig, ReferenceNetwork
from models.joint.given import seeds_of
from models.tasks import Batch, Context
from models.tasks.depth import DepthEstimate


class EndToEnd(PortraitModule):
    """Image to depth from zeros at the last noise level, decoded, and compared with the truth inside the skin.

    Args:
        image_size: Side of the square images in pixels.
        codec: Pictures -> latents; gradients pass through its decoder.
        unet: Size of both networks.
        layout: As of the joint network that it starts from.
        schedule: As of the joint network that it starts from.
        loss: Affine-invariant losses of the map.
        field: Height in metres of what the picture shows at the face; it makes depth as steep as it is to the eye.
        optimiser: AdamW.

    Reference: Garcia et al. 2024, Fine-Tuning Image-Conditional Diffusion Models is Easier than You Think, section 4.
    """

    def __init__(
        self,
        image_size: int,
        codec: Codec,
        unet: UNetConfig,
        layout: LayoutConfig,
        schedule: NoiseConfig,
        loss: DepthLossConfig,
        field: float,
        optimiser: DiffusionOptimiserConfig,
    ) -> None:
        super().__init__(image_size)
        self.layout, self.loss, self.field, self.optimiser = layout, loss, field, optimiser
        self.codec, self.schedule = codec, NoiseSchedule(schedule)
        self.denoiser = Denoiser(unet, layout, codec.channels)
        self.reference = ReferenceNetwork(unet, codec.channels) if layout.has_network else None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The affine-invariant losses of one step's map.

        Raises:
            UserError: If the loss is not finite.
        """
        image, depth, mask = (batch[name].flatten(0, -4) for name in ("image", "depth", "mask"))
        target, metres = standard_closeness(depth, mask)
        parts = depth_losses(self.loss, self(image), target, mask, metres * self.image_size / self.field)
        loss = torch.stack(list(parts.values())).sum()
        check_finite(loss)
        self.log_dict({f"train/{name}": value for name, value in parts.items()})
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def forward(self, image: Tensor) -> Tensor:
        """Maps pictures ``B 3 H W`` in [0, 1] to closeness ``B 1 H W``, about in [0, 1]."""
        seen = self.codec.encode(image)
        question = pose(self.layout, ["depth"], torch.zeros_like(seen), {"image": seen}, {}, put_back=False)
        features = None if self.reference is None else self.reference(seen)
        ask = Answerer(self.denoiser, question, seen, features, 1.0)
        start = torch.zeros_like(question.clean[:, : len(self.layout.generated)])
        last = self.schedule.levels(1)[0]
        latents = self.schedule.denoised(ask(start, last), start, last)
        return self.codec.decode(latents[:, self.layout.generated.index("depth")]).mean(1, keepdim=True)

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Maps an image ``B 3 H W`` in [0, 1] to its closeness ``B 1 H W``."""
        seeds_of(context, len(image))  # for it has no words; it draws nothing
        return DepthEstimate(self(image), "closeness")

    def receive(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Starts from the joint network."""
        part = getattr(self, name)
        part.load_state_dict(dict(weights)) if name == "codec" else part.receive(weights)

    def contract(self) -> dict[str, Any]:
        """What a checkpoint of this model must agree in, beside the shapes of its tensors."""
        return {"latent_channels": self.codec.channels} | vars(self.layout) | vars(self.schedule.config)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """AdamW over both networks."""
        return self.optimiser.configured(self)
