import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.importance import probe
from tests.helpers.oracles import toy_batch


def marked(mask, labels=None):
    """Examples that are told apart by their first token."""
    batch = toy_batch(len(mask))
    ids_BT = np.repeat(np.arange(len(mask), dtype=np.int32)[:, None], 5, axis=1)
    labels = np.zeros(len(mask), np.int32) if labels is None else np.array(labels, np.int32)
    return batch.replace(
        input_ids_BT=ids_BT, labels_B=labels, example_mask_B=np.array(mask, np.float32)
    )


def dealt(batch, batches):
    """The examples that count, batch by batch."""
    parts = jax.jit(probe.deal, static_argnums=1)(batch, batches)
    return [
        [int(ids_T[0]) for ids_T, mask in zip(ids_BT, mask_B, strict=True) if mask > 0]
        for ids_BT, mask_B in zip(
            np.asarray(parts.input_ids_BT), np.asarray(parts.example_mask_B), strict=True
        )
    ]


@pytest.mark.parametrize(
    ("mask", "batches", "expected"),
    [
        ([1, 1, 1, 1], 2, [[0, 2], [1, 3]]),
        ([1, 1, 1, 1, 1], 2, [[0, 2, 4], [1, 3]]),
        ([1, 0, 1, 0, 1, 1], 2, [[0, 4], [2, 5]]),
        ([0, 0, 1], 2, [[2], []]),
        ([1], 3, [[0], [], []]),
        ([0, 0], 2, [[], []]),
        ([1, 1, 1], 1, [[0, 1, 2]]),
    ],
)
def test_deal_gives_every_example_that_counts_to_one_batch_in_turn(mask, batches, expected):
    assert dealt(marked(mask), batches) == expected


def test_an_example_without_a_known_answer_takes_no_place_in_a_batch():
    parts = probe.deal(marked([1, 1, 1, 1], labels=[0, -1, 0, 0]), 3)
    counting = (parts.example_mask_B > 0) & (parts.labels_B >= 0)
    np.testing.assert_array_equal(jnp.sum(counting, axis=1), [1, 1, 1])


def test_mean_over_leaves_out_empty_batches():
    batch = marked([1, 1, 1])

    def total(rows_L, head, batch):
        return jnp.sum(rows_L["w"]) * jnp.sum(batch.input_ids_BT[:, 0] * batch.example_mask_B)

    one = probe.Probe({"w": jnp.zeros((2, 1))}, {}, batch, probe.deal(batch, 5), total, "sum")
    mean = one.mean_over(one.batches_J, lambda gradient: gradient["w"][:, 0])
    np.testing.assert_allclose(mean, [1.0, 1.0])  # of 0, 1 and 2; two further batches are empty
