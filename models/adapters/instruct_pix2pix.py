"""InstructPix2Pix, run by diffusers."""

from typing import Any

import torch
from torch import Tensor

from models.adapters.editors import Precision, PublishedEditor


class InstructPix2Pix(PublishedEditor):
    """A Stable Diffusion that was taught to follow instructions by generated pairs (Brooks et al., CVPR 2023).

    Licence: code MIT; the weights of ``timbrooks/instruct-pix2pix`` are tagged MIT, and descend from Stable Diffusion
    1.5, whose licence is CreativeML OpenRAIL-M.

    Args:
        image_size: Side of the square images in pixels.
        checkpoint: A folder, or the hub's name of a checkpoint in its cache.
        resolution: Side in pixels at which it works, a multiple of 8.
        precision: Of its weights.
        instruction: What it is told, with ``{target}`` where the words of the target belong.
        steps: Denoising steps.
        text_guidance: s_T (eq. 3).
        image_guidance: s_I.
    """

    def __init__(
        self,
        image_size: int,
        checkpoint: str,
        resolution: int,
        precision: Precision,
        instruction: str,
        steps: int,
        text_guidance: float,
        image_guidance: float,
    ) -> None:
        super().__init__(image_size, checkpoint, resolution, precision)
        self.instruction, self.steps = instruction, steps
        self.text_guidance, self.image_guidance = text_guidance, image_guidance

    def read(self, **options: Any) -> Any:  # noqa: ANN401 - diffusers has no types
        """The pipeline, without the checker that blackens pictures."""
        from diffusers import (
            StableDiffusionInstructPix2PixPipeline as Pipeline,
        )  # seconds, and only this adapter needs it

        return Pipeline.from_pretrained(self.folder, safety_checker=None, requires_safety_checker=False, **options)

    def edited(self, picture: Tensor, words: tuple[str, str], generator: torch.Generator) -> tuple[Tensor, None]:
        """One picture ``1 3 R R`` edited; it finds no mask."""
        made = self.pipeline(
            self.instruction.format(target=words[1]),
            picture,
            num_inference_steps=self.steps,
            guidance_scale=self.text_guidance,
            image_guidance_scale=self.image_guidance,
            generator=generator,
            output_type="pt",
        ).images
        return made, None
