"""Prompt-to-Prompt: the edit under the attention maps of the source's own reconstruction (Hertz et al., 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from torch import Tensor

from models.diffusion.codecs import Codec
from models.diffusion.networks import UNetConfig
from models.diffusion.sampling import guided
from models.diffusion.schedule import NoiseConfig, following
from models.diffusion.words import NULL, TextEncoder
from models.editing.attention_maps import ask_with, install_maps
from models.editing.training_free import EditRequest, TrainingFree

NEW = -1  # a token of the target that the source does not have


@dataclass(frozen=True)
class MapSwap:
    """Gives the target the source's maps, in a batch of ``[source, target, target without its prompt]``.

    Args:
        places: ``B L``: which token of the source each of the target's is; `NEW` where it has none.
        words: Whether the maps of words are swapped at this step.
        itself: Whether those of the picture's attention to itself are.

    Reference: Hertz et al. 2023, section 3.2: word swap, where all tokens of the target are tokens of the source, and
    adding a phrase, where some are new.
    """

    places: Tensor
    words: bool
    itself: bool

    def __call__(self, name: str, maps: Tensor, of_words: bool) -> Tensor:
        """The maps ``3B heads Q L`` that a layer uses."""
        source, target, without = maps.chunk(3)
        if of_words and self.words:
            index = self.places[:, None, None].expand_as(target)
            target = torch.where(index == NEW, target, source.gather(-1, index.clamp(min=0)))
        if not of_words and self.itself:
            target = source
        return torch.cat([source, target, without])


def align(source: Sequence[str], target: Sequence[str]) -> list[int]:
    """The place in one list of each piece of another that both share in order; `NEW` for the others."""
    places = [NEW] * len(target)
    for block in SequenceMatcher(None, source, target, autojunk=False).get_matching_blocks():
        places[block.b : block.b + block.size] = range(block.a, block.a + block.size)
    return places


class PromptToPrompt(TrainingFree):
    """Inverts a picture and goes back under both prompts at once, the target's with the attention maps of the source's.

    It costs 1 evaluation a step for the inversion and 3 for the way back. The source's branch has no guidance, under
    which it would not come back to the picture, nor an optimised null prompt.

    Args:
        image_size: As of `TrainingFree`, and the next.
        base: Stable Diffusion.
        codec: Pictures -> latents.
        unet: Size of the denoiser.
        words: Prompts -> tokens.
        schedule: Of the noise.
        steps: Of the sampler.
        guidance: By the target's prompt.
        word_share: Share of the steps, the first ones, in which the maps of words are the source's.
        self_share: The same of the maps of self-attention.

    Reference: Hertz et al. 2023, Prompt-to-Prompt Image Editing with Cross Attention Control, algorithm 1.
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
        word_share: float,
        self_share: float,
    ) -> None:
        super().__init__(image_size, base, codec, unet, words, schedule, steps, guidance)
        self.word_steps, self.self_steps = round(word_share * steps), round(self_share * steps)
        install_maps(self.denoiser.unet)

    def change(self, request: EditRequest) -> tuple[Tensor, None]:
        """Latents of the edited pictures; no mask is found."""
        levels = self.schedule.levels(self.steps)
        start = self.inverted(request, request.source, levels[::-1])[-1]
        prompts = [*request.source, *request.target, *[NULL] * len(start)]
        places, tokens = self.places(request).to(start.device), self.words(prompts)
        both = torch.cat([start, start])
        for step, (level, after) in enumerate(following(levels)):
            swap = MapSwap(places, step < self.word_steps, step < self.self_steps)
            three = torch.cat([both, both[len(start) :]])
            source, given, without = ask_with(self.denoiser.unet, three, level, tokens, swap).chunk(3)
            self.evaluations += 3
            output = torch.cat([source, guided(without, given, self.guidance)])
            both = self.schedule.step(self.schedule.denoised(output, both, level), both, level, after)
        restored, edited = both.chunk(2)
        self.note_error(request.clean, restored)
        return edited, None

    def places(self, request: EditRequest) -> Tensor:
        """Which token of the source each of the target's is, ``B L``."""
        pairs = zip(request.source, request.target, strict=True)
        return torch.tensor([align(self.words.pieces(source), self.words.pieces(target)) for source, target in pairs])
