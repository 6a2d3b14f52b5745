"""Sapiens2, run by transformers."""

import torch
from torch import Tensor

from models.adapters.checkpoints import PublishedModel
from models.tasks import Context
from models.tasks.depth import DepthEstimate


class Sapiens2(PublishedModel):
    """The points that pixels of people show, of which the camera's z is depth (Meta, 2026, arXiv 2604.21681).

    Licence: code and weights under the Sapiens2 Licence, Meta's own, not an open-source one: read it before use.

    Args:
        image_size: Side of the square images in pixels.
        checkpoint: A folder, or the hub's name of a checkpoint in its cache.
        resolution: Height and width in pixels at which it works, multiples of its patches of 16; a picture is fitted
            into it and padded.
    """

    def __init__(self, image_size: int, checkpoint: str, resolution: tuple[int, int]) -> None:
        super().__init__(image_size, checkpoint)
        self.resolution = resolution

    def load(self) -> None:
        """Reads the network and how it prepares pictures."""
        # Seconds, an extra, and only this adapter needs it.
        from transformers import AutoImageProcessor, Sapiens2ForPointmapEstimation

        size = dict(zip(("height", "width"), self.resolution, strict=True))
        # Points of a stretched picture would be those of another camera, so it is padded.
        changes = {"size": size, "do_pad": True}
        self.processor = AutoImageProcessor.from_pretrained(self.folder, local_files_only=True, **changes)
        network = Sapiens2ForPointmapEstimation.from_pretrained(self.folder, local_files_only=True)
        self.network = network.requires_grad_(False).eval()

    @torch.no_grad()
    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Maps pictures ``B 3 H W`` in [0, 1] to depth ``B 1 H W``."""
        inputs = self.processor(images=list(image), do_rescale=False, return_tensors="pt", device=image.device)
        outputs = self.network(pixel_values=inputs["pixel_values"].to(self.network.dtype))
        sizes = [tuple(image.shape[-2:])] * len(image)
        maps = self.processor.post_process_pointmap_estimation(outputs, source_sizes=sizes)
        return DepthEstimate(torch.stack([each["pointmap"][2:] for each in maps]).to(image), "depth")
