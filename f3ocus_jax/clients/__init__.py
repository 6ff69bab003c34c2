"""One client's local training, and clients spread over devices."""

from f3ocus_jax.clients.gradient import Choice
from f3ocus_jax.clients.local import LocalTask, LocalUpdate

__all__ = ["Choice", "LocalTask", "LocalUpdate"]
