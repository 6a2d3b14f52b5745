"""Squares that are cut from a picture and put back, exactly."""

import numpy as np
import pytest
import torch

from benchmarks.animate.square import BELOW, POINTS, Square
from datamodules.video.samples import to_float
from models.errors import UserError


@pytest.fixture
def picture():
    return torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("region", [Square(10, 20, 32), Square(-9, -5, 40), Square(50, 30, 64), Square(-10, -20, 100)])
def test_what_is_cut_and_put_back_changes_nothing(picture, region):
    square = region.cut(picture, region.side)
    assert square.shape == (1, 3, region.side, region.side)
    assert torch.equal(region.paste(square, picture)[0], picture)


def test_a_square_that_leaves_the_picture_goes_on_as_its_edge(picture):
    square = Square(-4, 50, 20).cut(picture, 20)[0]
    shown = to_float(picture)
    assert torch.equal(square[:, :10, 4:], shown[:, 50:, :16])
    assert torch.equal(square[:, :10, :4], shown[:, 50:, :1].expand(-1, -1, 4))
    assert torch.equal(square[:, 10:, 4:], shown[:, -1:, :16].expand(-1, 10, -1))


def test_the_result_fades_towards_the_photograph_but_not_at_its_end(picture):
    black = torch.zeros_like(picture)
    frames = torch.ones(2, 3, 50, 50)
    pasted = Square(0, 5, 50).paste(frames, black)
    assert pasted.shape == (2, 3, 60, 80)
    row, column = pasted[1, 0, 30], pasted[1, 0, :, 20]
    assert (row[:46] == 255).all()  # the photograph ends on the left
    assert (row[50:] == 0).all()
    assert (column[9:51] == 255).all()
    assert (column[:5] == 0).all()
    assert (row[46:50].int().diff() < 0).all()
    assert torch.equal(column[5:55], column[5:55].flip(0))


def test_a_head_is_framed_as_those_of_the_world():
    points = np.array([[[10.0, 20.0], [56.0, 50.0], *[[30.0, 30.0]] * 66]])
    region = Square.around(points)
    assert region.side == 100
    assert 46 / region.side == POINTS
    assert region.left + region.side / 2 == pytest.approx(33.5, abs=0.51)
    assert region.top + region.side / 2 == pytest.approx(35.5 - BELOW * 100, abs=0.51)
    wider = Square.around(np.concatenate([points, np.add(points, [20, 0])]))
    assert (wider.side, wider.left) == (round(66 / POINTS), round(43.5 - 66 / POINTS / 2))


@pytest.mark.parametrize("region", [(-31, 0, 32), (79, 59, 64), (0, -31, 32), (0, 0, 240), (-70, 0, 170)])
def test_a_square_that_holds_a_part_of_the_picture_is_taken(picture, region):
    Square(*region).check(picture, "a.jpg")
    assert Square(*region).cut(picture, 8).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("region", [(80, 0, 32), (0, 60, 32), (-32, 0, 32), (0, -32, 32), (5, 5, 0), (40, 40, -9)])
def test_a_square_beside_the_picture_is_one_sentence(picture, region):
    with pytest.raises(UserError, match=r"^The square \[.*\] holds nothing of 'a\.jpg' of 80 x 60: give [^.]*\.$"):
        Square(*region).check(picture, "a.jpg")


def test_a_square_much_larger_than_the_picture_is_one_sentence(picture):
    with pytest.raises(UserError, match=r"^The square \[0, 0, 241\] is more than 3 times as large as 'a\.jpg'"):
        Square(0, 0, 241).check(picture, "a.jpg")
