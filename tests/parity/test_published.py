"""Published sizes beside torch's classes of the same settings, on its meta device."""

import pytest
import torch
import transformers

from f3ocus_jax.models import published, sizes
from f3ocus_jax.models.published import PUBLISHED

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"albef"}))
def test_torch_counts_what_is_recorded(name):
    # ALBEF, which transformers does not have, is counted in test_albef.py.
    family, model = PUBLISHED[name]
    settings = sizes.merged(model.settings, model.vocabulary)
    labels = {"num_labels": model.answers} if family.head_prefix else {}
    config = transformers.AutoConfig.for_model(family.model_type, **settings, **labels)
    with torch.device("meta"):
        theirs = getattr(transformers, family.architecture)(config)
    counted = sum(parameter.numel() for parameter in theirs.parameters())
    assert counted == model.parameters == published.count(published.make_spec(name))
