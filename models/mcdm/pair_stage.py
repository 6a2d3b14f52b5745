"""The fit that draws the pairs which an editor is then trained on; nothing learns in it."""

from typing import Any

import torch
from torch import Tensor

from models.base import PortraitModule, gathered
from models.diffusion.codecs import Codec
from models.diffusion.networks import PlainDenoiser, UNetConfig
from models.diffusion.pretrained import base_weights
from models.diffusion.sampling import noise_of
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.diffusion.words import NULL, TextEncoder
from models.errors import UserError
from models.mcdm.pair_bank import PairBank
from models.mcdm.pairs import CanvasWords, Composition, PairGenerator, halves
from models.tasks import Batch, seeds

Tensors = tuple[Tensor, ...]


class PairStage(PortraitModule):
    """Draws a pair for each sample of the training set, from its name and its two prompts, in one pass.

    The paper's pose and words of identity are not given: the noise decides on both.

    Several processes draw what one would; the first, which writes the checkpoint, keeps it.

    Args:
        image_size: Side of the square pictures in pixels; a canvas is two of them wide.
        base: The folder, or the name in the hub's cache, of the Stable Diffusion that draws; None where an earlier fit
            does (`receive`).
        codec: Pictures -> latents.
        unet: Size of the denoiser.
        words: Prompts -> what the denoiser attends to.
        schedule: Of the noise.
        shared: The prompt p of the whole canvas.
        composition: Of the three prompts.
        steps: Of the sampler.
        guidance: Of each prompt.
        pairs: Where they are kept; as many are drawn as it holds.

    Reference: Chen et al. 2024, Learning Feature-Preserving Portrait Editing from Generated Pairs, section 3.2.
    """

    def __init__(
        self,
        image_size: int,
        base: str | None,
        codec: Codec,
        unet: UNetConfig,
        words: TextEncoder,
        schedule: NoiseConfig,
        shared: str,
        composition: Composition,
        steps: int,
        guidance: float,
        pairs: PairBank,
    ) -> None:
        super().__init__(image_size)
        self.automatic_optimization = False
        self.base, self.shared, self.codec, self.pairs = base, shared, codec, pairs
        self.words = words.requires_grad_(False)
        self.denoiser = PlainDenoiser(unet, codec.channels).requires_grad_(False)
        scheduler = NoiseSchedule(schedule).scheduler
        self.generator = PairGenerator(self.denoiser.unet, scheduler, composition, guidance, steps, None, 1.0)

    def configure_optimizers(self) -> None:
        """Nothing is optimised."""

    def on_train_start(self) -> None:
        """Looks whether there will be enough, before any is drawn."""
        loader, batches = self.trainer.train_dataloader, int(self.trainer.num_training_batches)
        assert loader is not None
        self._check_enough(len(self.pairs.source) - batches * loader.batch_size * self.trainer.world_size)

    def on_train_epoch_start(self) -> None:
        """Begins anew, also where a fit that was cut off goes on."""
        self.pairs.clear()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Draws the pairs of a batch, until there are enough."""
        prompts = list(zip(batch["source_prompt"], batch["target_prompt"], strict=True))[: self.pairs.missing]
        if prompts:
            source, target = self.draw(prompts, seeds(batch["name"][: len(prompts)]))
            self._keep(*zip(*gathered((source.cpu(), target.cpu(), prompts)), strict=True))

    def _keep(self, sources: Tensors, targets: Tensors, prompts: tuple[list[tuple[str, str]], ...]) -> None:
        """Keeps what each process has drawn, in the order of one: they take the samples in turn."""
        if self.global_rank:
            self.pairs.pass_over(sum(map(len, sources)))
        else:
            source, target = (torch.stack(each, 1).flatten(0, 1) for each in (sources, targets))
            self.pairs.add(source, target, [both for turn in zip(*prompts, strict=True) for both in turn])

    @torch.no_grad()
    def draw(self, prompts: list[tuple[str, str]], own: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs x_A and x_B ``B 3 H W`` in [0, 1], of the words of both and of seeds ``B``."""
        side = self.image_size // self.codec.factor
        noise = noise_of(own, (self.codec.channels, side, 2 * side)).to(self.device)
        left, right = ([both[place] for both in prompts] for place in (0, 1))
        whole = [self.shared] * len(prompts)
        null, shared, first, second = (self.words(each) for each in ([NULL], whole, left, right))
        words = CanvasWords(null, shared, first, second, None)
        return halves(self.codec.decode(self.generator.draw(noise, words)).clamp(0, 1))

    def on_train_epoch_end(self) -> None:
        """Looks whether there are enough."""
        self._check_enough(self.pairs.missing)

    def _check_enough(self, lacking: int) -> None:
        """Refuses an epoch that has too few samples.

        Raises:
            UserError: If pairs are lacking.
        """
        if lacking > 0:
            raise UserError(
                f"The epoch has {lacking} samples too few for the pairs that are asked for; "
                "raise data.init_args.samples_per_epoch, or lower model.init_args.pairs.init_args.count."
            )

    def setup(self, stage: str) -> None:
        """Takes Stable Diffusion's weights, where that is asked for; a checkpoint is read after this."""
        if self.base is not None and stage == "fit":
            self.codec.load_pretrained()
            self.receive("denoiser", base_weights(self.base))

    def contract(self) -> dict[str, Any]:
        """Channels."""
        return {"latent_channels": self.codec.channels}
