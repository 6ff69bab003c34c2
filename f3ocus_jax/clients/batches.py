"""Examples that one client uses in a round: a function of (seed, round, client) alone."""

from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.data import order
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.types import Batch


def draw_probe_batch(client: ClientData, *, seed: int, number: int, examples: int) -> Batch:
    """Draws the training examples on which a client's layers are scored.

    Args:
      client: Data of the client.
      seed: Seed of the run.
      number: Round number; the same number draws the same examples.
      examples: N, at most the client's training examples.

    Returns:
      One batch of N examples.
    """
    draw = order.make_generator(seed, number, client.name, "probe")
    return client.train.batch(draw.permutation(len(client.train))[:examples])


def draw_training_batches(
    client: ClientData, *, seed: int, number: int, steps: int, batch_size: int
) -> Batch:
    """Draws the batches of a client's local steps.

    Args:
      client: Data of the client.
      seed: Seed of the run.
      number: Round number.
      steps: S, number of batches; fewer steps are a prefix of more.
      batch_size: B.

    Returns:
      Batches with leading axis S.
    """
    draw = order.make_generator(seed, number, client.name, "training")
    return client.train.batch(*order.training_indices(draw, len(client.train), steps, batch_size))


def count_local_steps(client: ClientData, settings: TrainingConfig) -> int:
    """Returns the number of local steps that a client takes in a round, at least 1."""
    return order.local_steps(
        len(client.train),
        batch_size=settings.batch_size,
        local_epochs=settings.local_epochs,
        max_local_steps=settings.max_local_steps,
    )
