"""A site finds the memory that it had before a task, whatever happened since."""

import jax
import numpy as np
import pytest

from f3ocus_jax.deployment import site_memory
from f3ocus_jax.deployment.messages import NOTHING, EvaluateTask, Parameters, ScoreTask, TrainTask
from f3ocus_jax.deployment.site_memory import SiteMemory
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.types import ClientMemory

NONE = Parameters(np.zeros(0, np.int32), {}, {})


def score(number):
    return ScoreTask(number, "a", 0, NONE, np.zeros(2, np.uint32))


def train(number):
    return TrainTask(number, "a", 0, NONE, np.zeros(1, np.int32), 1, 1)


def memory(value):
    return ClientMemory(
        vectors_LNC=np.full((1, 2, 3, 4), value, np.float32),
        optimizer={"count": np.full(1, value, np.int32)},
    )


def value_of(found):
    """The number that all arrays of a memory hold."""
    (value,) = {float(number) for leaf in jax.tree.leaves(found) for number in np.unique(leaf)}
    return value


def opened(folder, run="run"):
    return SiteMemory(folder, run, memory(-1))


def filled(folder, rounds=2):
    """Memories after the scores (10 r) and the training (10 r + 1) of some rounds."""
    kept = opened(folder)
    for number in range(1, rounds + 1):
        kept.keep(score(number), memory(10 * number))
        kept.keep(train(number), memory(10 * number + 1))
    return kept


TASKS = [
    (score(1), -1),
    (train(1), 10),
    (EvaluateTask(1, "a", 0, NONE), 11),
    (score(2), 11),
    (train(2), 20),
    (score(3), 21),
    (train(4), 21),
]


@pytest.mark.parametrize(("task", "value"), TASKS)
def test_the_memory_before_a_task_is_that_of_the_task_before_also_after_a_restart(
    task, value, tmp_path
):
    assert value_of(filled(tmp_path).before(task)) == value
    found = opened(tmp_path).before(task)
    assert value_of(found) == value
    assert jax.tree.structure(found) == jax.tree.structure(memory(0))


def test_a_round_that_is_done_again_replaces_its_memory_and_all_later_ones(tmp_path):
    filled(tmp_path).keep(train(1), memory(5))
    again = opened(tmp_path)
    assert value_of(again.before(train(3))) == 5
    assert value_of(again.before(train(1))) == 10
    assert site_memory.newest_round(tmp_path) == 1


def test_measuring_changes_no_memory(tmp_path):
    kept = filled(tmp_path)
    kept.keep(EvaluateTask(2, "a", 0, NONE), memory(99))
    assert value_of(kept.before(score(3))) == 21


def test_few_memories_stay_and_a_round_before_them_begins_without_any(tmp_path, caplog):
    filled(tmp_path, rounds=10)
    assert len(list(tmp_path.iterdir())) == site_memory.KEPT
    assert value_of(opened(tmp_path).before(score(2))) == -1
    assert "round 2 begins without memory" in caplog.text


def test_a_damaged_memory_is_left_out_with_a_line(tmp_path, caplog):
    filled(tmp_path)
    newest = max(tmp_path.iterdir(), key=lambda path: int(path.name))
    content = bytearray((newest / site_memory.FILE).read_bytes())
    content[-1] ^= 1
    (newest / site_memory.FILE).write_bytes(content)
    assert value_of(opened(tmp_path).before(score(3))) == 20
    assert "is damaged" in caplog.text


def test_an_unfinished_memory_is_removed(tmp_path):
    filled(tmp_path)
    (tmp_path / f"7{site_memory.PARTIAL}").mkdir()
    kept = opened(tmp_path)
    kept.keep(train(2), memory(3))
    assert value_of(kept.before(score(3))) == 3


def test_the_memory_of_another_run_is_refused(tmp_path):
    filled(tmp_path)
    with pytest.raises(ConfigError, match="holds the memory of another run"):
        opened(tmp_path, "other").before(score(3))


def test_a_new_folder_has_no_memory(tmp_path):
    assert site_memory.newest_round(tmp_path / "absent") == NOTHING
    assert value_of(opened(tmp_path / "absent").before(score(1))) == -1
