"""A mistake that the user can mend stays one sentence, whoever calls the constructor that tells it."""

import errno

import pytest

from models.errors import UserError, causes, constructing, stoppable
from models.files import room


def wrapped(error: Exception) -> None:
    """Raises as a parser does that tries several types."""
    try:
        raise error
    except Exception as first:
        raise ValueError("Does not validate against any of the Union subtypes") from first


def test_what_a_constructor_tells_the_user_comes_out_of_the_parsers_words():
    with pytest.raises(UserError, match=r"^choose 64\.$"), constructing():
        wrapped(UserError("choose 64."))


def test_the_causes_of_what_is_told_end_although_it_is_among_them():
    told = UserError("choose 64.")
    with pytest.raises(UserError) as raised, room(), constructing():
        wrapped(told)
    assert raised.value is told
    assert [type(each) for each in causes(told)] == [UserError, ValueError]


def test_a_full_disk_under_what_is_told_is_still_seen():
    told = UserError("no room.")
    told.__cause__ = OSError(errno.ENOSPC, "full", "runs/a")
    with pytest.raises(UserError, match=r"^The disk of 'runs' is full"), room(), constructing():
        wrapped(told)


def test_what_is_no_mistake_of_the_user_stays_as_it_is():
    with pytest.raises(ValueError, match=r"^Does not validate") as raised, constructing():
        wrapped(TypeError("a bug"))
    assert not isinstance(raised.value, UserError)


def test_an_own_sentence_is_passed_on_with_its_cause():
    with pytest.raises(UserError, match=r"^name another\.$") as raised, constructing():
        raise UserError("name another.") from OSError("gone")
    assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        (KeyboardInterrupt(), "Stopped; run the same command again."),
        (KeyboardInterrupt("Half is left."), "Half is left."),
    ],
)
def test_what_the_keyboard_stops_ends_in_a_sentence_with_its_status(capsys, stop, told):
    with pytest.raises(SystemExit) as ended, stoppable():
        raise stop
    assert ended.value.code == 130
    assert capsys.readouterr().err == told + "\n"
