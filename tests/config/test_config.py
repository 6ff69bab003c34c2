import dataclasses
import importlib

import ml_collections
import pytest

from configs import phantom
from f3ocus_jax import importance
from f3ocus_jax.config import parsing
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import presets
from f3ocus_jax.federation.settings import ExperimentConfig, PretrainConfig
from tests.helpers.configs import raw_config

CONFIGS = {
    "phantom": (
        ExperimentConfig,
        ("", "tiny", "tiny_albef", "tiny_blip", "snip", "tiny_gradflow_preserve"),
    ),
    "medvqa_fl": (ExperimentConfig, ("", "medmnist3", "medmnist3_lntk", "tiny")),
    "deployment": (DeployedConfig, ("", "fd", "tiny", "tiny_snip")),
    "own_data": (ExperimentConfig, ("", "fd", "tiny", "tiny_blip_snip")),
    "pretrain": (PretrainConfig, ("", "medmnist3", "tiny")),
}


@pytest.mark.parametrize(
    ("name", "variant"),
    [(name, variant) for name, (_, variants) in CONFIGS.items() for variant in variants],
)
def test_every_shipped_config_is_valid(name, variant):
    raw = importlib.import_module(f"configs.{name}").get_config(variant)
    assert isinstance(raw, ml_collections.ConfigDict)
    parsing.parse(CONFIGS[name][0], raw)


@pytest.mark.parametrize("name", CONFIGS)
def test_unknown_variant_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=r"known: .*tiny"):
        importlib.import_module(f"configs.{name}").get_config("tinny")


@pytest.mark.parametrize("method", presets.METHODS)
def test_every_method_of_the_paper_is_a_score_and_a_choice(method):
    config = parsing.parse(ExperimentConfig, phantom.get_config(f"tiny_{method}"))
    assert config.importance.score in importance.SCORES
    of_server = {"f3ocus": "nsga2", "selective": "regularised"}
    of_server |= dict.fromkeys(presets.ALLOCATIONS, "allocated")
    assert config.selection.algorithm == of_server.get(method, "own")
    assert config.federated.rounds == phantom.get_config("tiny").federated.rounds


@pytest.mark.parametrize("method", presets.ALLOCATIONS)
def test_an_allocation_reads_data_for_fisher_scores_alone(method):
    config = parsing.parse(ExperimentConfig, phantom.get_config(f"tiny_{method}"))
    assert config.selection.shape == method.removeprefix("fedhello_").removeprefix("random_")
    assert config.selection.randomised == (method.split("_")[1] in ("random", "fisher"))
    scored = config.importance.score
    assert scored == ("fishmask" if config.selection.shape == "fisher" else "last")


def test_fednova_trains_all_blocks_by_sgd_and_normalises_steps():
    config = parsing.parse(ExperimentConfig, phantom.get_config("tiny_fednova"))
    assert (config.training.unit, config.federated.budgets) == ("block", ())
    assert (config.training.optimizer, config.training.learning_rate) == ("sgd", 0.05)
    assert config.aggregation.weights == "steps"


def test_scaffold_trains_all_blocks_by_sgd_with_controls_and_counts_clients_equally():
    config = parsing.parse(ExperimentConfig, phantom.get_config("tiny_scaffold"))
    assert (config.training.unit, config.federated.budgets) == ("block", ())
    assert (config.training.optimizer, config.training.controls) == ("sgd", True)
    assert config.aggregation.weights == "equal"


def test_every_score_is_a_method():
    scores = {phantom.get_config(method).importance.score for method in presets.METHODS}
    assert scores == set(importance.SCORES)


@pytest.mark.parametrize("variant", ["tiny_snap", "snip_tiny", "tinysnip", "_snap"])
def test_methods_are_joined_behind_a_known_variant(variant):
    with pytest.raises(ValueError, match=r"known: tiny, .*fd, last_k, .*snip.* f3ocus"):
        phantom.get_config(variant)


def test_unknown_key_names_the_nearest_valid_one():
    raw = raw_config("tiny", federated__round=3)
    with pytest.raises(
        ConfigError, match=r"config.federated.round is unknown; did you mean rounds"
    ):
        parsing.parse(ExperimentConfig, raw)


def test_missing_key_is_named():
    raw = phantom.get_config("tiny")
    with raw.unlocked():
        del raw.training.unit
    with pytest.raises(ConfigError, match=r"config.training.unit is missing"):
        parsing.parse(ExperimentConfig, raw)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("federated__budgets", (0,), r"federated.budgets = \(0,\), must be at least 1 each"),
        ("federated__rounds", -1, "must be at least 0 and at most 100000, since every"),
        ("federated__rounds", 1.5, "must be of type int"),
        ("federated__rounds", True, "must be of type int"),
        ("federated__placement", "vmap", "must be one of"),
        ("training__unit", "head", "must be one of"),
        ("training__learning_rate", 0.0, "must be above 0 and at most 100"),
        ("training__learning_rate", 1e4, "must be above 0 and at most 100"),
        ("importance__probe_examples", 0, "must be >= 1"),
        ("importance__lntk__tolerance", 1.0, "must be between 0 and 1"),
        ("importance__reduction", "max", r"must be one of \('sum', 'mean'\)"),
        ("importance__probe_batches", 5, "must be between 1 and 4, the probe examples"),
        ("importance__spt__share", 0.0, "must be above 0 and at most 1"),
        ("importance__fedselect__steps", 0, "must be at least 1 and at most"),
        ("model__adapter_size", 0, "must be > 0 where"),
        ("model__weights", "somewhere", "must be empty, since"),
        ("data__datasets", (), "must be one dataset or more"),
        ("data__image_fit", "crop", r"must be one of \('stretch', 'pad'\)"),
        ("data__canvas_size", -1, "must be >= 0"),
        ("data__canvas_size", 64, "must be 0 where config.data.image_fit = 'stretch'"),
        ("federated__budget_unit", "kilograms", r"must be one of \('layers', 'bytes', 'flops'\)"),
        ("limits__minimum_coverage", -1, "must be >= 0"),
        ("limits__minimum_sharers", 0, "must be >= 1"),
        ("federated__absent", {"eye": (1.5,)}, "absent.eye = 1.5, must be of type int"),
        ("seed", -1, "must be at least 0 and at most 4294967295, since random keys"),
        ("seed", 2**32, "must be at least 0 and at most 4294967295, since random keys"),
        ("data", 3, "must be a section"),
    ],
)
def test_impossible_value_says_what_was_given_and_what_is_allowed(setting, value, message):
    with pytest.raises(ConfigError, match=message):
        parsing.parse(ExperimentConfig, raw_config("tiny", **{setting: value}))


def test_only_the_five_metaheuristics_have_a_published_variant():
    raw = raw_config("tiny", selection__algorithm="exact", selection__variant="published")
    message = "selection.variant = 'published', must be 'memetic' with the algorithm 'exact'"
    with pytest.raises(ConfigError, match=message):
        parsing.parse(ExperimentConfig, raw)


def test_whole_numbers_are_taken_for_floats():
    parsed = parsing.parse(ExperimentConfig, raw_config("tiny", training__learning_rate=1))
    assert parsed.training.learning_rate == 1.0
    assert isinstance(parsed.training.learning_rate, float)


def test_settings_survive_json_and_parse_back():
    parsed = parsing.parse(ExperimentConfig, phantom.get_config("tiny"))
    again = parsing.parse(ExperimentConfig, dataclasses.asdict(parsed))
    assert again == parsed
    assert parsing.flatten(parsed)["federated.budgets"] == [1, 2, 1, 2, 1, 2, 1, 2, 1]


@pytest.mark.parametrize(
    ("method", "unit"),
    [
        ("full", "block"),
        ("adap", "adapter"),
        ("feddat", "adapter"),
        ("ln", "norm"),
        ("lora", "lora"),
        ("bias", "bias"),
        ("promptfl", "prompt"),
    ],
)
def test_a_method_that_trains_all_layers_trains_its_own_part_without_budgets(method, unit):
    config = presets.get_base()
    config.federated.budgets = (3,)
    presets.set_method(config, method)
    assert (config.training.unit, config.federated.budgets) == (unit, ())
    assert config.training.dual_adapters == (method == "feddat")
