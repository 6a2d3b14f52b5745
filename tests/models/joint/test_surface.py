import math

import pytest
import torch

from models.joint.surface import quads, view
from tests.models.joint.shapes import everywhere, grid, tensor


def covered(picture):
    return picture[0].mean(0) < 0.999


def test_a_plane_is_as_wide_as_the_cosine_of_the_yaw():
    x, _ = grid(41)
    for yaw in (0, 40, 60):
        seen = covered(view(torch.zeros_like(x), everywhere(x), yaw, tensor(1.0), 9.0, 82))
        assert int(seen.any(0).sum()) == pytest.approx(80 * math.cos(math.radians(yaw)), abs=2)
        assert int(seen.any(1).sum()) == pytest.approx(80, abs=2)


def test_a_plane_is_lit_by_the_cosine_of_its_turn():
    x, _ = grid(41)
    for yaw in (0, 60):
        picture = view(torch.zeros_like(x), everywhere(x), yaw, tensor(1.0), 9.0, 41)
        expected = 0.8 * (0.25 + 0.75 * math.cos(math.radians(yaw)))
        torch.testing.assert_close(picture[0, :, 20, 20], torch.full((3,), expected))


@pytest.mark.parametrize("yaw", [90, -90])
def test_the_profile_of_a_cone_is_a_triangle(yaw):
    """From the picture's right what is near lies to the left."""
    x, y = grid(41)
    radius = (x**2 + y**2).sqrt()
    cone, mask = (15 - radius).clamp(min=0) / 15, radius <= 15
    seen = covered(view(cone, mask, yaw, tensor(12.0), 9.0, 41))
    widths = seen[20].nonzero()
    middle = 20 + (1 if yaw > 0 else -1) * (12 * cone[mask].mean())
    tip = widths.min() if yaw > 0 else widths.max()
    assert float(tip) == pytest.approx(float(middle - (12 if yaw > 0 else -12)), abs=1.1)
    assert seen[20].sum() > seen[27].sum() > seen[33].sum()


def test_paint_stays_on_its_point():
    x, y = grid(41)
    cone = (15 - (x**2 + y**2).sqrt()).clamp(min=0) / 15
    paint = torch.ones(1, 3, 41, 41)
    paint[:, 1:, 19:22, 19:22] = 0  # the tip is red
    picture = view(cone, everywhere(x), 30, tensor(10.0), 9.0, 41, paint)
    red = (picture[0, 0] - picture[0, 1] > 0.2).nonzero().float().mean(0)
    # The tip, so much nearer than the middle of the surface, moves by the sine of the turn.
    expected = 20 - 10 * (1 - float(cone.mean())) * math.sin(math.radians(30))
    assert float(red[1]) == pytest.approx(expected, abs=1)
    assert float(red[0]) == pytest.approx(20, abs=0.6)


def test_a_surface_is_torn_where_it_is_too_steep():
    step = torch.zeros(6, 6)
    step[:, 3:] = 5.0
    mask = torch.ones(6, 6, dtype=torch.bool)
    assert len(quads(step, mask, 6.0)) == 50
    assert len(quads(step, mask, 4.0)) == 40
    mask[0, 0] = False
    assert len(quads(step, mask, 6.0)) == 48


def test_nothing_is_drawn_of_an_empty_mask():
    x, _ = grid()
    assert (view(x, torch.zeros_like(x, dtype=torch.bool), 30, tensor(1.0), 9.0, 20) == 1).all()


def test_each_surface_of_a_batch_is_drawn_alone():
    x, y = grid()
    maps = torch.cat([torch.cos(x / 6), torch.sin(y / 4)])
    masks = torch.cat([x**2 + y**2 < 150, x.abs() < 9])
    together = view(maps, masks, 35, tensor(4.0, 6.0), 9.0, 40)
    assert torch.equal(together[1:], view(maps[1:], masks[1:], 35, tensor(6.0), 9.0, 40))
    assert not torch.allclose(together[0], together[1])
