"""SDEdit: noise over a picture, and the foundation's way back under the target's prompt (Meng et al., 2022)."""

from torch import Tensor

from models.diffusion.codecs import Codec
from models.diffusion.inversion import descend, last_levels
from models.diffusion.networks import UNetConfig
from models.diffusion.sampling import noise_of
from models.diffusion.schedule import NoiseConfig
from models.diffusion.words import TextEncoder
from models.editing.training_free import EditRequest, TrainingFree


class SDEdit(TrainingFree):
    """Noises a picture to a strength and denoises it under the target's prompt: 2 evaluations a step that is taken.

    Args:
        image_size: As of `TrainingFree`, and the next.
        base: Stable Diffusion.
        codec: Pictures -> latents.
        unet: Size of the denoiser.
        words: Prompts -> tokens.
        schedule: Of the noise.
        steps: Of the whole sampler.
        guidance: By the target's prompt.
        strength: Share of the steps that are taken: more changes more.

    Reference: Meng et al. 2022, SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations,
    algorithm 1, with the deterministic sampler.
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
    ) -> None:
        super().__init__(image_size, base, codec, unet, words, schedule, steps, guidance)
        self.levels = last_levels(self.schedule, steps, strength)

    def change(self, request: EditRequest) -> tuple[Tensor, None]:
        """Latents of the edited pictures; no mask is found."""
        noise = noise_of(request.seeds, request.clean.shape[1:]).to(request.clean)
        levels = request.seeds.new_full((len(noise),), self.levels[0]).to(noise.device)
        denoise = self.prompted(request.target, self.guidance)
        start = self.schedule.noised(request.clean, noise, levels)
        edited = descend(denoise, self.schedule, start, self.levels)
        self.evaluations += denoise.evaluations
        return edited, None
