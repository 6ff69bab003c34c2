"""Our BLIP-2 beside torch's Blip2ForConditionalGeneration: logits, gradients, files."""

import jax
import numpy as np
import pytest

from f3ocus_jax.models import FAMILIES
from f3ocus_jax.models.huggingface import directory as huggingface
from tests.models.blip2 import blip2_oracle
from tests.parity import torch_blip2, write_fixtures
from tests.parity.torch_blip2 import CASES

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("full_precision")]

FAMILY = FAMILIES["blip2"]


@pytest.mark.parametrize(
    ("name", "stack"),
    [(name, stack) for name in ("opt", "t5", "llama") for stack in FAMILY.stacks]
    + [("opt_long", "qformer"), ("t5_long", "qformer"), ("t5_relu", "language")],
)
def test_logits_and_every_gradient_equal_torch(name, stack, tmp_path):
    case = CASES[name]
    batch = torch_blip2.random_batch(case)
    theirs = torch_blip2.run(case, torch_blip2.random_model(case), batch)
    write_fixtures.save_blip2(tmp_path, case)
    weights = huggingface.load(tmp_path, key=jax.random.key(0), selectable=stack)
    ours = blip2_oracle.run(weights.spec, weights.params, batch)
    for key, value in theirs.items():
        atol = 1e-4 if key.startswith("gradient.") else 1e-5
        np.testing.assert_allclose(ours[key], value, atol=atol, rtol=1e-5, err_msg=key)
    # What writes answers has no gradient: the map to scores.
    for key in ours.keys() - theirs.keys():
        assert "lm_head" in key
        np.testing.assert_array_equal(ours[key], 0, err_msg=key)
