"""Settings that config files share: methods of the paper, families, tiny runs, made-up files."""

import difflib
import itertools
import pathlib
from typing import Any

import ml_collections

import tfds_medvqa
from f3ocus_jax.aggregation.weights import EQUAL, STEPS
from f3ocus_jax.clients.settings import SGD
from f3ocus_jax.config import defaults
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.importance import SCORES
from f3ocus_jax.models import FAMILIES, TINY

PAPER_NAMES = {"random": "fd", "last": "last_k"}
"""Names of methods that differ from those of their scores."""

CHOICES = {"f3ocus": ("lntk", "nsga2"), "selective": ("squared_gradient", "regularised")}
"""Methods in which the server chooses, with the clients' score and the server's algorithm."""

ALLOCATIONS = {
    "fedhello_triangle": ("triangle", False),
    "fedhello_inverted_triangle": ("inverted_triangle", False),
    "fedhello_bottleneck": ("bottleneck", False),
    "fedhello_uniform": ("uniform", False),
    "fedhello_random_bottleneck": ("bottleneck", True),
    "fedhello_fisher": ("fisher", True),
}
"""Allocations of Fed-HeLLo, each with its shape, and whether layers are drawn."""

SINCE_PAPER = ("squared_gradient",)
"""Scores of methods after the paper, which are no methods by themselves."""

OWN_CHOICE_SCORES = {
    PAPER_NAMES.get(score, score): score for score in SCORES if score not in SINCE_PAPER
}
"""Methods in which every client trains the layers it scores highest, with their scores."""

PEFT_UNITS = {
    "full": "block",
    "adap": "adapter",
    "feddat": "adapter",
    "ln": "norm",
    "lora": "lora",
    "bias": "bias",
    "promptfl": "prompt",
}
"""Methods in which every client trains all layers, with the unit that is trained."""

FULL_BY_SGD: dict[str, dict[str, dict[str, Any]]] = {
    "fednova": {"aggregation": {"weights": STEPS}},
    "scaffold": {"training": {"controls": True}, "aggregation": {"weights": EQUAL}},
}
"""Methods after the paper in which every client trains all blocks by SGD, with their settings."""

METHODS = (*OWN_CHOICE_SCORES, *PEFT_UNITS, *CHOICES, *ALLOCATIONS, *FULL_BY_SGD)
"""Methods of the paper's two tables, GradFlow's variant, and methods after the paper."""

SGD_LEARNING_RATE = 0.05
"""A start for the search of a better one; no learning rate of AdamW suits SGD."""

LORA_RANK = 16
PROMPT_LENGTH = 16


def get_base() -> ml_collections.ConfigDict:
    """Returns the defaults of a federated run; docs/settings.md says what each setting means."""
    return defaults(ExperimentConfig)


def set_method(config: ml_collections.ConfigDict, method: str) -> None:
    """Makes a federated run follow a method of the paper's tables, or one after the paper.

    Args:
      config: Configuration, changed in place; everything else is set before.
      method: One of `METHODS`.
    """
    if method in PEFT_UNITS:
        _train_all_layers(config, PEFT_UNITS[method])
        config.training.dual_adapters = method == "feddat"
        return
    if method in FULL_BY_SGD:
        _train_all_layers(config, "block")
        config.training.update(optimizer=SGD, learning_rate=SGD_LEARNING_RATE)
        config.update(FULL_BY_SGD[method])
        return
    if method in ALLOCATIONS:
        shape, randomised = ALLOCATIONS[method]
        config.importance.score = "fishmask" if shape == "fisher" else "last"
        config.selection.update(algorithm="allocated", shape=shape, randomised=randomised)
        return
    score, algorithm = CHOICES.get(method) or (OWN_CHOICE_SCORES[method], "own")
    config.importance.score, config.selection.algorithm = score, algorithm


def read_variant(
    variant: str, names: tuple[str, ...] = ("tiny",), *, with_start: tuple[str, ...] = ("vilt",)
) -> tuple[str, str, str]:
    """Splits the name of a variant, as in "tiny_blip_snip", into size, family and method.

    Args:
      variant: Name of the variant; any of the three parts may be absent.
      names: Sizes that the task has beside the full one, "".
      with_start: Families of which the task has a start that was trained by this repository. The
        others have only the sizes "" and "tiny".

    Returns:
      (name, family, method); ViLT and F³OCUS where none is given.

    Raises:
      ValueError: for an unknown variant; lists the known parts.
    """
    rest, method = split_method(variant)
    family = next((f for f in FAMILIES if rest == f or rest.endswith(f"_{f}")), "")
    name = rest.removesuffix(family).removesuffix("_")
    if name not in ("", *names) or (family not in ("", *with_start) and name not in ("", "tiny")):
        raise unknown_variant(variant, (*names, *FAMILIES, *METHODS))
    return name, family or "vilt", method


def _train_all_layers(config: ml_collections.ConfigDict, unit: str) -> None:
    config.training.unit = unit
    config.federated.budgets = ()
    # Where all layers are trained there is nothing to choose, so the score costs nothing.
    config.importance.score = "last"
    config.selection.algorithm = "own"
    if unit != "adapter":
        config.model.adapter_size = 0
    if unit == "lora":
        config.model.lora_rank = LORA_RANK
    if unit == "prompt":
        config.model.prompt_length = PROMPT_LENGTH


def split_method(variant: str) -> tuple[str, str]:
    """Separates a variant's method from the rest of its name.

    Args:
      variant: Name, method, or both joined, as in "tiny_snip".

    Returns:
      (name, method); the method is "f3ocus" where none is given.
    """
    for method in METHODS:
        if variant == method or variant.endswith(f"_{method}"):
            return variant.removesuffix(method).removesuffix("_"), method
    return variant, "f3ocus"


def make_tiny(config: ml_collections.ConfigDict, image_size: int, family: str = "vilt") -> None:
    """Shrinks a federated run to one that ends in seconds on a CPU, from a random model.

    Args:
      config: Configuration, changed in place.
      image_size: Side of the images, in pixels; two patches wide.
      family: A key of `TINY`, or of `FAMILIES` for the first of its tiny models.
    """
    config.model.weights = ""
    first = next(name for name, (family_name, _) in TINY.items() if family in (name, family_name))
    config.model.family, variant = TINY[first]
    architecture = FAMILIES[config.model.family].tiny[variant](image_size)
    config.model.architecture = ml_collections.ConfigDict(architecture)
    config.model.adapter_size = 8
    config.importance.probe_examples = 4
    config.selection.population = 16
    config.selection.generations = 8
    config.training.batch_size = 8
    config.training.max_local_steps = 2
    config.federated.rounds = 2


def unknown_variant(variant: str, known: tuple[str, ...]) -> ValueError:
    """Makes the error for a variant that a config file does not have."""
    joined = ["_".join(pair) for pair in itertools.combinations(known, 2)]
    near = difflib.get_close_matches(variant, [*known, *joined], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return ValueError(
        f"unknown variant {variant!r} of this config; known: {', '.join(known)}{hint}"
    )


def use_published_sizes(config: ml_collections.ConfigDict, family: str) -> None:
    """Gives a run the sizes of a published model; `config.model.weights` takes its weights instead.

    ViLT-B/32 at 384 px, BLIP's and ALBEF's base models for question answering at 384 px,
    BLIP-2 with OPT-2.7b at 224 px, LLaVA-1.5-7B at 336 px, and SmolVLM-256M at 512 px.

    Args:
      config: Configuration, changed in place.
      family: One of `FAMILIES`.
    """
    config.model.family = family
    published = FAMILIES[family].full_size
    config.data.question_length = published.question_length
    config.model.architecture = ml_collections.ConfigDict(published.settings)


def use_made_up_files(config: ml_collections.ConfigDict, family: str = "vilt") -> None:
    """Shrinks a run to one on the made-up files that come with the builders, from any checkout.

    They are built in a folder of their own, so that they are never taken for the real data.

    Args:
      config: Configuration, changed in place.
      family: One of `FAMILIES`.
    """
    make_tiny(config, image_size=32, family=family)
    config.data.question_length = 20
    config.data.manual_dir = str(pathlib.Path(tfds_medvqa.__file__).parent)
    config.data.data_dir = "runs/made_up_data"
    # Made-up pictures of different datasets are alike.
    config.data.duplicates = "keep"
    config.importance.probe_examples = 2
    config.importance.probe_batches = 2
    config.federated.budgets = (2,)
