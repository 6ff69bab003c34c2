"""One client's local training, and clients spread over devices."""

from f3ocus_jax.clients.local import LocalTask, LocalUpdate
from f3ocus_jax.clients.passes import Choice

__all__ = ["Choice", "LocalTask", "LocalUpdate"]
