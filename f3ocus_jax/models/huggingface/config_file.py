"""The config.json of a model's directory: sizes, and the classes of its heads."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from f3ocus_jax.errors import ConfigError, WeightsError
from f3ocus_jax.models import FAMILIES, family_of, head as head_lib, sizes
from f3ocus_jax.models.family import Family
from f3ocus_jax.models.huggingface import extra_files, preprocessor, tensor_files
from f3ocus_jax.models.spec import ModelSpec

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"


def read(
    folder: pathlib.Path, selectable: str = ""
) -> tuple[ModelSpec[Any], dict[str, tuple[str, ...]]]:
    """Reads the specification of a directory's model, and the classes that its heads would have.

    Args:
      folder: Directory with config.json, and processor files if there are any.
      selectable: Name of the selectable stack; "" for that of the directory's adapters, or the
        family's first.

    Returns:
      (specification with as many answers as config.json has labels, and no adapters; entry of the
      head to its classes).

    Raises:
      WeightsError: If config.json is absent, or its model cannot be built.
    """
    path = folder / CONFIG_FILE
    content = tensor_files.read_json(path)
    family = _family(path, content)
    if (folder / GENERATION_FILE).is_file():
        content[sizes.GENERATION] = tensor_files.read_json(folder / GENERATION_FILE)
    # The labels of transformers for a config without labels.
    labels = content.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        answers = tuple(labels[str(index)] for index in range(len(labels)))
        spec = family.spec(
            sizes.build(family.config, family.standardise(content)),
            num_answers=len(answers),
            selectable=selectable or extra_files.adapted_stack(folder) or family.stacks[0],
            **preprocessor.read_pixels(folder),
        )
        findings = tuple(content.get("findings", ()))
        return spec, {head_lib.ANSWERS: answers, head_lib.FINDINGS: findings}
    except KeyError as error:
        raise WeightsError(f"{path}: id2label lacks {error}, must count from 0") from error
    except ConfigError as error:
        raise WeightsError(f"{path}: {error}") from error


def _family(path: pathlib.Path, content: Mapping[str, Any]) -> Family:
    families = {kind: family for family in FAMILIES.values() for kind in family.architectures}
    given = content.get("model_type")
    if given not in families:
        raise WeightsError(
            f"{path}: model_type = {given!r}, must be one of {sorted(families)}; "
            "docs/contributing.md describes how to add a family"
        )
    return families[given]


def architecture(checkpoint: pathlib.Path) -> str:
    """Returns the class of transformers of a directory, or of a file in it; "" if none is named."""
    path = (checkpoint if checkpoint.is_dir() else checkpoint.parent) / CONFIG_FILE
    named = tensor_files.read_json(path).get("architectures") if path.is_file() else None
    return str(named[0]) if isinstance(named, list) and named else ""


def content(
    spec: ModelSpec[Any], classes: Mapping[str, Sequence[str]], dtype: str
) -> dict[str, Any]:
    """Returns the content of a config.json.

    Args:
      spec: Specification of the model.
      classes: Entry of the head to its classes.
      dtype: Name of the dtype of most parameters.
    """
    family = family_of(spec)
    kind = getattr(spec.config, "model_type", family.model_type)
    found = {
        "architectures": [family.architectures[kind]],
        "model_type": kind,
        "dtype": dtype,
        **sizes.names(spec.config),
    }
    if findings := classes.get(head_lib.FINDINGS):
        found["findings"] = list(findings)
    if answers := classes.get(head_lib.ANSWERS):
        found["id2label"] = {str(index): answer for index, answer in enumerate(answers)}
        found["label2id"] = {answer: index for index, answer in enumerate(answers)}
    return found
