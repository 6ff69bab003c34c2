"""Clipped sums equal those of jax-privacy, where it is installed (2.0.0, in no extra)."""

import jax
import numpy as np
import pytest

from f3ocus_jax.models import base, losses, units
from f3ocus_jax.privacy import clipped_gradient
from tests.helpers.choices import padded_choice
from tests.helpers.oracles import toy_batch, toy_model

LAYERS = 3


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated:DeprecationWarning")
@pytest.mark.parametrize("clip", [0.05, 0.4, 100.0])
def test_the_clipped_sum_is_that_of_jax_privacy(clip):
    clipping = pytest.importorskip("jax_privacy.clipping", reason="jax-privacy is not installed")
    model, batch = toy_model(layers=LAYERS), toy_batch(7)
    frozen, rows_L, head = units.split(model.init(jax.random.key(0)), "block")

    def loss_of_one(trained, one):
        logits_BC = base.apply(model, units.join(frozen, *trained, "block"), one)
        return losses.masked_sum(losses.LOSSES["cross_entropy"](logits_BC, one.labels_B), one)

    theirs = clipping.clipped_grad(loss_of_one, l2_clip_norm=clip, keep_batch_dim=True)
    expected = jax.jit(theirs)((rows_L, head), batch)
    ours = clipped_gradient.make_clipped_sum(
        model, unit="block", loss="cross_entropy", clip=clip, skip_frozen=True, trains_head=True
    )
    choice = padded_choice(list(range(LAYERS)), LAYERS, LAYERS)
    found, _ = jax.jit(ours)(frozen, rows_L, choice, (rows_L, head), batch)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for leaf, wanted in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-4, atol=1e-6)
