"""Completion: some modalities are known, the others are generated (section 4, domain-wise inpainting)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.diffusion.attention import Features
from models.diffusion.sampling import guided
from models.errors import UserError
from models.joint.denoiser import Denoiser, LayoutConfig
from models.joint.motion import Past


@dataclass(frozen=True)
class Question:
    """What is known of a batch, as the denoiser is told it.

    Args:
        clean: ``B M K h w``, the known latents, 0 where there are none.
        masks: ``B G 1 h w``; 1 is to be generated.
    """

    clean: Tensor
    masks: Tensor


def pose(
    layout: LayoutConfig,
    wanted: Sequence[str],
    blank: Tensor,
    known: Mapping[str, Tensor],
    regions: Mapping[str, Tensor],
    put_back: bool,
) -> Question:
    """The question that generates ``wanted`` from what is known.

    Args:
        layout: Of the network.
        wanted: Modalities to be generated, whole or in a region.
        blank: ``B K h w``, zeros, which stand where nothing is known.
        known: Latents ``B K h w`` of modalities.
        regions: Masks ``B 1 h w`` of modalities that are known in part; 1 is to be generated.
        put_back: Whether sampling puts back what is known.

    Raises:
        UserError: If the network cannot answer it.
    """
    if missing := [name for name in wanted if name not in layout.generated]:
        can = _listed(layout.generated)
        raise UserError(f"This network generates {can}, not {_listed(missing)}; choose another row.")
    if missing := [name for name in layout.given if name not in known]:
        raise UserError(f"This network needs {_listed(missing)}, which is not given; choose another row.")
    asked = [name for name in known if name in layout.generated]
    if asked and not (layout.masked or layout.levels == "per_modality" or put_back):
        raise UserError(
            f"This network generates {_listed(layout.generated)} together and cannot be given {_listed(asked)}; set "
            "model.init_args.put_back, or fit the inpainting stage."
        )
    if regions and not (layout.masked or put_back):
        raise UserError(
            "This network is given modalities whole, and would not see what is around a region; set "
            "model.init_args.put_back, or fit the inpainting stage."
        )
    clean = torch.stack([known.get(name, blank) for name in layout.modalities], 1)
    whole = torch.ones_like(blank[:, :1])
    masks = torch.stack([regions.get(name, whole * (name not in known)) for name in layout.generated], 1)
    return Question(clean, masks)


@dataclass(frozen=True)
class Answerer:
    """The denoiser, asked one question: noisy latents ``B G K h w`` and their level -> its output.

    Args:
        denoiser: The network.
        question: What is known.
        seen: ``B K h w``, the reference's latents, where they are concatenated.
        features: Of the reference network, where it is one.
        guidance: Scale of classifier-free guidance by the reference; 1 for none.
        frames: How many samples in a row are a window of one video; 1 for pictures.
        past: Of the frames before a window, see `motion`.
    """

    denoiser: Denoiser
    question: Question
    seen: Tensor
    features: Features | None
    guidance: float
    frames: int = 1
    past: Past | None = None

    def __call__(self, noisy: Tensor, level: int) -> Tensor:
        """Asks once, or, with guidance, for twice the samples, of which the first half is not shown its reference."""
        clean, masks = self.question.clean, self.question.masks
        levels = torch.full(masks.shape[:2], level, device=noisy.device)
        if self.denoiser.layout.levels == "per_modality":
            given = masks.amax((2, 3, 4)) == 0
            levels = torch.where(given, 0, levels)
            noisy = torch.where(given[:, :, None, None, None], clean[:, : noisy.shape[1]], noisy)
        inputs = noisy, levels, clean, masks
        if self.guidance == 1 or self.denoiser.layout.reference == "none":
            return self.denoiser(*inputs, self.seen, self.features, None, self.frames, self.past)
        twice = [torch.cat([part, part]) for part in (*inputs, self.seen)]
        features, past = _twice(self.features), _twice(self.past)
        dropped = torch.tensor([True, False], device=noisy.device).repeat_interleave(len(noisy))
        output = self.denoiser(*twice, features, dropped, self.frames, past)
        without, given = output.chunk(2)
        return guided(without, given, self.guidance)


def _twice(parts: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
    return None if parts is None else {name: torch.cat([part, part]) for name, part in parts.items()}


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
