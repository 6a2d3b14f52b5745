"""FLUX.2 klein, run by diffusers."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from models.adapters.editors import Precision, PublishedEditor


class FluxKlein(PublishedEditor):
    """A distilled flow transformer that edits by instruction: a modern, permissive peer (Black Forest Labs, 2026).

    Licence: weights of klein-4B Apache-2.0; those of 9B and dev are non-commercial.

    Args:
        image_size: Side of the square images in pixels.
        checkpoint: A folder, or the hub's name of a checkpoint in its cache.
        resolution: Side in pixels at which it works, a multiple of 16, at most 1024.
        precision: Of its weights.
        instruction: What it is told, with ``{target}`` where the words of the target belong.
        steps: Of the flow; it was distilled for 4.
        guidance: Of the words; a distilled checkpoint has it built in, and ignores this.
        text_layers: Layers of the language model that the words are taken from.
        words_most: Tokens of the instruction, at most.
    """

    parts: ClassVar[tuple[str, ...]] = ("transformer", "vae", "text_encoder")

    def __init__(
        self,
        image_size: int,
        checkpoint: str,
        resolution: int,
        precision: Precision,
        instruction: str,
        steps: int,
        guidance: float,
        text_layers: list[int],
        words_most: int,
    ) -> None:
        super().__init__(image_size, checkpoint, resolution, precision)
        self.instruction, self.steps, self.guidance = instruction, steps, guidance
        self.text_layers, self.words_most = text_layers, words_most

    def read(self, **options: Any) -> Any:  # noqa: ANN401 - diffusers has no types
        """The pipeline."""
        from diffusers import Flux2KleinPipeline  # seconds, and only this adapter needs it

        return Flux2KleinPipeline.from_pretrained(self.folder, **options)

    def edited(self, picture: Tensor, words: tuple[str, str], generator: torch.Generator) -> tuple[Tensor, None]:
        """One picture ``1 3 R R`` edited; it finds no mask."""
        made = self.pipeline(
            image=to_pil_image(picture[0].float().cpu()),
            prompt=self.instruction.format(target=words[1]),
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            generator=generator,
            output_type="pt",
            max_sequence_length=self.words_most,
            text_encoder_out_layers=tuple(self.text_layers),
        ).images
        return made, None
