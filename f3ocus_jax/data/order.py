"""Which examples does a client see in which order? A function of (seed, round, client) alone.

A resumed run needs no iterator state: it asks for the round it has reached.
"""

import zlib

import numpy as np


def generator(seed: int, round: int, client: str, purpose: str) -> np.random.Generator:
    """Returns the random numbers of one client in one round.

    Args:
      seed: of the run.
      round: the round's number.
      client: its name, so that the order does not depend on who else takes part.
      purpose: what they are for ("training", "probe"); other purposes draw other numbers.
    """
    return np.random.default_rng(
        [seed, round, zlib.crc32(client.encode()), zlib.crc32(purpose.encode())]
    )


def training_indices(
    draw: np.random.Generator, num_examples: int, steps: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deals a client's examples to its local steps.

    Every pass over the data is a new permutation, and its last batch is filled up with masked
    examples, so that no example counts twice in a pass.

    Args:
      draw: the client's random numbers.
      num_examples: N.
      steps: S, how many batches are wanted.
      batch_size: B.

    Returns:
      (indices_SB int64, mask_SB float32).
    """
    per_pass = -(-num_examples // batch_size)
    padding = per_pass * batch_size - num_examples
    mask = np.concatenate([np.ones(num_examples), np.zeros(padding)]).astype(np.float32)
    passes = -(-steps // per_pass)
    orders = [
        np.concatenate([draw.permutation(num_examples), np.zeros(padding, np.int64)])
        for _ in range(passes)
    ]
    indices_SB = np.concatenate(orders).reshape(-1, batch_size)[:steps]
    mask_SB = np.tile(mask, passes).reshape(-1, batch_size)[:steps]
    return indices_SB, mask_SB


def local_steps(
    num_examples: int, *, batch_size: int, local_epochs: float, max_local_steps: int
) -> int:
    """Returns how many steps a client takes in a round: at least 1."""
    steps = int(np.ceil(local_epochs * num_examples / batch_size))
    return max(1, min(steps, max_local_steps))
