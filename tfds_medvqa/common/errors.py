"""Errors of builds and of files that a user can resolve."""


class BuildError(ValueError):
    """A dataset cannot be built; the message names the file and what was expected."""


class DamagedError(ValueError):
    """A file that changed after it was written, or that is gone; the message names it."""
