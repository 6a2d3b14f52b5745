"""A mistake that the user can mend stays one sentence, whoever calls the constructor that tells it."""

import pytest

from models.errors import UserError, constructing


def wrapped(error: Exception) -> None:
    """Raises as a parser does that tries several types."""
    try:
        raise error
    except Exception as first:
        raise ValueError("Does not validate against any of the Union subtypes") from first


def test_what_a_constructor_tells_the_user_comes_out_of_the_parsers_words():
    with pytest.raises(UserError, match=r"^choose 64\.$"), constructing():
        wrapped(UserError("choose 64."))


def test_what_is_no_mistake_of_the_user_stays_as_it_is():
    with pytest.raises(ValueError, match=r"^Does not validate") as raised, constructing():
        wrapped(TypeError("a bug"))
    assert not isinstance(raised.value, UserError)


def test_an_own_sentence_is_passed_on_with_its_cause():
    with pytest.raises(UserError, match=r"^name another\.$") as raised, constructing():
        raise UserError("name another.") from OSError("gone")
    assert isinstance(raised.value.__cause__, OSError)
