"""DiffEdit: a mask from what two prompts say of noise, and the target's prompt inside it (Couairon et al., 2023)."""

import torch
from torch import Tensor

from models.diffusion.codecs import Codec
from models.diffusion.difference_map import MapConfig, as_cells, as_pixels, difference_map, mask_of
from models.diffusion.inversion import descend, last_levels
from models.diffusion.networks import UNetConfig
from models.diffusion.schedule import NoiseConfig
from models.diffusion.words import NULL, TextEncoder
from models.editing.training_free import EditRequest, TrainingFree


class DiffEdit(TrainingFree):
    """Masks what is to change, inverts the picture, and denoises it under the target's prompt inside the mask alone.

    It costs 2 evaluations for each noise of the map, then 3 a step that is taken.

    Args:
        image_size: As of `TrainingFree`, and the next.
        base: Stable Diffusion.
        codec: Pictures -> latents.
        unet: Size of the denoiser.
        words: Prompts -> tokens.
        schedule: Of the noise.
        steps: Of the whole sampler.
        guidance: By the target's prompt.
        strength: Share of the steps that are taken, the paper's encoding ratio.
        difference: Of the map.

    Reference: Couairon et al. 2023, DiffEdit: Diffusion-based semantic image editing with mask guidance, section 3.2.
    """

    def __init__(
        self,
        image_size: int,
        base: str | None,
        codec: Codec,
        unet: UNetConfig,
        words: TextEncoder,
        schedule: NoiseConfig,
        steps: int,
        guidance: float,
        strength: float,
        difference: MapConfig,
    ) -> None:
        super().__init__(image_size, base, codec, unet, words, schedule, steps, guidance)
        self.levels, self.difference = last_levels(self.schedule, steps, strength), difference

    def change(self, request: EditRequest) -> tuple[Tensor, Tensor]:
        """Latents of the edited pictures, and the mask; a user's own takes the place of the map's."""
        if request.mask is None:
            cells = mask_of(self.map(request), self.difference)
        else:
            cells = as_cells(request.mask, self.codec.factor)
        nothing, rising = [NULL] * len(cells), self.levels[::-1]
        path = self.inverted(request, nothing, rising)  # the paper encodes without a prompt
        kept = dict(zip([*rising, None], [*path, request.clean], strict=True))
        denoise = self.prompted(request.target, self.guidance)
        edited = descend(
            denoise, self.schedule, path[-1], self.levels, lambda new, at: torch.where(cells > 0, new, kept[at])
        )
        self.evaluations += denoise.evaluations
        self.note_restored(request, path, nothing, rising)
        return edited, as_pixels(cells, self.codec.factor)

    def map(self, request: EditRequest) -> Tensor:
        """How much each cell is to change, ``B 1 h w`` in [0, 1] (step 1)."""
        source, target = (self.prompted(words, 1.0) for words in (request.source, request.target))
        found = difference_map(source, target, self.schedule, request.clean, request.seeds, self.difference)
        self.evaluations += source.evaluations + target.evaluations
        return found
