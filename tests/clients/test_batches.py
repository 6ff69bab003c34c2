"""Examples of a client in a round, drawn again with NumPy from (seed, round, client)."""

import zlib

import numpy as np
import pytest

from f3ocus_jax.clients import batches
from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.data.examples import ClientData, Examples


def numbered(count, start):
    """Examples that are known by their labels."""
    labels_N = np.arange(start, start + count, dtype=np.int32)
    pixels_NHWC = np.zeros((count, 1, 1, 3), np.uint8)
    tokens_NT = labels_N[:, None]
    texts = [""] * count
    return Examples(pixels_NHWC, tokens_NT, np.ones_like(tokens_NT), labels_N, *(texts,) * 5)


CLIENT = ClientData("oct", numbered(10, 0), numbered(30, 100))


def generator(seed, number, purpose, name="oct"):
    texts = [zlib.crc32(text.encode()) for text in (name, purpose)]
    return np.random.default_rng([seed, number, *texts])


def probe(**changed):
    given = {"client": CLIENT, "seed": 5, "number": 2, "examples": 4} | changed
    return batches.draw_probe_batch(given.pop("client"), **given).labels_B.tolist()


def test_the_probe_is_drawn_from_the_training_split_anew_for_seed_round_and_client():
    assert probe() == generator(5, 2, "probe").permutation(10)[:4].tolist()
    other = ClientData("fundus", CLIENT.train, CLIENT.test)
    again = [probe(), probe(seed=6), probe(number=3), probe(client=other)]
    assert len({tuple(labels) for labels in again}) == 4


@pytest.mark.parametrize("number", [1, 2])
def test_training_passes_over_all_examples_in_an_order_of_their_own(number):
    made = batches.draw_training_batches(CLIENT, seed=5, number=number, steps=5, batch_size=4)
    draw = generator(5, number, "training")
    passes = [draw.permutation(10).tolist() for _ in range(2)]
    assert passes[0] != passes[1]
    counted = [
        labels[mask > 0].tolist()
        for labels, mask in zip(made.labels_B, made.example_mask_B, strict=True)
    ]
    assert counted[:3] == [passes[0][:4], passes[0][4:8], passes[0][8:]]
    assert counted[3:] == [passes[1][:4], passes[1][4:8]]
    np.testing.assert_array_equal(made.input_ids_BT[..., 0], made.labels_B)


@pytest.mark.parametrize(
    ("epochs", "most", "steps"), [(1.0, 50, 3), (2.0, 50, 5), (2.0, 4, 4), (0.1, 50, 1)]
)
def test_steps_are_passes_in_batches_up_to_the_most(epochs, most, steps):
    settings = TrainingConfig(batch_size=4, local_epochs=epochs, max_local_steps=most)
    assert batches.count_local_steps(CLIENT, settings) == steps
