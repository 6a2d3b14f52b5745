"""The errors that a user can mend."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 130  # what shells give a command that Ctrl-C ended


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
        raise next((each for each in causes(error) if isinstance(each, UserError)), error)  # noqa: B904 - each keeps its cause


@contextmanager
def stoppable() -> Iterator[None]:
    """A command, or what of it takes long, that loses nothing when it is stopped from the keyboard.

    Raises:
        SystemExit: With the status of what the keyboard stopped, and a sentence, or that of the stop, instead of a
            traceback.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        print(str(stop) or "Stopped; run the same command again.", file=sys.stderr)
        raise SystemExit(STOPPED) from None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came of, each once: one that is raised anew stands among its own causes."""
    seen: list[BaseException] = []
    while error is not None and not any(error is each for each in seen):
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__
