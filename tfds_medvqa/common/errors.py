"""Errors of a build that a user can resolve."""


class BuildError(ValueError):
    """A dataset cannot be built; the message names the file and what was expected."""
