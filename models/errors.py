"""The errors that a user can mend."""


class UserError(ValueError):
    """A mistake that the user can mend; the command line prints it as one sentence, without a traceback."""
