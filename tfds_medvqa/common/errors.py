"""What can go wrong in a build that a user can mend."""


class BuildError(ValueError):
    """A dataset that cannot be built: the message names the file and what was expected of it."""
