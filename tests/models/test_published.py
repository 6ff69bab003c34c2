"""Published sizes: as many parameters as torch counts, without making the models."""

import pytest

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import FAMILIES, published
from f3ocus_jax.models.published import PUBLISHED
from tests.helpers.marking import marked


@pytest.mark.parametrize("name", marked(PUBLISHED, extended=("llava_1_5_7b",)))
def test_a_published_model_has_as_many_parameters_as_torch_counted(name):
    # The counts are torch's, on its meta device; `make parity` takes them anew.
    assert published.count(published.make_spec(name)) == PUBLISHED[name][1].parameters


def test_every_family_of_the_paper_is_published():
    assert {family.name for family, _ in PUBLISHED.values()} == set(FAMILIES)


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(ConfigError, match=r"'blip' is unknown; choose albef, blip.*, vilt_b32"):
        published.make_spec("blip")
