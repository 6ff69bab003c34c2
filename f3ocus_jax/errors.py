"""Errors that a user can cause and mend."""

from tfds_medvqa.common.errors import DamagedError as DamagedError


class ConfigError(ValueError):
    """An impossible setting; the message says what was given and what is allowed."""


class DataError(ValueError):
    """Data that cannot be used; the message names the dataset, split and example, or the file."""


class WeightsError(ValueError):
    """Weights that cannot be used; the message names the file and what is wrong with it."""


class LockedError(RuntimeError):
    """A folder in which another process works; the message says which."""


class HostError(RuntimeError):
    """A host of several that is gone or has stopped; the message says which."""


class RoundError(RuntimeError):
    """A round that failed; the message names round, clients and step or layer."""


class ProtocolError(ValueError):
    """A message between server and site that is refused; names site, message and what is wrong."""


class CompilerError(RuntimeError):
    """A compiler that gives wrong numbers."""
