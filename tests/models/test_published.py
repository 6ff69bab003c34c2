"""Published sizes: as many parameters as torch counts, without making the models."""

import dataclasses

import ml_collections
import pytest

from configs import base
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import FAMILIES, published, sizes
from f3ocus_jax.models.published import PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_has_as_many_parameters_as_torch_counted(name):
    # The counts are torch's, on its meta device; `make parity` takes them anew.
    assert published.count(PUBLISHED[name].sizes()) == PUBLISHED[name].parameters


def test_every_family_of_the_paper_is_published():
    assert {model.family for model in PUBLISHED.values()} == set(FAMILIES)


@pytest.mark.parametrize("name", PUBLISHED)
def test_configs_name_the_same_sizes(name):
    model = PUBLISHED[name]
    config = ml_collections.ConfigDict({"data": {}, "model": {"architecture": {}}})
    base.use_published_sizes(config, model.family)
    named = sizes.merged(model.settings, config.model.architecture.to_dict())
    assert config.model.family == model.family
    assert dataclasses.replace(model, settings=named).sizes() == model.sizes()


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(ConfigError, match=r"'blip' is unknown; choose albef, blip.*, vilt_b32"):
        published.find("blip")
