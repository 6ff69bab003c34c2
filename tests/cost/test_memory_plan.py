"""Memory plans: to the byte where shapes tell, near XLA's own count where they do not."""

import dataclasses

import jax
import pytest

from f3ocus_jax.clients import Choice, gradient
from f3ocus_jax.cost import memory_plan, memory_table
from f3ocus_jax.cost.memory_plan import Machine, MemoryPlan, Workload
from f3ocus_jax.models import FAMILIES, units
from f3ocus_jax.models.vilt import model as vilt
from tests.helpers.models import random_params, tiny_vilt
from tests.helpers.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "memory.md"


def test_parameters_and_what_is_trained_are_counted_to_the_byte():
    config = tiny_vilt()
    workload = Workload(adapter_size=4, layers=2, batch_size=3, question_length=7)
    plan = memory_plan.plan_memory(config, vilt.make_model, workload)
    params = random_params(vilt.make_model(config))
    frozen, rows_L, head = units.split(params, "adapter")

    def size(tree):
        return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))

    assert plan.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert plan.frozen == size(frozen)
    assert plan.server == size(rows_L) + size(head)
    # Its values, their gradient, and the two moments of AdamW with their count of steps.
    assert plan.client == 4 * (size(rows_L) * 2 // 3 + size(head)) + 3 * 4
    narrow = memory_plan.plan_memory(
        config, vilt.make_model, dataclasses.replace(workload, dtype="bfloat16")
    )
    assert (narrow.frozen, narrow.server) == (plan.frozen // 2, plan.server)


@pytest.mark.parametrize("unit", ["adapter", "block"])
def test_activations_are_near_what_xla_counts(unit):
    config = tiny_vilt(
        num_answers=8,
        adapter_size=8,
        vocab_size=50,
        max_position_embeddings=40,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        image_size=64,
        patch_size=8,
    )
    workload = Workload(unit=unit, adapter_size=8, layers=2, batch_size=32, question_length=20)
    plan = memory_plan.plan_memory(config, vilt.make_model, workload)
    model = vilt.make_model(config)
    step = gradient.make_gradient(model, unit=unit, loss="cross_entropy", skip_frozen=True)

    def run(frozen, rows_L, head, choice, batch):
        return step(frozen, rows_L, choice, (choice.take(rows_L), head), batch)

    parts = units.split(jax.eval_shape(model.init, jax.random.key(0)), unit)
    choice = Choice(jax.ShapeDtypeStruct((2,), "int32"))
    batch = memory_plan.batch_shapes(config, workload)
    counted = jax.jit(run).lower(*parts, choice, batch).compile().memory_analysis()
    assert 0.7 < plan.activations / counted.temp_size_in_bytes < 1.4


def test_clients_share_the_frozen_parameters_and_bring_their_own_rest():
    plan = MemoryPlan(0, frozen=400, server=50, client=30, activations=70, batch_size=7)
    usable = 1 - memory_plan.RESERVE
    assert plan.clients(Machine("one", 1, int(650 / usable) + 1)) == 2
    assert plan.clients(Machine("four", 4, int(650 / usable) + 1)) == 8
    assert plan.clients(Machine("small", 4, int(450 / usable))) == 0
    assert plan.largest_batch(Machine("one", 1, int(620 / usable) + 1)) == 14
    small = Machine("small", 4, int(220 / usable) + 1)
    assert plan.largest_batch(small) == 0
    assert plan.largest_batch(small, sharded=True) == 4


@pytest.mark.extended
def test_the_page_is_what_the_code_prints():
    assert PAGE.read_text(encoding="utf-8") == memory_table.make_page()


def test_every_family_is_on_the_page():
    assert {family.name for family, _ in memory_table.PUBLISHED.values()} == set(FAMILIES)
