"""The depth of a set as a face tracker has it: a fit to each clip's landmarks, rendered in the place of the person."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from datamodules.world.body.geometry import Array
from datamodules.world.body.template import template
from datamodules.world.paint.appearance import wrinkle_weights
from datamodules.world.scene.pose import head_turns
from datamodules.world.scene.tracker import Track, detected, track
from datamodules.world.scene.view import Camera, Frames, Posed, draw, posed
from datamodules.world.seeds import generator, stream
from datamodules.world.sets.portrait_frames import moment_of, person_shown, render_frames, setting_shown, view_of
from datamodules.world.sets.portraits import SPLITS, PortraitClip, PortraitSpec, frame_count
from models.rendering import camera as pinhole

_DETECTOR = 6  # of the numbers that `portraits.PERSON` begins


@lru_cache(maxsize=4)
def track_of(spec: PortraitSpec, clip: PortraitClip) -> Track:
    """The fit to a clip of the training or the test split, kept for its frames: a pure function of set and clip."""
    landmarks, matrices = landmarks_of(spec, clip)
    rng = generator(stream(spec.seed, SPLITS[clip.split], clip.person, _DETECTOR, clip.index))
    return track(detected(landmarks, rng), matrices, person_shown(spec, clip))


def landmarks_of(spec: PortraitSpec, clip: PortraitClip) -> tuple[Array, Array]:
    """The true landmarks ``T 68 2`` of all frames of a clip, pixels, and the cameras ``T 3 3``; nothing is drawn."""
    person, size = person_shown(spec, clip), spec.image_size
    points, matrices = [], []
    every = range(frame_count(spec, clip))
    for frames in [[i] for i in every] if spec.stills else [list(every)]:
        setting = setting_shown(spec, clip, frames[0])
        moments = [moment_of(spec, clip, frame) for frame in frames]
        scene = posed(person, setting, moments, view=view_of(spec, clip, frames[0]))
        matrix = pinhole.intrinsics(torch.tensor([scene.camera.focal]), size, size)
        marks = scene.vertices[:, torch.from_numpy(template(person.detail).landmarks)]
        points.append(pinhole.project(marks, matrix)[..., :2])
        matrices.append(matrix.expand(len(frames), 3, 3))
    return torch.cat(points).double().numpy(), torch.cat(matrices).double().numpy()


def fitted_maps(spec: PortraitSpec, clip: PortraitClip, frames: Sequence[int]) -> Frames:
    """Depth and skin of the fit in frames of a clip, of stills one at a time; a bald head with nothing on it."""
    fit, setting = track_of(spec, clip), setting_shown(spec, clip, frames[0])
    moments = [fit.moments[frame] for frame in frames]
    place = fit.translation[list(frames)]
    scene = Posed(
        fit.person,
        Camera(setting.focal, np.eye(3), place.mean(0)),
        torch.from_numpy(fit.vertices(frames)).float(),
        torch.from_numpy(np.stack([wrinkle_weights(moment.expression) for moment in moments])).float(),
        torch.from_numpy(head_turns(np.stack([moment.angles for moment in moments]))),
        torch.from_numpy(place),
    )
    return draw(scene, setting, spec.image_size, ("depth", "skin"))


def labelled_frames(
    spec: PortraitSpec, clip: PortraitClip, frames: Sequence[int], truth: bool = True
) -> tuple[Frames, Array]:
    """As `render_frames`, with depth and skin as the set's `depth_by` has them.

    The fit's skin is where the fit has skin and the picture too, which is what a face parser tells: hair and what is
    worn are not in the fit.
    """
    drawn, codes = render_frames(spec, clip, frames, truth)
    if drawn.skin is None or not is_fitted(spec, clip):
        return drawn, codes
    fit = fitted_maps(spec, clip, frames)
    assert fit.skin is not None
    return replace(drawn, depth=fit.depth, skin=fit.skin & drawn.skin), codes


def is_fitted(spec: PortraitSpec, clip: PortraitClip) -> bool:
    """Whether the depth of a clip is that of a fit."""
    return spec.depth_by == "fit" and clip.split == "train"


def fitted_depth(spec: PortraitSpec, clip: PortraitClip, frames: Sequence[int]) -> Tensor:
    """Depth of the fit in frames of a clip, ``B 1 H W`` metres; where the fit is not, that of its nearest pixel."""
    depth = fitted_maps(spec, clip, frames).depth
    assert depth is not None
    return everywhere(depth)


def everywhere(depth: Tensor) -> Tensor:
    """Depth maps ``B 1 H W``, metres, 0 = none, where there is none that of the nearest pixel that has one."""
    filled = depth.clone()
    for picture in filled[:, 0]:
        if (picture > 0).any():
            rows, columns = distance_transform_edt(picture.numpy() <= 0, return_distances=False, return_indices=True)
            picture.copy_(picture[torch.from_numpy(rows).long(), torch.from_numpy(columns).long()])
    return filled
