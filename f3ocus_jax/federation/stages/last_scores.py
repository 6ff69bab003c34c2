"""The clients' last scores, which count until they are due again (`importance.every`)."""

import dataclasses

import jax
import numpy as np

from f3ocus_jax.federation.stages.client_axis import put_clients, take_clients
from f3ocus_jax.importance import Importance
from f3ocus_jax.types import ClientMemory


def due_clients(memory: ClientMemory, present: np.ndarray, number: int, every: int) -> np.ndarray:
    """Returns the clients that score their layers in a round.

    A client that had no score yet, or missed the round in which it was due, is due at once.

    Args:
      memory: Memories of all clients after the last round.
      present: Indices of the clients that take part in the round.
      number: Round number, from 1.
      every: Rounds from one score of a client to its next.

    Returns:
      Their indices, in the order of `present`.
    """
    if memory.scored_in is None:
        return present
    scored_in = np.asarray(memory.scored_in)[present]
    return present[(scored_in == 0) | (number - scored_in >= every)]


def with_new(
    last: Importance | None, indices: np.ndarray, new: Importance, clients: int
) -> Importance:
    """Returns the last importance of every client, with that of a round for some.

    Args:
      last: Importance of earlier rounds, with leading axis K; None if none is kept.
      indices: Clients that scored their layers in the round.
      new: Their importance, with leading axis.
      clients: K.

    Returns:
      Importance with leading axis K; zeros for a client that never scored.
    """
    if last is None:
        last = jax.tree.map(lambda leaf: np.zeros((clients, *leaf.shape[1:]), leaf.dtype), new)
    return put_clients(last, indices, new)


def remember(
    memory: ClientMemory, indices: np.ndarray, importance: Importance, number: int
) -> ClientMemory:
    """Returns memories that hold some clients' importance of a round, if they keep any.

    Args:
      memory: Memories of all clients after the last round.
      indices: Clients that scored their layers in the round, all finite.
      importance: Importance with leading axis K.
      number: Round number.
    """
    if memory.importance_L is None:
        return memory
    some = take_clients(importance, indices)
    return dataclasses.replace(
        memory,
        importance_L=put_clients(memory.importance_L, indices, some),
        scored_in=put_clients(memory.scored_in, indices, np.int32(number)),
    )
