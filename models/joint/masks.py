"""Masks of the inpainting task: which latents of which modality are to be generated (section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from models.errors import UserError


@dataclass
class MaskMixture:
    """How often each kind of mask is drawn; the paper calls them asymmetric, and says no more.

    Args:
        joint: Everything is generated.
        given: By modality, how often it is given whole and all others are generated.
        region: By modality, how often a region of it is generated and all others are given.
        regions: How often a region of each modality is generated, drawn apart.

    Raises:
        UserError: If the shares do not sum to one.
    """

    joint: float
    given: dict[str, float]
    region: dict[str, float]
    regions: float

    def __post_init__(self) -> None:
        total = sum(self.shares)
        if abs(total - 1) > 1e-6 or min(self.shares) < 0:
            raise UserError(f"The shares of model.init_args.masks sum to {total:g}; make them positive, and sum to 1.")

    def check(self, modalities: Sequence[str]) -> None:
        """Refuses masks of what is not generated.

        Raises:
            UserError: In one sentence.
        """
        if unknown := [name for name in (*self.given, *self.region) if name not in modalities]:
            raise UserError(f"The masks name '{unknown[0]}', which this network does not generate: take it out.")

    @property
    def shares(self) -> list[float]:
        """The shares in one list: joint, given, region, regions."""
        return [self.joint, *self.given.values(), *self.region.values(), self.regions]


def draw_masks(mixture: MaskMixture, modalities: Sequence[str], skin: Tensor) -> Tensor:
    """Draws the masks of a batch; 1 is to be generated, 0 is given.

    Args:
        mixture: How often each kind is drawn.
        modalities: In the order of the latents.
        skin: ``B 1 H W``, bool: of the faces, at whose features some regions lie.

    Returns:
        ``B M 1 H W``, float.
    """
    kinds = torch.multinomial(skin.new_tensor(mixture.shares, dtype=torch.float32), len(skin), replacement=True)
    regions = draw_regions(skin.repeat(len(modalities), 1, 1, 1)).unflatten(0, (-1, len(skin))).transpose(0, 1).float()
    masks, kind = torch.ones_like(regions), 1
    for name in mixture.given:
        masks[kinds == kind, modalities.index(name)] = 0
        kind += 1
    for name in mixture.region:
        place = modalities.index(name)
        partial = torch.zeros_like(regions)
        partial[:, place] = regions[:, place]
        masks = torch.where((kinds == kind)[:, None, None, None, None], partial, masks)
        kind += 1
    return torch.where((kinds == kind)[:, None, None, None, None], regions, masks)


def draw_regions(skin: Tensor) -> Tensor:
    """Regions ``B 1 H W``, bool: a box, free-form strokes, or a band of the face (eyes, mouth, its lower half)."""
    kinds = torch.randint(3, (len(skin), 1, 1, 1), device=skin.device)
    drawn = torch.stack([_boxes(skin), _strokes(skin), _bands(skin)])
    return drawn.gather(0, kinds[None].expand(1, *skin.shape))[0]


def on_latents(masks: Tensor, factor: int) -> Tensor:
    """Masks ``B M 1 h w`` of latents: a cell is to be generated if any of its pixels is."""
    return max_pool2d(masks.flatten(0, 1), factor).unflatten(0, masks.shape[:2])


def kept(clean: Tensor, masks: Tensor) -> Tensor:
    """The latents ``B M K h w`` that are given: a partial mask, one cell wider, hides what leaks over its edge."""
    wider = max_pool2d(masks.flatten(0, 1), 3, stride=1, padding=1).unflatten(0, masks.shape[:2])
    return clean * (1 - wider)


def _grid(skin: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``H 1`` and columns ``1 W`` of pixel centres in [0, 1]."""
    height, width = skin.shape[-2:]
    y = (torch.arange(height, device=skin.device) + 0.5) / height
    x = (torch.arange(width, device=skin.device) + 0.5) / width
    return y[:, None], x[None]


def _boxes(skin: Tensor) -> Tensor:
    """Boxes of a quarter to three quarters of the side, anywhere inside."""
    y, x = _grid(skin)
    size = 0.25 + 0.5 * torch.rand(2, len(skin), 1, 1, 1, device=skin.device)
    start = torch.rand_like(size) * (1 - size)
    return (y >= start[0]) & (y < start[0] + size[0]) & (x >= start[1]) & (x < start[1] + size[1])


def _strokes(skin: Tensor, joints: int = 5) -> Tensor:
    """Broken lines through drawn points, a tenth to a quarter of the side wide."""
    y, x = _grid(skin)
    points = torch.rand(2, joints, len(skin), 1, 1, 1, device=skin.device)
    start, along = points[:, :-1], points[:, 1:] - points[:, :-1]
    at = ((y - start[0]) * along[0] + (x - start[1]) * along[1]) / (along**2).sum(0).clamp(min=1e-9)
    at = at.clamp(0, 1)
    distance = ((y - start[0] - at * along[0]) ** 2 + (x - start[1] - at * along[1]) ** 2).amin(0).sqrt()
    return distance < 0.05 + 0.075 * torch.rand(len(skin), 1, 1, 1, device=skin.device)


def _bands(skin: Tensor) -> Tensor:
    """Bands over the width of the face: eyes, mouth or the lower half, by shares of the skin's height."""
    bands = skin.new_tensor([(0.25, 0.5), (0.6, 0.85), (0.5, 1.0)], dtype=torch.float32)
    chosen = bands[torch.randint(len(bands), (len(skin),), device=skin.device)]
    top, bottom = _extent(skin.any(3, keepdim=True).flatten(1))
    left, right = _extent(skin.any(2, keepdim=True).flatten(1))
    y, x = _grid(skin)
    start, end = (_wide(top + (bottom - top) * share) for share in chosen.unbind(1))
    return (y >= start) & (y < end) & (x >= _wide(left)) & (x < _wide(right))


def _extent(line: Tensor) -> tuple[Tensor, Tensor]:
    """Where lines ``B N``, bool, begin and end, in [0, 1]; all of them where they are empty."""
    line = line | ~line.any(1, keepdim=True)
    length = line.shape[1]
    return line.float().argmax(1) / length, 1 - line.flip(1).float().argmax(1) / length


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
