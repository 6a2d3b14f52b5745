"""Which settings are not beaten, which one is suggested, and where a curve draws them."""

import numpy as np
import pytest

from benchmarks.report.curve import ABOVE, BELOW, BLUE, LEFT, RED, RIGHT, SIZE, Trade, clearest, draw_trade

# L1 is better lower, PSNR higher.
POINTS = {
    "weak": (0.1, 20.0),
    "middle": (0.2, 28.0),
    "strong": (0.5, 30.0),
    "beaten": (0.3, 25.0),
    "weaker": (0.1, 19.0),
}


@pytest.fixture
def trade():
    return Trade(("L1", "PSNR"), POINTS, {"copy": (0.05, 15.0)})


def test_the_front_is_what_nothing_beats_in_both_whichever_way_a_metric_points(trade):
    assert trade.front() == ["weak", "middle", "strong"]
    assert Trade(("PSNR", "L1"), {name: place[::-1] for name, place in POINTS.items()}, {}).front() == [
        "weak",
        "middle",
        "strong",
    ]


def test_equal_points_stand_on_the_front_together():
    assert Trade(("L1", "PSNR"), {"a": (1.0, 1.0), "b": (1.0, 1.0), "c": (2.0, 1.0)}, {}).front() == ["a", "b"]


def test_the_suggested_point_is_nearest_to_the_best_of_both_ranges(trade):
    """Of the ranges 0.4 and 11: weak is off by (0, 10/11), middle by (1/4, 2/11), strong by (1, 0)."""
    assert trade.suggested() == "middle"
    stretched = {name: (1000 * x, y) for name, (x, y) in POINTS.items()}
    assert Trade(("L1", "PSNR"), stretched, {}).suggested() == "middle"  # units have no say
    assert Trade(("L1", "PSNR"), {"only": (1.0, 1.0)}, {}).suggested() == "only"


def centre(pixels, colour):
    """The middle of the largest disc of a colour: the place with most of it around."""
    where = (pixels == np.array(colour)).all(-1)
    around = {(r, c): where[max(r - 5, 0) : r + 6, max(c - 5, 0) : c + 6].sum() for r, c in np.argwhere(where)}
    return max(around, key=around.get)


def test_points_stand_at_their_values(trade):
    picture = draw_trade(trade)
    assert picture.size == SIZE
    pixels = np.asarray(picture)
    (red_row, red_column), (blue_row, blue_column) = centre(pixels, RED), centre(pixels, BLUE)
    assert blue_column < red_column  # a lower L1
    assert blue_row > red_row  # a lower PSNR
    # Of the whole range 0.45 and 15 with six hundredths free on both sides.
    wide, tall = SIZE[0] - LEFT - RIGHT, SIZE[1] - ABOVE - BELOW
    assert red_column - blue_column == pytest.approx(wide * 0.15 / 0.45 / 1.12, abs=4)
    assert blue_row - red_row == pytest.approx(tall * 13 / 15 / 1.12, abs=4)


def test_one_point_alone_is_drawn():
    assert (np.asarray(draw_trade(Trade(("L1", "PSNR"), {"only": (0.0, 1.0)}, {}))) == np.array(RED)).all(-1).any()


def test_names_of_points_that_lie_together_do_not():
    """The ink of both names is as much as that of each alone, so neither lies on the other."""
    beside = {"one name": (0.5, 15.0), "another": (0.5, 15.0)}
    inks = [
        (np.asarray(draw_trade(Trade(("L1", "PSNR"), POINTS, some))) == np.array(BLUE)).all(-1).sum()
        for some in (beside, *({name: place} for name, place in beside.items()), {"": (0.5, 15.0)})
    ]
    assert inks[0] == inks[1] + inks[2] - inks[3]


def test_a_name_takes_the_first_place_in_the_field_that_is_on_the_fewest_others():
    field, taken = (0.0, 0.0, 10.0, 10.0), [(0.0, 0.0, 4.0, 4.0)]
    out, on, free, free_too = (8.0, 6.0, 12.0, 8.0), (1.0, 1.0, 5.0, 3.0), (5.0, 5.0, 9.0, 7.0), (5.0, 7.0, 9.0, 9.0)
    assert clearest([out, on, free, free_too], field, taken) == 2
    assert clearest([out, on], field, taken) == 1  # in the field, on another, rather than cut
    assert clearest([out], field, taken) == 0


@pytest.mark.parametrize("end", ["left", "right"])
def test_a_name_at_an_end_of_the_field_is_whole(end):
    """As much ink as where there is room on both sides."""
    name, at = "a name of some length", {"left": 0.1, "right": 0.5}[end]
    inks = [
        (np.asarray(draw_trade(Trade(("L1", "PSNR"), POINTS, {name: (x, 24.0)}))) == np.array(BLUE)).all(-1).sum()
        for x in (at, 0.28)
    ]
    assert inks[0] == inks[1]
