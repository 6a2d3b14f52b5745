"""Where the texels of the head lie on the neutral face."""

from functools import cache

import numpy as np
from scipy.ndimage import map_coordinates

from datamodules.world.body.geometry import Array
from datamodules.world.body.head import columns, head_grid, rows
from datamodules.world.paint.textures import texel_grid

SIZE = (320, 320)


@cache
def head_map() -> tuple[Array, Array, Array, Array, Array]:
    """Neutral x, y, z, level and azimuth at the texels of the head."""
    head = head_grid()
    u, v = texel_grid(SIZE)
    at = np.stack([v * (head.grid.shape[0] - 1), u * (head.grid.shape[1] - 1)])
    grid = head.position[head.grid]
    x, y, z = (map_coordinates(grid[..., i], at, order=1) for i in range(3))
    level = map_coordinates(rows(), at[:1], order=1)
    azimuth = map_coordinates(columns(), at[1:], order=1)
    return x, y, z, level, azimuth
