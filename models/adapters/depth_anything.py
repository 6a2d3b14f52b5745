"""Depth Anything V2, run by transformers."""

import torch
from torch import Tensor

from models.adapters.checkpoints import PublishedModel
from models.tasks import Context
from models.tasks.depth import DepthEstimate, DepthKind


class DepthAnything(PublishedModel):
    """Relative disparity by a vision transformer taught on synthetic depth (Yang et al., NeurIPS 2024).

    Licence: weights Small Apache-2.0; Base, Large and Giant CC-BY-NC-4.0.

    Args:
        image_size: Side of the square images in pixels.
        checkpoint: A folder, or the hub's name of a checkpoint in its cache.
        resolution: Side in pixels at which it works, a multiple of its patches of 14.
    """

    def __init__(self, image_size: int, checkpoint: str, resolution: int) -> None:
        super().__init__(image_size, checkpoint)
        self.resolution = resolution

    def load(self) -> None:
        """Reads the network and how it prepares pictures."""
        # Seconds, an extra, and only this adapter needs it.
        from transformers import AutoImageProcessor, DepthAnythingForDepthEstimation

        size = {"height": self.resolution, "width": self.resolution}
        self.processor = AutoImageProcessor.from_pretrained(self.folder, local_files_only=True, size=size)
        network = DepthAnythingForDepthEstimation.from_pretrained(self.folder, local_files_only=True)
        self.network = network.requires_grad_(False).eval()

    @torch.no_grad()
    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Maps pictures ``B 3 H W`` in [0, 1] to disparity ``B 1 H W``; of its metric variants, depth."""
        inputs = self.processor(images=list(image), do_rescale=False, return_tensors="pt", device=image.device)
        outputs = self.network(pixel_values=inputs["pixel_values"].to(self.network.dtype))
        sizes = [tuple(image.shape[-2:])] * len(image)
        maps = self.processor.post_process_depth_estimation(outputs, target_sizes=sizes)
        kind: DepthKind = "depth" if self.network.config.depth_estimation_type == "metric" else "disparity"
        return DepthEstimate(torch.stack([each["predicted_depth"] for each in maps])[:, None].to(image), kind)
