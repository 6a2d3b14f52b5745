"""The errors that a user can mend."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """A mistake that the user can mend; the command line prints it as one sentence, without a traceback."""


@contextmanager
def constructing() -> Iterator[None]:
    """A block in which a parser calls constructors; what they say to the user comes out of the parser's own words.

    Raises:
        UserError: The one that the parser's ``ValueError`` came of.
    """
    try:
        yield
    except ValueError as error:
        if (told := _told(error)) is None or told is error:
            raise
        raise told from error


def _told(error: BaseException | None) -> UserError | None:
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error
