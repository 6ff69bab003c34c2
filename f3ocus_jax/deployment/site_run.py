"""Process of a site: its data, its memory on disk, and its answers to the server."""

import pathlib

from f3ocus_jax.deployment.settings import DeployedConfig


class OpenSite:
    """A site that answers; what it must not forget is on disk after every answer.

    Attributes:
      name: Name of the site, `config.deployment.site`.
    """

    name: str

    def join(self) -> bytes:
        """Returns the first message of the site, for an engine in which sites may speak first."""
        raise NotImplementedError

    def answer(self, data: bytes) -> bytes:
        """Answers one task; bytes that are refused are answered by a refusal.

        Args:
          data: Any bytes that claim to be a task.

        Returns:
          The answer.
        """
        raise NotImplementedError


def open_site(config: DeployedConfig, folder: pathlib.Path) -> OpenSite:
    """Opens a site: reads its own data, and what an earlier process of it has left.

    Args:
      config: Settings of the site; `config.deployment.site` is its name.
      folder: Folder of the site's memory, made if absent.

    Raises:
      BuildError, ConfigError, DataError, WeightsError: If data or settings cannot be used.
      LockedError: If another process of the site uses the folder.
    """
    raise NotImplementedError
