"""Errors of builds and of files that a user can resolve."""


class BuildError(ValueError):
    """A dataset cannot be built; the message names the file and what was expected."""


class DamagedError(ValueError):
    """A file that changed after it was written, or that is gone; the message names it."""


class ImageError(ValueError):
    """Bytes that cannot be used as an image; the message says why, without the file's name."""


class ImageSizeError(ImageError):
    """An image above the limit of pixels."""
