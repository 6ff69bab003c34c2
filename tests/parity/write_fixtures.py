"""python -m tests.parity.write_fixtures: writes what torch gives, for tests that have no torch."""

import dataclasses
import pathlib

import numpy as np
from safetensors.numpy import save_file

from tests.parity import torch_vilt
from tests.parity.torch_vilt import Case

FIXTURES = pathlib.Path(__file__).parent.parent / "models" / "fixtures"

GRADIENTS = (
    "vilt.embeddings.text_embeddings.word_embeddings.weight",
    "vilt.embeddings.position_embeddings",
    "vilt.encoder.layer.0.attention.attention.key.weight",
    "vilt.encoder.layer.1.layernorm_before.weight",
    "vilt.encoder.layer.1.output.dense.bias",
    "classifier.3.weight",
)
"""A few parameters from the bottom to the top; `make parity` compares all of them."""


def expected(case: Case) -> dict[str, np.ndarray]:
    """Returns a case's inputs, logits and gradients by name."""
    batch = torch_vilt.random_batch(case)
    logits_BC, _, gradients = torch_vilt.run(torch_vilt.random_model(case), batch)
    fields = [field.name for field in dataclasses.fields(batch)]
    inputs = {f"batch.{name}": np.asarray(getattr(batch, name)) for name in fields}
    outputs = {f"gradient.{name}": gradients[name] for name in GRADIENTS}
    return {**inputs, **outputs, "logits_BC": logits_BC}


def main() -> None:
    """Writes one Hugging Face directory per case, with expected.safetensors beside the model."""
    for name, case in torch_vilt.CASES.items():
        torch_vilt.random_model(case).save_pretrained(FIXTURES / name)
        save_file(expected(case), FIXTURES / name / "expected.safetensors")
        print(FIXTURES / name)


if __name__ == "__main__":
    main()
