"""LEDITS++, run by diffusers."""

from typing import Any

import torch
from torch import Tensor

from models.adapters.editors import Precision, PublishedEditor
from models.errors import UserError


class LEditsPP(PublishedEditor):
    """Edits by an inversion that is exact, and guidance inside a mask of its own (Brack et al., CVPR 2024).

    Licence: the method has no weights; those of Stable Diffusion 1.5 are CreativeML OpenRAIL-M.

    Args:
        image_size: Side of the square images in pixels.
        checkpoint: A folder, or the hub's name of a Stable Diffusion in its cache.
        resolution: Side in pixels at which it works, a multiple of 32.
        precision: Of its weights.
        steps: Of the inversion and of the edit.
        skip: Share of the noisiest steps that are left out.
        source_guidance: Of the source's words in the inversion.
        edit_guidance: Of the target's words.
        threshold: Quantile of the guidance below which a place is left as it is.

    Raises:
        UserError: If the library cannot invert with that guidance.
    """

    def __init__(
        self,
        image_size: int,
        checkpoint: str,
        resolution: int,
        precision: Precision,
        steps: int,
        skip: float,
        source_guidance: float,
        edit_guidance: float,
        threshold: float,
    ) -> None:
        super().__init__(image_size, checkpoint, resolution, precision)
        if source_guidance <= 1:
            raise UserError(f"source_guidance is {source_guidance}: the library inverts with one above 1, such as 3.5.")
        self.steps, self.skip, self.threshold = steps, skip, threshold
        self.source_guidance, self.edit_guidance = source_guidance, edit_guidance

    def read(self, **options: Any) -> Any:  # noqa: ANN401 - diffusers has no types
        """The pipeline over the solver that it inverts, without the checker that blackens pictures."""
        from diffusers import DPMSolverMultistepScheduler, LEditsPPPipelineStableDiffusion  # seconds, of this one alone

        solver = {"subfolder": "scheduler", "algorithm_type": "sde-dpmsolver++", "solver_order": 2}
        options["scheduler"] = DPMSolverMultistepScheduler.from_pretrained(self.folder, local_files_only=True, **solver)
        options |= {"safety_checker": None, "requires_safety_checker": False}
        return LEditsPPPipelineStableDiffusion.from_pretrained(self.folder, **options)

    def edited(self, picture: Tensor, words: tuple[str, str], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One picture ``1 3 R R`` edited, and the share of the steps in which each place was, ``1 1 h w``."""
        self.pipeline.invert(
            picture,
            source_prompt=words[0],
            source_guidance_scale=self.source_guidance,
            num_inversion_steps=self.steps,
            skip=self.skip,
            generator=generator,
        )
        made = self.pipeline(
            editing_prompt=[words[1]],
            edit_guidance_scale=self.edit_guidance,
            edit_threshold=self.threshold,
            generator=generator,
            output_type="pt",
        ).images
        return made, self.pipeline.activation_mask[:, 0].float().mean((0, 2))[:, None]
