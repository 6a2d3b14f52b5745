"""What a training batch holds, as pictures for the codec, and how a cache of latents calls them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.errors import UserError
from models.joint.depth_image import as_picture, closeness_image, normals_image
from models.tasks import Batch

Quantiles = tuple[float, float]


def target_pictures(batch: Batch, modalities: Sequence[str], quantiles: Quantiles) -> Tensor:
    """The pictures ``M*N 3 H W`` in [0, 1] of a batch, one modality after another.

    Args:
        batch: With N targets in all.
        modalities: The M of them.
        quantiles: Of the skin's depths, as `closeness_image` has them.
    """
    image, depth, mask = (batch[name].flatten(0, -4) for name in ("image", "depth", "mask"))
    pictures = {"image": image}
    if "depth" in modalities:
        pictures["depth"] = as_picture(closeness_image(depth, mask, *quantiles))
    if "normals" in modalities:
        pictures["normals"] = normals_image(depth, mask, batch["K"].flatten(0, -3))
    return torch.cat([pictures[name] for name in modalities])


def target_names(batch: Batch, modalities: Sequence[str], quantiles: Quantiles) -> list[str]:
    """The names of `target_pictures`, in its order; a picture that is drawn otherwise has another.

    Raises:
        UserError: If the data do not name their frames.
    """
    if "frame_name" not in batch:
        raise UserError("These data do not name their frames: set model.init_args.latents to null.")
    frames = [name for targets in zip(*batch["frame_name"], strict=True) for name in targets]  # of T tuples of B
    drawn = {"depth": f"depth {quantiles[0]:g} {quantiles[1]:g}"}
    return [f"{drawn.get(modality, modality)}/{name}" for modality in modalities for name in frames]


def reference_names(batch: Batch) -> list[str]:
    """The names of a batch's reference pictures, which may be targets at another time."""
    return [f"image/{name}" for name in batch["reference_name"]]
