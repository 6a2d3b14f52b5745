"""What a user hands over that the model cannot take: words, and depth of another sign or range."""

import torch
from torch import Tensor

from models.errors import UserError
from models.tasks import Context

_DEEPEST = 3  # how many times as far as the nearest skin the farthest may be: 0.3 m of relief seen from 0.3 m are 2
_NEAREST = 0.9  # closeness that no border of a portrait has, unless near and far are swapped


def seeds_of(context: Context, count: int) -> Tensor:
    """The seeds ``count`` of the samples; without any, the numbers from 0.

    Raises:
        UserError: If there are prompts.
    """
    if any(word for words in context.prompts for word in words):
        raise UserError("The joint system has no words: leave the prompts out, or choose a system that has them.")
    return torch.arange(count) if context.seeds is None else context.seeds


def check_metres(depth: Tensor) -> None:
    """Refuses skin depth that is none in metres.

    Raises:
        UserError: If a value is negative or not finite, or the skin is deeper than any face: closeness ends at 0.
    """
    if not (depth.isfinite().all() and (depth >= 0).all()):
        raise UserError(
            "The depth holds negative values, nan or inf: give metres from the camera on the skin, and 0 elsewhere."
        )
    inside = torch.where(depth > 0, depth.float(), torch.nan).flatten(1)
    near, far = torch.nanquantile(inside, inside.new_tensor([0.005, 0.995]), dim=1)
    if (far > _DEEPEST * near).any():
        worst = int((far / near).nan_to_num().argmax())
        raise UserError(
            f"The skin's depth goes from {near[worst]:.3g} to {far[worst]:.3g}, as closeness or disparity would: give "
            "metres from the camera on the skin, and 0 elsewhere."
        )


def check_closeness(closeness: Tensor) -> None:
    """Refuses a map ``B 1 H W`` that is no closeness of portraits, whose background is farthest.

    Raises:
        UserError: If a value is outside [0, 1], or the border of a map is nearest.
    """
    if not ((closeness >= 0) & (closeness <= 1)).all():  # nan is neither
        raise UserError(
            "The closeness leaves [0, 1]: give 1 where a face is nearest, and 0 where farthest and around it."
        )
    border = torch.cat([closeness[..., [0, -1], :].flatten(1), closeness[..., [0, -1]].flatten(1)], 1)
    if (border.median(1).values > _NEAREST).any():
        raise UserError("The closeness is largest along the border, as that of a depth map is: give 1 less the map.")
