"""What NVFlare runs in a job: the server's application, and that of every site.

NVFlare makes both from the job's configuration, which names these classes and holds the settings of
the server. A site's settings are its own: the job cannot name a file, a folder or a setting of a
site.
"""

import pathlib
import threading
from collections.abc import Mapping
from typing import Any

from nvflare.collab import collab

from f3ocus_jax import _xla
from f3ocus_jax.config import parsing
from f3ocus_jax.deployment import server_run, site_run
from f3ocus_jax.deployment.nvflare.collab_transport import CollabTransport
from f3ocus_jax.deployment.nvflare.site_settings import site_config
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.errors import ConfigError

FOLDER = "f3ocus"
"""Folder below an NVFlare workspace that keeps runs and memories from job to job."""


class FederationServer:
    """Application of the server."""

    def __init__(self, settings: Mapping[str, Any] | None = None, job: str = "", workdir: str = ""):
        """Keeps what the job's configuration says.

        Args:
          settings: Settings of the run, nested.
          job: Name of the job.
          workdir: Absolute path of the folder of the run at the server; "" for one in the server's
            workspace, the same for all jobs of that name, so that a job goes on where one before
            has stopped.
        """
        self.settings, self.job, self.workdir = settings, job, workdir

    @collab.main
    def run(self) -> None:
        """Runs the federation to its last round."""
        _xla.keep_programs("")
        config = parsing.parse(DeployedConfig, self.settings or {})
        workdir = pathlib.Path(self.workdir or _root() / FOLDER / self.job)
        workdir.mkdir(parents=True, exist_ok=True)
        proxies = {proxy.name: proxy for proxy in collab.clients}
        limits = config.deployment
        seconds = max(limits.score_seconds, limits.train_seconds, limits.evaluate_seconds)
        context = collab.context
        with CollabTransport(proxies, seconds, context.is_aborted) as transport:
            server_run.run(config, workdir, transport)


class FederationSite:
    """Application of a site."""

    def __init__(self, job: str = ""):
        """Keeps the name of the job.

        Args:
          job: Name of the job, under which the site keeps its memory.
        """
        self.job = job
        self._lock = threading.Lock()
        self._site: site_run.OpenSite | None = None

    @collab.init
    def open(self) -> None:
        """Opens the site: its own settings, its data, and what it remembers."""
        _xla.keep_programs("")
        config = site_config(collab.site_name, _root())
        self._site = site_run.open_site(config, _root() / FOLDER / self.job)

    @collab.final
    def close(self) -> None:
        """Lets another process open the site."""
        if self._site is not None:
            self._site.close()

    @collab.publish
    def answer(self, task: bytes) -> bytes:
        """Answers one task of the server.

        Args:
          task: Bytes of the task.

        Returns:
          Bytes of the answer.
        """
        with self._lock:
            if self._site is None:
                raise ConfigError("the site is not open")
            return self._site.answer(task)


def _root() -> pathlib.Path:
    """Returns the absolute path of this process's workspace."""
    return pathlib.Path(collab.workspace.get_root_dir()).resolve()
