"""The error of this room."""


class ProblemError(ValueError):
    """A problem set that cannot be used; the message names file, line and field."""
