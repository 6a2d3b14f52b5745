"""The portrait editor MCDM: diffusion under three conditions, learnt from imperfect pairs (Chen et al., 2024)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.base import PortraitModule, check_finite
from models.diffusion.buckets import by_level
from models.diffusion.codecs import Codec
from models.diffusion.difference_map import as_cells, difference_map, mask_of
from models.diffusion.networks import UNetConfig
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.diffusion.pretrained import base_weights
from models.diffusion.sampling import noise_of
from models.diffusion.schedule import NoiseConfig, NoiseSchedule, random_levels
from models.diffusion.words import NULL, TextEncoder
from models.errors import UserError
from models.mcdm.blending import EditSampler, outside, outside_input, pasted, recorded
from models.mcdm.conditions import CONDITIONS, Conditions, DropoutConfig, chain, shares
from models.mcdm.denoiser import EditDenoiser
from models.mcdm.edit_masks import EditMaskConfig
from models.mcdm.guidance import GuidanceConfig, GuidedEdit
from models.mcdm.image_tokens import ImageAdapter, ImageEncoder
from models.mcdm.pair_bank import PairBank
from models.mcdm.released import load_released
from models.tasks import Batch, Context
from models.tasks.editing import Edited, own_mask

AT_ONCE = 16  # a bound on memory in sampling; results do not depend on it


@dataclass(frozen=True)
class Told:
    """Everything about some pictures that sampling needs, encoded once.

    Args:
        clean: Their latents ``B K h w``.
        source: The conditions with the words of what they show.
        target: The same with the words of what they are to show.
        nulls: What stands where a condition is hidden, of one sample.
        seeds: ``B``.
    """

    clean: Tensor
    source: Conditions
    target: Conditions
    nulls: Conditions
    seeds: Tensor


class MCDM(PortraitModule):
    """Edits portraits as words say, and keeps what they do not name (section 3).

    Args:
        image_size: Side of the square images in pixels.
        base: The folder, or the name in the hub's cache, of the Stable Diffusion that a fit starts from; None where it
            starts from an earlier fit (`receive`), or from random weights.
        released: A folder with the authors' ``unet.pth`` and ``adapter.pth`` to start from; None for none.
        codec: Pictures -> latents.
        unet: Size of the denoiser.
        words: Prompts -> c_p.
        image_encoder: Pictures -> the tokens that become c_im; None of an editor without.
        spatial: Whether it is given the picture's latents c_s.
        instructions: The prompts that it is to follow, which name the scope of a checkpoint.
        schedule: Of the noise.
        dropout: Which conditions training hides.
        reconstruction: Share of the pairs whose target is the source, under the words of the source.
        last_level: Share of the training samples at the last noise level.
        min_snr: Gamma of min-SNR weights; None for equal ones.
        guidance: Order and weights of the conditions in sampling.
        sampler: Solver, and what is kept outside the mask.
        mask: How the mask is made; None where a user gives one, or none is used.
        checkpointing: Whether activations are computed twice, to save memory.
        pairs: Pairs that an earlier fit has drawn, in place of the data's; None for these.
        optimiser: AdamW.

    Raises:
        UserError: If two arguments contradict one another.
    """

    def __init__(
        self,
        image_size: int,
        base: str | None,
        released: str | None,
        codec: Codec,
        unet: UNetConfig,
        words: TextEncoder,
        image_encoder: ImageEncoder | None,
        spatial: bool,
        instructions: list[str],
        schedule: NoiseConfig,
        dropout: DropoutConfig,
        reconstruction: float,
        last_level: float,
        min_snr: float | None,
        guidance: GuidanceConfig,
        sampler: EditSampler,
        mask: EditMaskConfig | None,
        checkpointing: bool,
        pairs: PairBank | None,
        optimiser: DiffusionOptimiserConfig,
    ) -> None:
        super().__init__(image_size)
        self.base, self.released, self.instructions = base, released, instructions
        self.dropout, self.reconstruction, self.last_level, self.min_snr = dropout, reconstruction, last_level, min_snr
        self.guidance, self.sampler, self.mask, self.optimiser = guidance, sampler, mask, optimiser
        self.codec, self.words, self.pairs = codec, words, pairs
        self.schedule = NoiseSchedule(schedule)
        self.denoiser = EditDenoiser(unet, codec.channels, spatial, checkpointing)
        self.image_encoder, self.adapter = image_encoder, None
        if image_encoder is not None:
            cells = (image_size // codec.factor // 2) ** 2
            self.adapter = ImageAdapter(image_encoder.tokens, codec.channels, cells, image_encoder.width)
        self.evaluations = 0  # of the network for each picture of the last call
        self._check()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean squared error of what the denoiser says of noisy targets, told of their sources (section 3.3).

        Raises:
            UserError: If the loss is not finite.
        """
        pairs = batch if self.pairs is None else self.pairs.draw(len(batch["source"]), self.device)
        before, after = self.codec.encode(torch.cat([pairs["source"], pairs["target"]])).chunk(2)
        same = torch.rand(len(before)) < self.reconstruction
        clean = torch.where(same.to(before.device)[:, None, None, None], before, after)
        prompts = [pairs["source_prompt" if kept else "target_prompt"][place] for place, kept in enumerate(same)]
        hidden = self.dropout.draw(self.guidance.order, len(clean))
        told = self.tell(pairs["source"], before, prompts).where(hidden, self.nulls())
        levels = random_levels((len(clean),), self.schedule.config.steps, self.last_level, clean.device)
        noise = torch.randn_like(clean)
        output = self.denoiser(self.schedule.noised(clean, noise, levels), levels, told)
        errors = ((output - self.schedule.target(clean, noise, levels)) ** 2).mean((1, 2, 3))
        errors = errors * self.schedule.loss_weight(levels, self.min_snr)
        loss = errors.mean()
        check_finite(loss)
        parts = by_level(errors.detach(), levels, self.schedule.config.steps)
        seen = {f"hidden/{name}": share for name, share in shares(hidden).items()}
        self.log_dict({f"train/{name}": value for name, value in (parts | seen).items()}, batch_size=len(clean))
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def tell(self, image: Tensor, latents: Tensor, prompts: Sequence[str]) -> Conditions:
        """The conditions of pictures ``B 3 H W`` in [0, 1], their latents ``B K h w`` and words."""
        tokens = None
        if self.image_encoder is not None and self.adapter is not None:
            tokens = self.adapter(self.image_encoder(image), latents)
        return Conditions(latents if self.denoiser.spatial else None, tokens, self.words(prompts))

    def nulls(self) -> Conditions:
        """What stands where a condition is hidden: no latents, the tokens of a black picture, the empty prompt."""
        side, where = self.image_size, self.device
        cells = side // self.codec.factor
        black = torch.zeros(1, 3, side, side, device=where)
        return self.tell(black, torch.zeros(1, self.codec.channels, cells, cells, device=where), [NULL])

    @torch.no_grad()
    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """Edits pictures ``B 3 H W`` in [0, 1]; a user's own mask takes the place of what the network finds.

        Raises:
            UserError: If it does not follow such instructions, is not told what the pictures show and needs to know
                it, or the mask has another size or is empty.
        """
        self._check_asked(image, instruction, context)
        mask, seeds = own_mask(image, context), context.seeds
        seeds = torch.arange(len(image)) if seeds is None else seeds
        before = [source for source, _ in context.prompts] or [NULL] * len(image)
        pictures, masks = [], []
        for start in range(0, len(image), AT_ONCE):
            some, self.evaluations = slice(start, start + AT_ONCE), 0
            told = self._encoded(image[some], before[some], instruction[some], seeds[some])
            cells, found = self._masks(told, None if mask is None else mask[some])
            edited = self.codec.decode(self.draw(told, cells)).clamp(0, 1)
            if found is not None:
                edited = pasted(edited, image[some], found, self.sampler.feather) if self.sampler.paste else edited
                masks.append(found)
            pictures.append(edited)
        return Edited(torch.cat(pictures), torch.cat(masks) if masks else None, self.evaluations)

    def draw(self, told: Told, mask: Tensor | None) -> Tensor:
        """Latents ``B K h w`` of edited pictures, kept outside a mask ``B 1 h w`` as the sampler says (section 3.4)."""
        noise = noise_of(told.seeds, told.clean.shape[1:]).to(told.clean)
        mode, schedule = "none" if mask is None else self.sampler.mode, self.schedule
        source = told.source if mode == "noise_blend" else None
        denoise = GuidedEdit(self.denoiser, told.target, told.nulls, self.guidance, source, mask)
        change = None
        if mask is not None and mode == "latent_blend_input":
            change = outside_input(mask, told.clean, noise, schedule)
        elif mask is not None and mode == "latent_blend_recon":
            plain = GuidedEdit(self.denoiser, told.source, told.nulls, self.guidance)
            change = outside(mask, recorded(self.sampler, plain, schedule, noise))
            self.evaluations += plain.evaluations
        latents = self.sampler.run(denoise, schedule, noise, change)
        self.evaluations += denoise.evaluations
        return latents

    def map(self, told: Told) -> Tensor:
        """How much each cell is to change, ``B 1 h w`` in [0, 1]: two evaluations for each noise (section 3.4)."""
        assert self.mask is not None
        bare = GuidanceConfig(self.guidance.order, dict.fromkeys(self.guidance.order, 1.0))
        sides = self.mask.compared(told.source, told.target, told.nulls)
        source, target = (GuidedEdit(self.denoiser, each, told.nulls, bare) for each in sides)
        found = difference_map(source, target, self.schedule, told.clean, told.seeds, self.mask)
        self.evaluations += source.evaluations + target.evaluations
        return found

    def _masks(self, told: Told, own: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """The mask ``B 1 h w`` of cells and ``B 1 H W`` of pixels: the user's own, or what is found; or none."""
        if own is not None:
            return as_cells(own, self.codec.factor), own
        if self.mask is None:
            return None, None
        found = self.map(told)
        return mask_of(found, self.mask), self.mask.pixels(found, self.codec.factor)

    def _encoded(self, image: Tensor, before: Sequence[str], after: Sequence[str], seeds: Tensor) -> Told:
        clean = self.codec.encode(image)
        target = self.tell(image, clean, after)
        source = Conditions(target.spatial, target.image, self.words(before))
        return Told(clean, source, target, self.nulls(), seeds)

    def _check(self) -> None:
        """Refuses an order of guidance over other conditions than there are, and hidden ones that are not."""
        there = {"text"} | ({"spatial"} if self.denoiser.spatial else set()) | ({"image"} if self.adapter else set())
        if set(self.guidance.order) != there:
            has = ", ".join(name for name in CONDITIONS if name in there)
            raise UserError(
                f"This editor has the conditions {has}, and guidance.order is {self.guidance.order}; name these."
            )
        if self.mask is not None and (useless := set(self.mask.hidden) - there):
            raise UserError(f"mask.hidden names '{min(useless)}', which this editor has not; take it out.")
        if self.image_encoder is not None and self.image_encoder.width != self.words.width:
            raise UserError("The tokens of words and of pictures have different widths; give both the same.")

    def _check_asked(self, image: Tensor, instruction: Sequence[str], context: Context) -> None:
        if unknown := [prompt for prompt in instruction if prompt not in self.instructions]:
            known = ", ".join(f"'{prompt}'" for prompt in self.instructions)
            raise UserError(f"This editor was not taught '{unknown[0]}'; choose one of: {known}.")
        if tuple(image.shape[1:]) != (3, self.image_size, self.image_size):
            raise UserError(f"This editor takes colour pictures of side {self.image_size}; scale them to it.")
        mine, keeps = "mask" in context.conditions, self.sampler.mode != "none"
        if mine and not keeps:
            raise UserError("A mask is given, and sampler.mode none keeps nothing outside one; choose another mode.")
        if keeps and not mine and self.mask is None:
            raise UserError("sampler.mode keeps what is outside a mask, and none is made; give one, or set mask.")
        if (keeps or self.mask) and not mine and not context.prompts:
            raise UserError(
                "The mask is made of what a picture shows and what it is to show: say both, or give a mask."
            )

    def setup(self, stage: str) -> None:
        """Starts a fit from published weights, where that is asked for; a checkpoint is read after this."""
        if stage != "fit":
            return
        self.codec.load_pretrained()
        if self.base is not None:
            self.denoiser.receive(base_weights(self.base))
        if self.released is not None:
            load_released(self.released, self.denoiser.unet, self.adapter)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """AdamW over the network, the adapter, and what of words and image encoder learns."""
        return self.optimiser.configured(self)

    def receive(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Starts from an earlier fit: a foundation's denoiser and words, a codec, or pairs that were drawn."""
        if name == "denoiser":
            self.denoiser.receive(weights)
        else:
            super().receive(name, weights)

    def notes(self) -> dict[str, str]:
        """What an edit cost, and what guidance asks that training never showed."""
        trained = trained_patterns(self.dropout, self.guidance)
        blind = [name for name, known in trained.items() if not known]
        never = {"guidance": f"asks with {' and with '.join(blind)} hidden, as training never did"} if blind else {}
        return {"evaluations": f"{self.evaluations} of the network for a picture"} | never

    @classmethod
    def of_tests(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """How edits are sampled; the order of guidance is learnt where training hides by it."""
        return ("sampler", "mask", "guidance.weights")

    @classmethod
    def absent(cls, options: Mapping[str, Any]) -> str | None:
        """``weights absent`` where the authors' weights are asked for and not there."""
        folder = options.get("released")
        return "weights absent" if folder and not (Path(folder) / "unet.pth").is_file() else None

    def contract(self) -> dict[str, Any]:
        """Channels, schedule, the order of guidance, and what the editor was taught."""
        own = {"latent_channels": self.codec.channels, "guidance order": list(self.guidance.order)}
        return own | {"instructions": list(self.instructions)} | vars(self.schedule.config)


def trained_patterns(dropout: DropoutConfig, guidance: GuidanceConfig) -> dict[str, bool]:
    """Whether training hides what each evaluation of guidance hides, by name."""
    trained = {frozenset(), *(dropout.sets(guidance.order) if dropout.share else [])}
    asked = [hidden for hidden, factor in zip(chain(guidance.order), guidance.factors, strict=True) if factor]
    return {"+".join(sorted(hidden)) or "none": hidden in trained for hidden in asked}
