"""pix2pix-zero: a direction between prompts, held to the reconstruction's attention to words (Parmar et al., 2023)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.diffusion.codecs import Codec
from models.diffusion.inversion import descend
from models.diffusion.networks import UNetConfig
from models.diffusion.sampling import guided
from models.diffusion.schedule import NoiseConfig, following
from models.diffusion.words import NULL, TextEncoder
from models.editing.attention_maps import KeepWordMaps, Maps, ask_with, install_maps
from models.editing.training_free import EditRequest, TrainingFree


class Pix2PixZero(TrainingFree):
    """Inverts a picture, reconstructs it, and goes back once more under moved words, held to the maps of the second.

    It costs 5 evaluations a step: of the inversion, of the reconstruction, of the gradient, and 2 with guidance. The
    paper's regularisation of the inverted noise is left out.

    Args:
        image_size: As of `TrainingFree`, and the next.
        base: Stable Diffusion.
        codec: Pictures -> latents.
        unet: Size of the denoiser.
        words: Prompts -> tokens.
        schedule: Of the noise.
        steps: Of the sampler.
        guidance: By the moved words.
        map_guidance: Step along the gradient of the maps' difference.
        banks: Of a prompt, the sentences whose mean it stands for; a prompt without stands for itself.

    Reference: Parmar et al. 2023, Zero-shot Image-to-Image Translation, sections 3.2 and 3.3, algorithm 1.
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
        map_guidance: float,
        banks: dict[str, list[str]],
    ) -> None:
        super().__init__(image_size, base, codec, unet, words, schedule, steps, guidance)
        self.map_guidance, self.banks = map_guidance, banks
        install_maps(self.denoiser.unet)

    def change(self, request: EditRequest) -> tuple[Tensor, None]:
        """Latents of the edited pictures; no mask is found."""
        levels = self.schedule.levels(self.steps)
        start = self.inverted(request, request.source, levels[::-1])[-1]
        source = self.words(request.source)
        reference, restored = self.reconstruct(start, source, levels)
        self.note_error(request.clean, restored)
        moved = source + self.direction(request.source, request.target)
        null = self.words([NULL]).expand_as(moved)
        latents = start
        for level, after in following(levels):
            latents = self.nearer(latents, level, moved, reference[level])
            asked = torch.full((2 * len(latents),), level, device=latents.device)
            without, given = self.denoiser(latents.repeat(2, 1, 1, 1), asked, torch.cat([null, moved])).chunk(2)
            self.evaluations += 2
            clean = self.schedule.denoised(guided(without, given, self.guidance), latents, level)
            latents = self.schedule.step(clean, latents, level, after)
        return latents, None

    def direction(self, sources: Sequence[str], targets: Sequence[str]) -> Tensor:
        """The way ``B L C`` from the mean of the source's sentences to that of the target's (section 3.1)."""
        means = [torch.stack([self.words(self.bank(each)).mean(0) for each in some]) for some in (targets, sources)]
        return means[0] - means[1]

    def bank(self, prompt: str) -> list[str]:
        """The sentences that a prompt stands for."""
        return self.banks.get(prompt, [prompt])

    def reconstruct(self, start: Tensor, tokens: Tensor, levels: Sequence[int]) -> tuple[Mapping[int, Maps], Tensor]:
        """The maps of words at each level on the way back to the picture, and where that ends."""
        reference: dict[int, Maps] = {}

        def ask(noisy: Tensor, level: int) -> Tensor:
            kept = KeepWordMaps()
            said = ask_with(self.denoiser.unet, noisy, level, tokens, kept)
            reference[level] = kept.maps
            self.evaluations += 1
            return said

        return reference, descend(ask, self.schedule, start, levels)

    @torch.enable_grad()
    def nearer(self, latents: Tensor, level: int, tokens: Tensor, reference: Maps) -> Tensor:
        """Latents moved so that the maps of words come nearer to the reconstruction's (eq. 5)."""
        free = latents.detach().requires_grad_(True)
        loss = self.map_loss(free, level, tokens, reference)
        (gradient,) = torch.autograd.grad(loss, free)
        self.evaluations += 1
        return (free - self.map_guidance * gradient).detach()

    def map_loss(self, latents: Tensor, level: int, tokens: Tensor, reference: Maps) -> Tensor:
        """Squared differences of the maps: sums over pictures, layers, queries and words, means over heads."""
        kept = KeepWordMaps()
        ask_with(self.denoiser.unet, latents, level, tokens, kept)
        parts = [(kept.maps[name] - maps).square().sum((0, 2, 3)).mean() for name, maps in reference.items()]
        return torch.stack(parts).sum()
