"""Published editors that diffusers runs: one picture at a time, at their own resolution."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from kornia.geometry.transform import resize
from torch import Tensor, nn

from models.adapters.checkpoints import PublishedModel
from models.tasks import Context
from models.tasks.editing import Edited

Precision = Literal["float32", "bfloat16", "float16"]


class PublishedEditor(PublishedModel):
    """A pipeline of diffusers that edits a picture by words.

    Attributes:
        parts: The names of its parts that are networks.

    Args:
        image_size: Side of the square images in pixels.
        checkpoint: A folder, or the hub's name of a checkpoint in its cache.
        resolution: Side in pixels at which it works; pictures are brought there and back.
        precision: Of its weights.
    """

    packages: ClassVar[tuple[str, ...]] = ("diffusers", "transformers")
    index: ClassVar[str] = "model_index.json"
    parts: ClassVar[tuple[str, ...]] = ("unet", "vae", "text_encoder")

    def __init__(self, image_size: int, checkpoint: str, resolution: int, precision: Precision) -> None:
        super().__init__(image_size, checkpoint)
        self.resolution, self.precision = resolution, precision

    def load(self) -> None:
        """Reads the pipeline."""
        # low_cpu_mem_usage is said, for else a warning asks for accelerate.
        self.pipeline = self.read(local_files_only=True, low_cpu_mem_usage=False)
        self.pipeline.set_progress_bar_config(disable=True)
        # Modules move with the model to its device; the pipeline itself is none.
        self.networks = nn.ModuleList(getattr(self.pipeline, name) for name in self.parts)
        self.networks.requires_grad_(False).to(getattr(torch, self.precision)).eval()

    def read(self, **options: Any) -> Any:  # noqa: ANN401 - diffusers has no types
        """The pipeline in ``folder``, with options of ``from_pretrained``."""
        raise NotImplementedError

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """Maps pictures ``B 3 H W`` in [0, 1] and the prompts of their targets to edits, each drawn from its own seed.

        One picture at a time: no edit depends on the others.
        """
        seeds = torch.arange(len(image)) if context.seeds is None else context.seeds
        sources = [source for source, _ in context.prompts] or [""] * len(image)
        large = resize(image, (self.resolution, self.resolution), antialias=True)
        drawn = [
            self.edited(picture.clamp(0, 1), words, torch.Generator().manual_seed(int(seed)))
            for picture, words, seed in zip(large.split(1), zip(sources, instruction, strict=True), seeds, strict=True)
        ]
        masks = [mask for _, mask in drawn if mask is not None]
        pictures = self._as_given(torch.cat([picture for picture, _ in drawn]), image)
        return Edited(pictures, self._as_given(torch.cat(masks), image) if masks else None)

    def edited(
        self, picture: Tensor, words: tuple[str, str], generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """One picture ``1 3 R R`` edited, in [0, 1], and the mask ``1 1 h w`` that the method found, if it finds one.

        Args:
            picture: In [0, 1].
            words: What it shows, and what it is to show.
            generator: Of all that is drawn at random.
        """
        raise NotImplementedError

    def _as_given(self, made: Tensor, image: Tensor) -> Tensor:
        return resize(made.to(image), (image.shape[-2], image.shape[-1]), antialias=True).clamp(0, 1)
