"""Features: what the heads of every family read, the same examples in every run, and their file."""

import dataclasses

import numpy as np
import pytest

from f3ocus_jax.errors import ConfigError, DamagedError
from f3ocus_jax.evaluation import features
from f3ocus_jax.evaluation.features import FEATURES_FILE, Features
from f3ocus_jax.models import base, head
from tests.helpers.configs import read_config
from tests.helpers.families import CASES, apply, made

FEATURES = Features(
    ("ct", "x-ray é"),
    np.array([0, 0, 1], np.int32),
    np.array([2, -1, 0], np.int32),
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.ones((3, 4), np.float32),
)
QUICK = [("vilt", "blocks")]


@pytest.mark.parametrize(
    ("name", "stack"),
    [case if case in QUICK else pytest.param(*case, marks=pytest.mark.extended) for case in CASES],
)
def test_heads_read_the_features_of_every_family(name, stack):
    model, params, batch = made(name, stack)
    pooled_BD = base.pool(model, params, batch)
    assert pooled_BD.ndim == 2
    assert len(pooled_BD) == len(batch.labels_B)
    np.testing.assert_allclose(
        head.read(params["head"], pooled_BD), apply(model, params, batch), rtol=1e-4, atol=1e-4
    )


class Split:
    def __init__(self, count):
        self.labels_N = np.arange(count) + 100

    def __len__(self):
        return len(self.labels_N)


def content(path):
    """Content of a file, None of one that is refused."""
    try:
        return vars(features.read(path))
    except DamagedError:
        return None


def test_the_same_examples_are_read_before_and_after_and_in_every_run():
    seen = []

    def pool(params, examples, indices):
        seen.append((len(examples), params, indices.tolist()))
        return np.full((len(indices), 2), params)

    tests = {"ct": Split(9), "oct": Split(2)}
    found = features.measure(pool, 0.0, 1.0, tests, 4)
    again = features.measure(pool, 0.0, 1.0, dict(reversed(tests.items())), 4)
    assert found["ct"]["labels"].tolist() == again["ct"]["labels"].tolist()
    assert seen[0][2] == seen[1][2] == sorted(set(seen[0][2]))
    assert [len(indices) for _, _, indices in seen[:4]] == [4, 4, 2, 2]
    joined = features.join(found, ["oct", "ct"])
    assert joined.client_N.tolist() == [0] * 2 + [1] * 4
    assert joined.labels_N.tolist() == [100, 101, *found["ct"]["labels"]]
    assert (joined.before_ND == 0).all()
    assert (joined.after_ND == 1).all()


def test_what_is_written_is_read(tmp_path):
    path = features.write(FEATURES, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [FEATURES_FILE]
    found = features.read(path)
    assert found.clients == FEATURES.clients
    for name in ("client_N", "labels_N", "before_ND", "after_ND"):
        np.testing.assert_array_equal(getattr(found, name), getattr(FEATURES, name))
    first = path.read_bytes()
    assert features.write(FEATURES, tmp_path).read_bytes() == first


def test_a_damaged_file_is_refused(tmp_path):
    path = features.write(FEATURES, tmp_path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        if (found := content(path)) is not None:  # a byte of a date, or the like
            for name, value in vars(FEATURES).items():
                np.testing.assert_array_equal(found[name], value)
    path.write_bytes(whole[:-9])
    with pytest.raises(DamagedError, match=r"features\.npz is damaged"):
        features.read(path)
    with pytest.raises(FileNotFoundError):
        features.read(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    "changes",
    [
        {"after_ND": np.ones((3, 5), np.float32)},
        {"after_ND": np.full((3, 4), np.nan, np.float32)},
        {"client_N": np.array([0, 0, 2], np.int32)},
        {"labels_N": np.zeros(2, np.int32)},
    ],
    ids=["widths", "nan", "client", "labels"],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, changes):
    path = features.write(dataclasses.replace(FEATURES, **changes), tmp_path)
    with pytest.raises(DamagedError, match="is damaged"):
        features.read(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model__answering": "generate"}, "must be 0 where config.model.answering = 'generate'"),
        ({"distributed__own_data": True}, "must be 0 with config.distributed.own_data"),
    ],
)
def test_features_are_refused_where_there_are_none_or_they_must_not_leave(settings, message):
    with pytest.raises(ConfigError, match=f"config.evaluation.features = 5, {message}"):
        read_config("tiny", evaluation__features=5, **settings)
