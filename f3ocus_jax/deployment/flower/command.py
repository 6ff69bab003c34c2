"""Commands for Flower: write the app that `flwr run` starts, and run the process of a site."""

import sys

import ml_collections
from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.config import parsing, paths
from f3ocus_jax.deployment.flower import app_folder, site_socket
from f3ocus_jax.deployment.settings import DeployedConfig


def run() -> None:
    """Runs `flower app` or `flower site`."""
    action = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if action == "app":
        define_app()
        _command_line.run_with_config(_write_app, lambda: DeployedConfig)
    elif action == "site":
        _command_line.run_with_config(_serve_site, lambda: DeployedConfig)
    else:
        given = repr(action) if action else "without an argument"
        _command_line.stop(f"deployment flower {given}: choose app, site")


def define_app() -> None:
    """Adds `--out`, the folder of the app."""
    flags.DEFINE_string("out", None, "folder of the app, for flwr run", required=True)


def _write_app(raw: ml_collections.ConfigDict) -> None:
    config = parsing.parse(DeployedConfig, raw)
    out = paths.local_folder(flags.FLAGS.out, "--out")
    app_folder.write(config, _command_line.prepare_workdir(), out)
    print(f"start the federation: flwr run {out} SUPERLINK --stream")


def _serve_site(raw: ml_collections.ConfigDict) -> None:
    from f3ocus_jax.deployment import site_run  # takes seconds, and `app` needs none of it

    config = parsing.parse(DeployedConfig, raw)
    folder = _command_line.prepare_workdir()
    with site_run.open_site(config, folder) as site, site_socket.listening(folder) as server:
        print(f"site {site.name} listens at {folder / site_socket.SOCKET}", flush=True)
        site_socket.serve(server, site.answer)
