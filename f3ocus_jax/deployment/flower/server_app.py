"""ServerApp of a federation: Flower starts it with `flwr run`, and it ends with the last round."""

import pathlib

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from f3ocus_jax import _xla
from f3ocus_jax.deployment import server_run
from f3ocus_jax.deployment.flower import app_folder, content
from f3ocus_jax.deployment.flower.grid_transport import GridTransport

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs the federation to its last round, from its newest checkpoint if it has one.

    Args:
      grid: The way to the SuperNodes.
      context: Holds the configuration of the app.
    """
    workdir = pathlib.Path(str(context.run_config[app_folder.WORKDIR]))
    config = app_folder.read_settings(workdir)
    _xla.keep_programs("")
    limits = config.deployment
    stages = (limits.score_seconds, limits.train_seconds, limits.evaluate_seconds)
    seconds = max(limits.join_seconds, *stages)

    def make_message(task: bytes, node: int) -> Message:
        return Message(content.pack(task), node, "query", ttl=seconds)

    server_run.run(config, workdir, GridTransport(grid, make_message, content.unpack))
