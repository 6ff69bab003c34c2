"""ClientApp of a site, which Flower starts for every message: it asks the process of the site.

It imports neither JAX nor anything else that takes seconds.
"""

import pathlib

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from f3ocus_jax.deployment.flower import content, site_socket
from f3ocus_jax.errors import ConfigError

FOLDER = "folder"
"""Key of the SuperNode's `--node-config` that names the folder of the site."""

app = ClientApp()


@app.query()
def answer(message: Message, context: Context) -> Message:
    """Answers one message.

    Args:
      message: A task of the server.
      context: Holds the SuperNode's own configuration.

    Raises:
      ConfigError: If the SuperNode has not been told the folder of the site.
      HostError: If the process of the site is not there.
    """
    folder = context.node_config.get(FOLDER)
    if not isinstance(folder, str):
        raise ConfigError(f"the SuperNode needs --node-config '{FOLDER}=\"FOLDER\"'")
    reply = site_socket.ask(pathlib.Path(folder), content.unpack(message))
    return Message(content.pack(reply), reply_to=message)
