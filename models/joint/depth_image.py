"""Depth and normals as pictures, so that the codec of photographs encodes them."""

import torch
from kornia.geometry.depth import depth_to_normals
from kornia.morphology import erosion
from torch import Tensor
from torch.nn.functional import normalize

SIGN = "closeness"  # near is 1, far is 0; kept in every checkpoint


def closeness_image(depth: Tensor, mask: Tensor, low: float, high: float) -> Tensor:
    """Closeness over the range of a face, so that nothing beside it is nearer than its farthest pixel.

    Args:
        depth: ``B 1 H W``, camera z in metres.
        mask: ``B 1 H W``, bool: the skin.
        low: Share of the skin's pixels that are nearer than what is drawn as 1, in [0, 1).
        high: Share of the skin's pixels that are nearer than what is drawn as 0, in (0, 1].

    Returns:
        ``B 1 H W`` in [0, 1]; 0 outside the mask, and everywhere where that is empty.

    Reference: Ke et al. 2024, Marigold, section 3.2 (quantiles); the sign and the background are ours.
    """
    inside = torch.where(mask, depth.float(), torch.nan).flatten(1)
    near, far = torch.nanquantile(inside, inside.new_tensor([low, high]), dim=1).nan_to_num()[..., None, None, None]
    closeness = (far - depth) / (far - near).clamp(min=1e-6)
    return torch.where(mask, closeness.clamp(0, 1), 0.0)


def normals_image(depth: Tensor, mask: Tensor, camera: Tensor) -> Tensor:
    """Normals of the surface as colours (n + 1) / 2; mid-grey outside the mask and along its edge.

    Along the edge a difference would reach for depth that is not known. Normals are the camera's x right, y down, z
    away, and point into the head, so that what faces the camera is blue.

    Args:
        depth: ``B 1 H W``, camera z in metres.
        mask: ``B 1 H W``, bool: the skin.
        camera: ``B 3 3``, in pixels.

    Returns:
        ``B 3 H W`` in [0, 1].
    """
    inside = torch.where(mask, depth, depth.new_tensor(1.0))
    normals = normalize(depth_to_normals(inside, camera), dim=1)
    known = erosion(mask.to(depth), torch.ones(3, 3).to(depth)) > 0
    return torch.where(known, (normals + 1) / 2, 0.5)


def as_picture(map_: Tensor) -> Tensor:
    """A map ``B 1 H W`` as a grey picture ``B 3 H W``, which the codec takes."""
    return map_.expand(-1, 3, -1, -1)


def as_map(picture: Tensor) -> Tensor:
    """The map ``B 1 H W`` in [0, 1] of a decoded picture ``B 3 H W``: the mean of its channels (Ke et al. 2024)."""
    return picture.mean(1, keepdim=True).clamp(0, 1)
