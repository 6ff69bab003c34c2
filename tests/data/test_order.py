import numpy as np
import pytest

from f3ocus_jax.data import order


def test_order_is_a_function_of_seed_round_client_and_purpose_alone():
    def numbers(*place):
        return order.make_generator(*place).integers(0, 2**30, 8).tolist()

    place = (1, 2, "fundus", "training")
    assert numbers(*place) == numbers(*place)
    others = [
        (2, 2, "fundus", "training"),
        (1, 3, "fundus", "training"),
        (1, 2, "oct", "training"),
        (1, 2, "fundus", "probe"),
    ]
    assert all(numbers(*place) != numbers(*other) for other in others)


@pytest.mark.parametrize(("examples", "batch"), [(10, 4), (8, 4), (3, 8), (1, 1)])
def test_every_pass_visits_every_example_once(examples, batch):
    per_pass = -(-examples // batch)
    indices_SB, mask_SB = order.training_indices(
        np.random.default_rng(0), examples, 3 * per_pass, batch
    )
    assert indices_SB.shape == mask_SB.shape == (3 * per_pass, batch)
    for start in range(0, 3 * per_pass, per_pass):
        part = slice(start, start + per_pass)
        visited = indices_SB[part][mask_SB[part] == 1]
        assert sorted(visited) == list(range(examples))


def test_fewer_steps_than_a_pass_take_a_part_of_it():
    indices_SB, mask_SB = order.training_indices(np.random.default_rng(0), 100, 3, 8)
    assert indices_SB.shape == (3, 8)
    assert len(set(indices_SB.ravel().tolist())) == 24
    assert mask_SB.all()


@pytest.mark.parametrize(
    ("examples", "epochs", "limit", "expected"),
    [(64, 1.0, 50, 8), (65, 1.0, 50, 9), (64, 0.5, 50, 4), (64, 9.0, 50, 50), (1, 0.01, 5, 1)],
)
def test_local_steps(examples, epochs, limit, expected):
    assert (
        order.local_steps(examples, batch_size=8, local_epochs=epochs, max_local_steps=limit)
        == expected
    )
