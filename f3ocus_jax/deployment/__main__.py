"""Commands of deployments: f3ocus deployment site|flower|nvflare [ACTION] --config CONFIG."""

import importlib
import sys

from f3ocus_jax import _command_line

ACTIONS = {
    "site": "f3ocus_jax.deployment.site_command",
    "flower": "f3ocus_jax.deployment.flower.command",
    "nvflare": "f3ocus_jax.deployment.nvflare.command",
}
"""First argument to the module whose `run` reads the others."""


def main() -> None:
    """Runs the command that the first argument names."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in ACTIONS:
        given = repr(name) if name else "without an argument"
        _command_line.stop(f"deployment {given}: choose {', '.join(ACTIONS)}")
    importlib.import_module(ACTIONS[name]).run()


if __name__ == "__main__":
    main()
