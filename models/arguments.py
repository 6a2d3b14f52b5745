"""What command lines share beyond argparse."""

import argparse
from collections.abc import Sequence

MAX_SEED = 2**32 - 1  # numpy's


def as_seed(text: str) -> int:
    """The seed that an option gives, as its ``type``.

    Raises:
        argparse.ArgumentTypeError: If it is none.
    """
    if not (text.isdecimal() and int(text) <= MAX_SEED):
        raise argparse.ArgumentTypeError(f"{text} is no seed: give a number from 0 to {MAX_SEED}.")
    return int(text)


class Gathered(argparse.Action):
    """Keeps the values of every time that an option is given, in place of its default.

    argparse's own ``store`` keeps the last time alone, and its ``extend`` the default beside them.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Adds values to those of earlier times."""
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*(() if before is self.default else before), *(values or ())])
