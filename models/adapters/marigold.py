"""Marigold and its descendants, run by diffusers."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from models.adapters.checkpoints import PublishedModel
from models.tasks import Context
from models.tasks.depth import DepthEstimate


class Marigold(PublishedModel):
    """Depth by a fine-tuned Stable Diffusion (Ke et al., CVPR 2024), its consistency and its one-step variants.

    Licence: code Apache-2.0; the weights of v1-0 and v1-1 OpenRAIL++-M, of LCM Apache-2.0; of E2E-FT (Garcia et al.,
    WACV 2025) none is stated.

    Args:
        image_size: Side of the square images in pixels.
        checkpoint: A folder, or the hub's name of a checkpoint in its cache.
        steps: Denoising steps.
        ensemble: Answers that are aligned and of which the median is taken.
        resolution: Longer side in pixels at which it works; a multiple of 8, or 0 for the picture's own.
        spacing: Which timesteps a schedule takes: ``trailing`` ends at pure noise; None: as the checkpoint says.
        noise: What an answer starts from: ``gaussian``, or ``zeros``, as E2E-FT was tuned.
    """

    packages: ClassVar[tuple[str, ...]] = ("diffusers", "transformers")
    index: ClassVar[str] = "model_index.json"

    def __init__(
        self,
        image_size: int,
        checkpoint: str,
        steps: int,
        ensemble: int,
        resolution: int,
        spacing: Literal["trailing", "leading", "linspace"] | None,
        noise: Literal["gaussian", "zeros"],
    ) -> None:
        super().__init__(image_size, checkpoint)
        self.steps, self.ensemble, self.resolution, self.noise = steps, ensemble, resolution, noise
        self.spacing = spacing

    def load(self) -> None:
        """Reads the pipeline."""
        self.pipeline = _pipeline(self.folder, self.spacing)
        # Modules move with the model to its device; the pipeline itself is none.
        self.networks = nn.ModuleList([self.pipeline.unet, self.pipeline.vae, self.pipeline.text_encoder])
        self.networks.requires_grad_(False)
        self.networks.eval()

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Maps pictures ``B 3 H W`` in [0, 1] to maps ``B 1 H W`` in [0, 1], each drawn from its own seed."""
        assert context.seeds is not None
        maps = [self._depth(picture[None], int(seed)) for picture, seed in zip(image, context.seeds, strict=True)]
        return DepthEstimate(torch.cat(maps).to(image), self.pipeline.config.prediction_type or "depth")

    def _depth(self, picture: Tensor, seed: int) -> Tensor:
        """One picture at a time: no map depends on the others."""
        start: dict[str, Any] = {"generator": torch.Generator().manual_seed(seed)}
        if self.noise == "zeros":
            start = {"latents": self._zeros(picture)}
        return self.pipeline(
            picture.clamp(0, 1),
            num_inference_steps=self.steps,
            ensemble_size=self.ensemble,
            processing_resolution=self.resolution,
            batch_size=self.ensemble,
            output_type="pt",
            **start,
        ).prediction

    def _zeros(self, picture: Tensor) -> Tensor:
        """Empty latents of the size that the pipeline expects, of its padded picture."""
        height, width = picture.shape[-2:]
        longer, factor = max(height, width), self.pipeline.vae_scale_factor
        resolution = self.resolution or longer
        sides = [-(-(side * resolution // longer) // factor) for side in (height, width)]
        channels = self.pipeline.vae.config.latent_channels
        return torch.zeros(self.ensemble, channels, *sides, device=self.pipeline.device, dtype=self.pipeline.dtype)


def _pipeline(folder: Path, spacing: str | None) -> Any:  # noqa: ANN401 - diffusers has no types
    from diffusers import MarigoldDepthPipeline  # seconds, and only this adapter needs it

    # Said, for else a warning asks for accelerate.
    pipeline = MarigoldDepthPipeline.from_pretrained(folder, local_files_only=True, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    if spacing is not None:
        pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, timestep_spacing=spacing)
    return pipeline
