"""Joint learning of depth and appearance: one diffusion model of a portrait and its depth (Ji et al., 2025).

A file of more than 320 lines, because one network has all of the paper's tasks, and each is a method of a few lines.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from models.base import PortraitModule, check_finite
from models.diffusion.attention import Features
from models.diffusion.buckets import by_level
from models.diffusion.codecs import Codec
from models.diffusion.latents import LatentCache
from models.diffusion.networks import UNetConfig
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.diffusion.pretrained import base_weights
from models.diffusion.sampling import noise_of, sample
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.errors import UserError
from models.joint.completion import Answerer, pose
from models.joint.denoiser import Denoiser, LayoutConfig, ReferenceNetwork, choose_what_learns
from models.joint.depth_image import SIGN, as_map, as_picture, closeness_image
from models.joint.given import check_closeness, check_metres, seeds_of
from models.joint.masks import MaskMixture, draw_masks, on_latents
from models.joint.motion import MotionModulesConfig, Past, load_adapter, motion_modules, split_clips
from models.joint.objective import LossRegion, draw_levels, losses, make_noisy, where_it_counts
from models.joint.pictures import reference_names, target_names, target_pictures
from models.joint.sampling import SamplerConfig, average_aligned
from models.tasks import Batch, Context
from models.tasks.depth import DepthEstimate

Reading = tuple[Tensor, Features | None]  # latents ``B K h w`` of references, and their features
AT_ONCE = 16  # a bound on memory in sampling; results do not depend on it


class Joint(PortraitModule):
    """A diffusion model of a portrait and its depth, and by its switches the paper's other rows (section 3).

    Args:
        image_size: Side of the square images in pixels.
        base: The folder, or the name in the hub's cache, of the Stable Diffusion that a fit starts from; None where it
            starts from an earlier fit (`receive`).
        codec: Pictures -> latents.
        unet: Size of the denoiser and of the reference network.
        layout: What the denoiser is given, and what it generates.
        schedule: Of the noise.
        masks: How often which modality is given in training (section 4).
        quantiles: Shares of the skin's pixels that are nearer than closeness 1, and than closeness 0.
        loss_region: Where the loss of depth and normals counts: ``all``, or ``skin``.
        min_snr: Gamma of min-SNR weights; None for equal ones.
        last_level: Share of the training samples at the last noise level.
        reference_drop: How often a sample is not shown its reference.
        put_back: Whether sampling puts what is given back at every step, as noisy as the rest.
        samplers: Of the tasks ``joint``, ``depth`` and ``image``.
        motion: Motion modules, which alone learn then, from clips (section 4); None for pictures.
        checkpointing: Whether activations are computed twice, to save memory.
        latents: The folder where training keeps the latents of all that it encodes; None to encode at every step.
        optimiser: AdamW.
    """

    def __init__(
        self,
        image_size: int,
        base: str | None,
        codec: Codec,
        unet: UNetConfig,
        layout: LayoutConfig,
        schedule: NoiseConfig,
        masks: MaskMixture,
        quantiles: tuple[float, float],
        loss_region: LossRegion,
        min_snr: float | None,
        last_level: float,
        reference_drop: float,
        put_back: bool,
        samplers: dict[str, SamplerConfig],
        motion: MotionModulesConfig | None,
        checkpointing: bool,
        latents: str | None,
        optimiser: DiffusionOptimiserConfig,
    ) -> None:
        super().__init__(image_size)
        masks.check(layout.generated)
        layout.check(schedule)
        self.layout, self.mixture, self.quantiles, self.loss_region = layout, masks, quantiles, loss_region
        self.min_snr, self.last_level, self.reference_drop, self.put_back = (
            min_snr,
            last_level,
            reference_drop,
            put_back,
        )
        self.samplers, self.optimiser = samplers, optimiser
        self.base, self.schedule, self.codec = base, NoiseSchedule(schedule), codec
        self.motion, self.frames = motion, 1 if motion is None else motion.frames
        self.denoiser = Denoiser(unet, layout, codec.channels, motion)
        self.reference = ReferenceNetwork(unet, codec.channels) if layout.has_network else None
        self.latents = None if latents is None else LatentCache(latents, self.codec)
        self.painted = "", 0, torch.zeros(0)  # the last piece of a clip: its video, its number, and its last latents
        choose_what_learns(self.denoiser, self.reference, checkpointing)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean squared error of what the denoiser says of noisy latents (eq. 5).

        Raises:
            UserError: If the loss is not finite.
        """
        past, clean, skin = self.window(*self.encode(batch), batch["image"].shape[1])
        seen, features = self.read(batch["reference"], None if self.latents is None else reference_names(batch))
        seen = seen.repeat_interleave(len(clean) // len(seen), 0)
        shared, generated, each = self.layout.levels == "shared", self.layout.generated, self.frames
        masks = on_latents(draw_masks(self.mixture, generated, skin[::each]), self.codec.factor)
        levels = draw_levels(masks, self.schedule.config.steps, shared, self.last_level).repeat_interleave(each, 0)
        masks = masks.repeat_interleave(each, 0)
        noisy = make_noisy(clean[:, : len(generated)], levels, self.schedule)
        dropped = torch.rand(len(clean) // each, device=clean.device) < self.reference_drop
        dropped = dropped.repeat_interleave(each)
        output = self.denoiser(noisy.latents, levels, clean, masks, seen, features, dropped, each, past)
        counts = where_it_counts(skin, masks, generated, self.loss_region, shared)
        errors = losses(output, noisy, self.schedule, self.min_snr, counts)
        loss = errors.mean()
        check_finite(loss)
        parts = by_level(errors.detach(), levels, self.schedule.config.steps)
        self.log_dict({f"train/{name}": value for name, value in parts.items()})
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Clean latents ``N M K h w`` of all modalities of a batch, and its skin ``N 1 H W``; N counts all targets."""
        modalities, skin = self.layout.modalities, batch["mask"].flatten(0, -4)
        names = None if self.latents is None else target_names(batch, modalities, self.quantiles)
        latents = self._encoded(lambda: target_pictures(batch, modalities, self.quantiles), names, skin)
        return latents.unflatten(0, (-1, len(skin))).transpose(0, 1), skin

    def window(self, clean: Tensor, skin: Tensor, targets: int) -> tuple[Past | None, Tensor, Tensor]:
        """Splits clips of so many frames into what is remembered of those before a window, and the window's parts.

        Raises:
            UserError: If the clips are not as long as both together.
        """
        if self.motion is None:
            return None, clean, skin
        before, clean, skin = split_clips(self.motion, clean, skin, targets)
        return self.remember(before), clean, skin

    @torch.no_grad()
    def remember(self, before: Tensor) -> Past:
        """What the motion modules attend to of the pictures' latents ``V n K h w`` before a window."""
        assert self.reference is not None
        return self.reference.record(before, [module.site for module in motion_modules(self.denoiser)])

    def read(self, reference: Tensor, names: Sequence[str] | None = None) -> Reading:
        """The latents of reference pictures ``B 3 H W``, those in the cache by name, and the features of a network."""
        seen = self._encoded(lambda: reference, names, reference)
        return seen, None if self.reference is None else self.reference(seen)

    @torch.no_grad()
    def look(self, reference: Tensor) -> Reading:
        """`read`, to sample from and not to learn."""
        return self.read(reference)

    def _encoded(self, pictures: Callable[[], Tensor], names: Sequence[str] | None, like: Tensor) -> Tensor:
        """Latents of pictures, which are drawn only where they have to be; of the size and on the device of others."""
        if self.latents is None or names is None:
            return self.codec.encode(pictures())
        kept = self.latents.find(names, like.shape[-2:])
        return self.latents.encode(pictures(), names) if kept is None else kept.to(like.device)

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Maps an image ``B 3 H W`` in [0, 1] to its closeness ``B 1 H W`` in [0, 1]: image to depth (section 4)."""
        seeds, sampler = seeds_of(context, len(image)), self.samplers["depth"]
        maps = []
        for part, own in zip(image.split(AT_ONCE), seeds.split(AT_ONCE), strict=True):
            reading = self.look(part)  # the picture is its own reference
            known = {"image": reading[0]}
            drawn = (self.complete(["depth"], known, reading, own, sampler, i) for i in range(sampler.ensemble))
            maps.append(average_aligned(torch.stack([as_map(self.codec.decode(each["depth"])) for each in drawn])))
        return DepthEstimate(torch.cat(maps).clamp(0, 1), "closeness")

    def paint_depth(self, reference: Tensor, depth: Tensor, context: Context) -> Tensor:
        """Maps a picture ``B 3 H W`` and skin depth ``B 1 H W`` (metres, 0: none) to ``B 3 H W``: depth to image."""
        check_metres(depth)
        closeness = closeness_image(depth, depth > 0, *self.quantiles)
        return self.paint(reference, closeness, seeds_of(context, len(depth)))

    def paint(self, reference: Tensor, closeness: Tensor, seeds: Tensor) -> Tensor:
        """Pictures ``N 3 H W`` of closeness ``N 1 H W``; each reference of ``B 3 H W`` serves N / B of them in turn."""
        each, parts = len(closeness) // len(reference), []
        once = self.look(reference) if len(reference) == 1 else None
        for start in range(0, len(closeness), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            reading = once or self.look(reference.repeat_interleave(each, 0)[some])
            known = {"depth": self.codec.encode(as_picture(closeness[some]))}
            painted = self.complete(["image"], known, reading, seeds[some], self.samplers["image"])
            parts.append(self.codec.decode(painted["image"]).clamp(0, 1))
        return torch.cat(parts)

    def paint_clip(self, reference: Tensor, closeness: Tensor, seeds: Tensor, context: Context) -> Tensor:
        """Frames ``T 3 H W`` of closeness ``T 1 H W``, window after window, of one person ``1 3 H W`` (section 4).

        A further piece of the context's video goes on from the latents that the last one ended with.
        """
        assert self.motion is not None
        reading, frames = self.look(reference), []
        history, (video, piece, before) = self.motion.history, self.painted
        if not context.video or (video, piece) != (context.video, context.piece - 1):
            before = torch.zeros_like(reading[0]).expand(history, -1, -1, -1)  # as first windows are in training
        for window, own in zip(closeness.split(self.frames), seeds.split(self.frames), strict=True):
            past, known = self.remember(before[None]), {"depth": self.codec.encode(as_picture(window))}
            latents = self.complete(["image"], known, reading, own, self.samplers["image"], past=past)["image"]
            frames.append(self.codec.decode(latents).clamp(0, 1))
            before = torch.cat([before, latents])[-history:]
        self.painted = context.video, context.piece, before
        return torch.cat(frames)

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Maps source ``B 3 H W`` and driving ``B T 3 H W`` to ``B T 3 H W``: the source over each frame's depth (5.5).

        The depth is the context's, where it has one (that of the source person under the driver's motion), else the
        model's own of the driving frames, with the driver's shape in it.
        """
        frames, times = driving.flatten(0, 1), driving.shape[1]
        if (known := context.conditions.get("depth")) is not None:
            depth = known.flatten(0, 1)
            closeness = closeness_image(depth, depth > 0, *self.quantiles)
        else:
            closeness = self.estimate_depth(frames, context).map
        seeds = seeds_of(context, len(frames))
        if self.motion is None:
            return self.paint(source, closeness, seeds).unflatten(0, (-1, times))
        clips = zip(source.split(1), closeness.split(times), seeds.split(times), strict=True)
        return torch.stack([self.paint_clip(*clip, context) for clip in clips])

    def draw(self, reference: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Joint samples of the persons of ``B 3 H W``: pictures ``B 3 H W`` and their closeness ``B 1 H W``."""
        seeds, drawn = seeds_of(context, len(reference)), []
        for part, own in zip(reference.split(AT_ONCE), seeds.split(AT_ONCE), strict=True):
            drawn.append(self.complete(["image", "depth"], {}, self.look(part), own, self.samplers["joint"]))
        pictures, maps = (self.codec.decode(torch.cat([d[name] for d in drawn])) for name in ("image", "depth"))
        return pictures.clamp(0, 1), as_map(maps)

    def repaint(self, image: Tensor, closeness: Tensor, region: Tensor, context: Context) -> Tensor:
        """Repaints a region of a picture over an edited depth (section 5.4); outside it stays as it was.

        Args:
            image: ``B 3 H W`` in [0, 1].
            closeness: ``B 1 H W`` in [0, 1], edited.
            region: ``B 1 H W``, bool: what is repainted.
            context: Holds the seeds.

        Returns:
            ``B 3 H W`` in [0, 1].

        Raises:
            UserError: If the map is no closeness.
        """
        check_closeness(closeness)
        reading = self.look(image)
        known = {"image": reading[0], "depth": self.codec.encode(as_picture(closeness))}
        cells = {"image": on_latents(region[:, None].float(), self.codec.factor)[:, 0]}
        seeds = seeds_of(context, len(image))
        painted = self.complete(["image"], known, reading, seeds, self.samplers["image"], regions=cells)
        return torch.where(region, self.codec.decode(painted["image"]).clamp(0, 1), image)

    @torch.no_grad()
    def complete(
        self,
        wanted: list[str],
        known: Mapping[str, Tensor],
        reading: Reading,
        seeds: Tensor,
        sampler: SamplerConfig,
        stream: int = 0,
        regions: Mapping[str, Tensor] | None = None,
        past: Past | None = None,
    ) -> dict[str, Tensor]:
        """Generates modalities from those that are known, as latents ``N K h w`` by name.

        Args:
            wanted: The modalities.
            known: Latents ``N K h w`` by modality.
            reading: Of B references (`look`); each serves N / B samples in turn.
            seeds: ``N``, of the samples.
            sampler: Steps and guidance.
            stream: Tells several draws of one sample apart.
            regions: Masks ``N 1 h w`` of modalities that are known in part; 1 is to be generated.
            past: Of the frames before a window, of which the samples are the N frames in a row.

        Raises:
            UserError: If the network cannot generate them.
        """
        seen, features = reading[0].repeat_interleave(len(seeds) // len(reading[0]), 0), reading[1]
        question = pose(self.layout, wanted, torch.zeros_like(seen), known, regions or {}, self.put_back)
        noise = noise_of(seeds, question.clean[:, : len(self.layout.generated)].shape[1:], stream).to(seen)
        frames = 1 if past is None else len(seeds)
        ask = Answerer(self.denoiser, question, seen, features, sampler.guidance, frames, past)
        back = (question.clean[:, : noise.shape[1]], question.masks) if self.put_back else None
        latents = sample(ask, self.schedule, noise, sampler.steps, back)
        return {name: latents[:, self.layout.generated.index(name)] for name in wanted}

    def setup(self, stage: str) -> None:
        """Starts a fit from published weights, where they are asked for; a checkpoint is read after this.

        Raises:
            UserError: If they are absent, or those of other networks.
        """
        if stage != "fit":
            return
        self.codec.load_pretrained()
        if self.base is not None:
            self._start(base_weights(self.base))
        if self.motion is not None and self.motion.adapter is not None:
            load_adapter(self.denoiser.unet, self.motion, self.denoiser.config)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """AdamW over both networks."""
        return self.optimiser.configured(self)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips by the norm of all gradients, also where FSDP shares them out, which Lightning leaves to us."""
        if gradient_clip_val and (over_devices := getattr(self.trainer.model, "clip_grad_norm_", None)):
            over_devices(gradient_clip_val)
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def receive(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Starts from an earlier fit.

        Raises:
            UserError: If the networks are to start from published weights, which would replace it, or it is another's.
        """
        if name == "codec":
            self.codec.load_state_dict(dict(weights))
            return
        if self.base is not None:
            raise UserError(
                f"Both model.init_args.base and needs.{name} say what this fit starts from: set base to null to start "
                "from the fit, or leave the need out."
            )
        if name == "reference":
            assert self.reference is not None
            self.reference.receive(weights)
        else:
            self._start(weights)

    def _start(self, weights: Mapping[str, Tensor]) -> None:
        """Starts from a denoiser; the reference network starts as a foundation's (section 3.2)."""
        self.denoiser.receive(weights)
        channels = weights["unet.conv_out.weight"].shape[0], weights["unet.conv_in.weight"].shape[1]
        if self.reference is not None and channels == (self.codec.channels, self.codec.channels):
            self.reference.receive(weights)

    @classmethod
    def immaterial(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Where latents are kept; that they are, and so are rounded, `resolved` says."""
        return ("latents",)

    @classmethod
    def of_tests(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """How tasks are sampled."""
        return ("samplers", "put_back")

    @classmethod
    def resolved(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """In what latents that are kept are rounded."""
        return {} if options.get("latents") is None else {"latents": "float16"}

    def contract(self) -> dict[str, Any]:
        """What a checkpoint of this model must agree in, beside the shapes of its tensors."""
        held = {"depth": SIGN, "quantiles": list(self.quantiles), "latent_channels": self.codec.channels}
        return held | vars(self.layout) | vars(self.schedule.config)
