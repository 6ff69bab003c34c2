"""Commands for NVFlare: write the job of a deployment, and let a participant run it."""

import sys
from collections.abc import Sequence

import ml_collections
from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.config import parsing, paths
from f3ocus_jax.deployment.nvflare import job
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.errors import ConfigError


def run() -> None:
    """Runs `nvflare` with a config, or `nvflare allow`."""
    if sys.argv[1:2] == ["allow"]:
        sys.argv.pop(1)
        _command_line.run_with_arguments(_allow)
    else:
        text = "absolute path of the run's folder at the server; one in its workspace if empty"
        flags.DEFINE_string("server_workdir", "", text)
        _command_line.run_with_config(_write, lambda: DeployedConfig)


def _write(raw: ml_collections.ConfigDict) -> None:
    config = parsing.parse(DeployedConfig, raw)
    folder = _command_line.prepare_workdir()
    job.write_job(config, folder, workdir=flags.FLAGS.server_workdir)
    print(f"job: {folder}")
    sites = config.deployment.sites
    # With fewer threads than sites the simulator stops a site between its tasks.
    threads = f"-t {len(sites)}"
    print(f"simulate: nvflare simulator {folder} -c {','.join(sites)} {threads} -w FOLDER")
    print(f"submit:   nvflare job submit -j {folder}")


def _allow(folders: Sequence[str]) -> None:
    if not folders:
        raise ConfigError("nvflare allow takes the folders of startup kits, and got none")
    for folder in folders:
        print(f"wrote {job.allow(paths.local_folder(folder, 'a startup kit'))}")
