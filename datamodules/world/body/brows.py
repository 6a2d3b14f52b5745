"""Where the brows lie on the neutral face: their paint, their labels and their landmarks follow one line."""

import numpy as np

from datamodules.world.body.geometry import Array

INNER, LENGTH = 0.0115, 0.0535  # metres from the middle of the face to a brow's inner end, and on to its outer end
_RISE, _FALL, _HEIGHT = 0.0068, 0.0040, 0.0172


def brow_line(x: Array) -> tuple[Array, Array]:
    """How far along a brow a point is, 0 at its inner and 1 at its outer end, and the height of its middle, metres.

    Args:
        x: Of points of the neutral face, model space.
    """
    along = (np.abs(x) - INNER) / LENGTH
    return along, _HEIGHT + _RISE * np.sin(np.clip(along, 0, 1.1) * 2.3) - _FALL * along
