"""The pictures of the joint system: what is drawn, of which fits, with which numbers."""

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from benchmarks.evaluation.figures import evenly
from benchmarks.report.panels import enlarged, sheet
from metrics.alignment import affine_align
from models.base import PortraitModule
from models.joint import Joint
from models.joint.depth_image import as_picture
from models.joint.relighting import RelightConfig, relight
from models.joint.surface import view
from models.tasks import Context, perform, seeds
from models.tasks.depth import DepthFrames
from models.tasks.reenactment import Reenactment

TILE, VIDEO_TILE = 192, 128  # pixels; pictures are enlarged to the largest multiple of their side within it
FRAMES = 5  # columns of the animation's strip
# On the exact depth of six faces at 128 px these bring a relit picture from a mean L1 of 0.085 to 0.027 of the render.
SHADING = RelightConfig(smooth=1.0, ambient=0.3, feather=1.0)
LIGHTS = {"left": (-1.0, -0.3, -0.7), "right": (1.0, -0.3, -0.7)}  # x right, y down, z away: from above the camera
YAW = 50.0  # degrees, of the view from the side
STEEPEST = 8.0  # pixels between neighbours: nose and the cheek behind it are no one surface
SKIN = 0.1  # closeness from which on a map without a mask is taken for skin; its background is 0
RAISED = 0.3  # of the face's range of depth: far enough to be seen
# In shares of the skin's height: how far the mouth is below the nose, its nearest point; the region's half axes.
BELOW, ACROSS, DOWN = 0.19, 0.14, 0.1


def relief_of(faces: DepthFrames) -> Tensor:
    """How many pixels one unit of closeness stands out of each face, ``B``."""
    inside = torch.where(faces.mask, faces.depth, torch.nan).flatten(1)
    near, middle, far = torch.nanquantile(inside, torch.tensor([0.005, 0.5, 0.995]), dim=1)
    return (far - near) / middle * faces.K[:, 0, 0]


def samples(model: Joint, faces: DepthFrames) -> Image.Image:
    """Joint samples of persons: picture and closeness, relit from two sides, and the surface from the side."""
    assert faces.image is not None
    picture, closeness = model.draw(faces.image, Context(seeds=seeds(faces.sample_id)))
    relief = relief_of(faces).mean().expand(len(picture))  # as deep as these faces are on average
    columns = [faces.image, picture, as_picture(closeness), *_lit_and_turned(picture, closeness, relief)]
    heads = ["reference", "sampled picture", "its sampled depth", *_lit_and_turned_heads()]
    return _drawn(columns, heads)


def depths(models: Mapping[str, PortraitModule], faces: DepthFrames) -> Image.Image:
    """Pictures, their true depth and that of each method, over the truth's range."""
    maps = {"truth": _own_range(faces.depth, faces)} | {name: estimate(m, faces) for name, m in models.items()}
    shown = [torch.where(faces.mask, as_picture(closeness), 1.0) for closeness in maps.values()]
    assert faces.image is not None
    return _drawn([faces.image, *shown], ["picture", *maps])


def surfaces(models: Mapping[str, PortraitModule], faces: DepthFrames) -> Image.Image:
    """The true surface of faces and that of each method from the side."""
    maps = {"truth": _own_range(faces.depth, faces)} | {name: estimate(m, faces) for name, m in models.items()}
    assert faces.image is not None
    relief, size = relief_of(faces), enlarged(faces.image.shape[-1], TILE)
    shown = [view(closeness, faces.mask, YAW, relief, STEEPEST, size) for closeness in maps.values()]
    return _drawn([faces.image, *shown], ["picture", *maps])


def estimate(model: PortraitModule, faces: DepthFrames) -> Tensor:
    """A method's depth ``B 1 H W`` as the truth's closeness, after its best scale and shift inside the skin."""
    found = perform(model, faces)
    aligned = affine_align(found.map.float(), found.kind, faces.depth, faces.mask)
    return _own_range(aligned.depth.float(), faces)


def _own_range(depth: Tensor, faces: DepthFrames) -> Tensor:
    """A map in metres as closeness over the range of the true depth."""
    inside = torch.where(faces.mask, faces.depth, torch.nan).flatten(1)
    near, far = torch.nanquantile(inside, torch.tensor([0.005, 0.995]), dim=1)[..., None, None, None]
    return ((far - depth) / (far - near)).clamp(0, 1)


def animations(name: str, model: Joint, by_driver: Reenactment, by_answer: Reenactment) -> dict[str, Tensor]:
    """Lines ``T 3 H W`` of one pair of persons, by what they are called."""
    assert by_driver.target is not None
    return {
        "driving": by_driver.driving[0],
        f"{name}: driver's depth": perform(model, by_driver)[0],
        f"{name}: answer's depth": perform(model, by_answer)[0],
        "answer": by_driver.target[0],
    }


def animation_strip(source: Tensor, lines: Mapping[str, Tensor]) -> Image.Image:
    """Some frames of an animation, with the source ``3 H W``."""
    chosen = evenly(len(lines["driving"]), FRAMES)
    rows = [[source if name == "driving" else None, *line[chosen]] for name, line in lines.items()]
    heads = ["source", *(f"frame {int(i) + 1}" for i in chosen)]
    return sheet(rows, heads, list(lines), enlarged(source.shape[-1], TILE))


def animation_frames(source: Tensor, lines: Mapping[str, Tensor]) -> list[Image.Image]:
    """All frames of an animation, each beside the source ``3 H W``."""
    size = enlarged(source.shape[-1], VIDEO_TILE)
    frames = zip(*lines.values(), strict=True)
    return [sheet([[source, *frame]], ["source", *lines], [], size) for frame in frames]


def edit(model: Joint, faces: DepthFrames) -> Image.Image:
    """The mouth repainted over the model's own depth, as it is and raised."""
    assert faces.image is not None
    context, region = Context(seeds=seeds(faces.sample_id)), mouth(faces.depth, faces.mask)
    closeness = model.estimate_depth(faces.image, context).map
    raised = (closeness + RAISED * bump(faces.depth, faces.mask)).clamp(0, 1)
    same, higher = (model.repaint(faces.image, depth, region, context) for depth in (closeness, raised))
    marked = torch.where(region, faces.image, 0.35 * faces.image + 0.65)
    columns = [faces.image, as_picture(closeness), as_picture(raised), marked, same, higher]
    heads = ["picture", "its estimated depth", f"mouth {RAISED:g} nearer", "region", "repainted, depth as it is"]
    return _drawn(columns, [*heads, "repainted, mouth nearer"])


def mouth(depth: Tensor, mask: Tensor) -> Tensor:
    """An ellipse around the mouth of faces with a depth ``B 1 H W`` and skin, bool."""
    return _distance(depth, mask) <= 1


def bump(depth: Tensor, mask: Tensor) -> Tensor:
    """What the mouth is raised by, ``B 1 H W``: 1 in the ellipse's middle, 0 from its border on."""
    return (1 - _distance(depth, mask)).clamp(min=0).sqrt()


def _distance(depth: Tensor, mask: Tensor) -> Tensor:
    """Squared distance from the mouth's centre, in the ellipse's half axes."""
    nose = torch.where(mask, depth, torch.inf).flatten(1).argmin(1)[:, None, None, None]
    rows, columns = (torch.arange(n) for n in mask.shape[-2:])
    height = mask.any(-1, keepdim=True).sum(2, keepdim=True)  # of rows with skin
    x = (columns - nose % mask.shape[-1]) / (ACROSS * height)
    y = (rows[:, None] - nose // mask.shape[-1] - BELOW * height) / (DOWN * height)
    return x**2 + y**2


def photograph(models: Mapping[str, PortraitModule], image: Tensor, relief: Tensor) -> Image.Image:
    """A photograph ``1 3 H W`` with its depth by each model, relit and from the side by the first.

    Args:
        models: Those whose maps are closeness in [0, 1].
        image: The photograph.
        relief: How many pixels one unit of closeness stands out: a photograph does not tell.
    """
    maps = [_closeness(model, image) for model in models.values()]
    columns = [image, *map(as_picture, maps), *_lit_and_turned(image, maps[0], relief[None])]
    return _drawn(columns, ["photograph", *(f"depth: {name}" for name in models), *_lit_and_turned_heads()])


def _closeness(model: PortraitModule, image: Tensor) -> Tensor:
    assert isinstance(model, Joint)
    return model.estimate_depth(image, Context()).map


def _lit_and_turned(picture: Tensor, closeness: Tensor, relief: Tensor) -> list[Tensor]:
    mask = closeness > SKIN
    lit = [relight(picture, closeness, mask, torch.tensor(at), relief, SHADING) for at in LIGHTS.values()]
    return [*lit, view(closeness, mask, YAW, relief, STEEPEST, enlarged(picture.shape[-1], TILE))]


def _lit_and_turned_heads() -> list[str]:
    return [*(f"relit from the {name}" for name in LIGHTS), "seen from the side"]


def _drawn(columns: Sequence[Tensor], heads: Sequence[str]) -> Image.Image:
    """A sheet of columns ``B 3 H W``."""
    return sheet([*zip(*columns, strict=True)], heads, [], enlarged(columns[0].shape[-1], TILE))
