"""Reference rows of editing: what pairs and masks reach by themselves, and the ceilings of a codec and of a grid."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from models.base import PortraitModule
from models.diffusion.codecs import Codec
from models.errors import UserError
from models.tasks import Batch, Context
from models.tasks.editing import Edited


class TrainingTarget(PortraitModule):
    """What a fit would see as the edit of this very person, and the mask that its difference from the source makes.

    Args:
        image_size: Side of the images in pixels.
        threshold: Difference, a mean over channels in [0, 1], above which a pixel counts as edited.
    """

    needs_fit: ClassVar[bool] = False
    is_oracle: ClassVar[bool] = True

    def __init__(self, image_size: int, threshold: float) -> None:
        super().__init__(image_size)
        self.threshold = threshold

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """The imperfect target of the pair.

        Raises:
            UserError: If the pairs have none.
        """
        target = _known(context.conditions, "training_target", "add the folder training_target to the pairs")
        return Edited(target, pair_difference(image, target, self.threshold))


class WholeMask(PortraitModule):
    """The input under a mask that is 1 everywhere: the overlap that saying nothing reaches."""

    needs_fit: ClassVar[bool] = False

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """The input, said to be edited everywhere."""
        return Edited(image, torch.ones_like(image[:, :1]))


class GridMask(PortraitModule):
    """The best mask on a coarse grid, as of latents, and the edit that it can paste: both are ceilings.

    Args:
        image_size: Side of the images in pixels.
        cells: Of the grid along a side.

    Raises:
        UserError: If the cells do not divide the side.
    """

    needs_fit: ClassVar[bool] = False
    is_oracle: ClassVar[bool] = True

    def __init__(self, image_size: int, cells: int) -> None:
        super().__init__(image_size)
        if image_size % cells:
            raise UserError(f"A side of {image_size} pixels has no {cells} cells; set cells to a divisor.")
        self.cells = cells

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """The perfect edit inside the mask, and the input outside it."""
        assert context.truth is not None
        mask = grid_mask(context.conditions["exact_mask"], self.cells)
        return Edited(torch.where(mask > 0, context.truth, image), mask)


class CodecCeiling(PortraitModule):
    """The perfect edit through a codec: what nothing that is decoded by it can pass.

    Its fit, of no epochs, takes over the codec of an earlier one.

    Args:
        image_size: Side of the images in pixels.
        codec: Pictures -> latents.
    """

    is_oracle: ClassVar[bool] = True

    def __init__(self, image_size: int, codec: Codec) -> None:
        super().__init__(image_size)
        self.codec = codec

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Never.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{type(self).__name__} learns nothing: set trainer.max_epochs to 0.")

    def configure_optimizers(self) -> None:
        """Nothing is optimised."""

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """The perfect edit, encoded and decoded."""
        assert context.truth is not None
        return Edited(self.codec.decode(self.codec.encode(context.truth)).clamp(0, 1), None)


def pair_difference(source: Tensor, target: Tensor, threshold: float) -> Tensor:
    """The naive mask ``B 1 H W`` of a pair: 1 where pictures ``B 3 H W`` differ by more than the threshold."""
    return ((source - target).abs().mean(1, keepdim=True) > threshold).to(source)


def grid_mask(exact: Tensor, cells: int) -> Tensor:
    """The mask ``B 1 H W`` of whole cells that overlaps best (IoU) with an exact one ``B 1 H W`` in [0, 1].

    Soft masks overlap by their sums. The best set of k cells is those with the largest shares, so all k are tried.
    """
    side = exact.shape[-1] // cells
    shares, order = functional.avg_pool2d(exact, side).flatten(1).sort(1, descending=True)
    inside, counts = shares.cumsum(1), torch.arange(1, shares.shape[1] + 1).to(shares)
    best = (inside / (counts + inside[:, -1:] - inside)).argmax(1, keepdim=True)
    kept = (counts - 1 <= best).to(exact)
    grid = torch.zeros_like(shares).scatter(1, order, kept).view(len(exact), 1, cells, cells)
    return functional.interpolate(grid, scale_factor=side, mode="nearest")


def _known(conditions: Mapping[str, Tensor], name: str, remedy: str) -> Tensor:
    if name not in conditions:
        raise UserError(f"This row answers with what is known of the pairs, which lack '{name}': {remedy}.")
    return conditions[name]
