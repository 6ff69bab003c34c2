"""Order of a client's examples, a function of (seed, round, client) alone.

A resumed run needs no iterator state: the number of the next round suffices.
"""

import zlib

import numpy as np


def make_generator(seed: int, round: int, client: str, purpose: str) -> np.random.Generator:
    """Makes the random number generator of one client in one round.

    Args:
      seed: Seed of the run.
      round: Round number.
      client: Name of the client, so that the order does not depend on the other participants.
      purpose: Use of the numbers ("training", "probe"); each purpose draws other numbers.
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
      draw: Random number generator of the client.
      num_examples: N, number of training examples.
      steps: S, number of batches.
      batch_size: B, examples per batch.

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
    """Returns the number of steps that a client takes in a round: at least 1."""
    steps = int(np.ceil(local_epochs * num_examples / batch_size))
    return max(1, min(steps, max_local_steps))
