"""What the training-free editors share: a foundation that reads prompts, and the way from pictures to pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.base import PortraitModule
from models.diffusion.codecs import Codec
from models.diffusion.inversion import descend, invert, reconstruction_error
from models.diffusion.networks import PlainDenoiser, UNetConfig
from models.diffusion.pretrained import base_weights
from models.diffusion.prompted import PromptedDenoise, prompted
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.diffusion.words import NULL, TextEncoder
from models.errors import UserError
from models.tasks import Batch, Context
from models.tasks.editing import Edited, own_mask

AT_ONCE = 16  # a bound on memory; results do not depend on it


@dataclass(frozen=True)
class EditRequest:
    """Some pictures and what is to become of them.

    Args:
        clean: Their latents ``B K h w``.
        source: The words of what they show.
        target: The words of what they are to show.
        seeds: ``B``.
        mask: ``B 1 H W`` in [0, 1], the user's own of where they may change; None for none.
    """

    clean: Tensor
    source: Sequence[str]
    target: Sequence[str]
    seeds: Tensor
    mask: Tensor | None


class TrainingFree(PortraitModule):
    """An editor that learns nothing: its fit, of no epochs, takes over the weights of a foundation.

    Args:
        image_size: Side of the square images in pixels.
        base: The folder, or the name in the hub's cache, of the Stable Diffusion that is taken; None where an earlier
            fit is (`receive`).
        codec: Pictures -> latents.
        unet: Size of the denoiser.
        words: Prompts -> what the denoiser attends to.
        schedule: Of the noise.
        steps: Of the sampler.
        guidance: Of the sampler, by the target's prompt.
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
    ) -> None:
        super().__init__(image_size)
        self.base, self.steps, self.guidance = base, steps, guidance
        self.codec, self.words = codec, words.requires_grad_(False)
        self.schedule = NoiseSchedule(schedule)
        self.denoiser = PlainDenoiser(unet, codec.channels).requires_grad_(False)
        self.evaluations = 0  # of the network for each picture of the last call
        self.errors: list[float] = []  # of the inversion, of all pictures so far

    def change(self, request: EditRequest) -> tuple[Tensor, Tensor | None]:
        """Latents ``B K h w`` of the edited pictures, and the mask ``B 1 H W`` that was found, or None."""
        raise NotImplementedError

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """Edits pictures ``B 3 H W`` in [0, 1]; where a user's own mask is 0, they stay as they are.

        Raises:
            UserError: If a prompt is not known, or a mask has another size or is empty.
        """
        mask = own_mask(image, context)
        seeds = torch.arange(len(image)) if context.seeds is None else context.seeds
        sources = [source for source, _ in context.prompts] or [NULL] * len(image)
        pictures, masks = [], []
        with torch.inference_mode(False), torch.no_grad():  # an editor may need gradients, which inference mode refuses
            for start in range(0, len(image), AT_ONCE):
                some, self.evaluations = slice(start, start + AT_ONCE), 0
                own = None if mask is None else mask[some].clone()
                clean = self.codec.encode(image[some].clone())
                latents, found = self.change(
                    EditRequest(clean, sources[some], instruction[some], seeds[some].clone(), own)
                )
                pictures.append(self.codec.decode(latents).clamp(0, 1))
                masks += [] if found is None else [found]
        edited = torch.cat(pictures)
        if mask is not None:
            return Edited(mask * edited + (1 - mask) * image, mask, self.evaluations)
        return Edited(edited, torch.cat(masks) if masks else None, self.evaluations)

    def prompted(self, prompts: Sequence[str], guidance: float) -> PromptedDenoise:
        """The denoiser under prompts."""
        return prompted(self.denoiser, self.words, prompts, guidance)

    def inverted(self, request: EditRequest, prompts: Sequence[str], levels: Sequence[int]) -> list[Tensor]:
        """The pictures' latents at rising levels, inverted under prompts without guidance."""
        denoise = self.prompted(prompts, 1.0)
        path = invert(denoise, self.schedule, request.clean, levels)
        self.evaluations += denoise.evaluations
        return path

    def note_error(self, clean: Tensor, restored: Tensor) -> None:
        """Keeps how far pictures come back from an inversion, both as latents ``B K h w``."""
        both = (self.codec.decode(latents).clamp(0, 1) for latents in (clean, restored))
        self.errors += reconstruction_error(*both).tolist()

    def note_restored(
        self, request: EditRequest, path: Sequence[Tensor], prompts: Sequence[str], levels: Sequence[int]
    ) -> None:
        """As `note_error`, of an inversion whose way back the editor does not go; no cost of an edit."""
        back = descend(self.prompted(prompts, 1.0), self.schedule, path[-1], levels[::-1])
        self.note_error(request.clean, back)

    def notes(self) -> dict[str, str]:
        """Cost and error of the inversion."""
        found = {"evaluations": f"{self.evaluations} of the network for a picture"} if self.evaluations else {}
        if self.errors:
            mean = sum(self.errors) / len(self.errors)
            found["inversion"] = f"pictures come back with L1 {mean:.4f}, mean of {len(self.errors)}"
        return found

    def setup(self, stage: str) -> None:
        """Takes Stable Diffusion's weights, where that is asked for; a checkpoint is read after this."""
        if self.base is not None and stage == "fit":
            self.codec.load_pretrained()
            self.receive("denoiser", base_weights(self.base))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Never.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{type(self).__name__} learns nothing: set trainer.max_epochs to 0.")

    def configure_optimizers(self) -> None:
        """Nothing is optimised."""

    def contract(self) -> dict[str, Any]:
        """Channels and schedule."""
        return {"latent_channels": self.codec.channels} | vars(self.schedule.config)
