"""The changes that are written for PEFT, on torch's models, beside the merged export in ours."""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.models import base, family_of
from f3ocus_jax.models.blocks import lora
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.models.huggingface import directory as huggingface, peft_layout
from f3ocus_jax.types import Batch
from tests.parity import (
    torch_blip,
    torch_blip2,
    torch_llava,
    torch_smolvlm,
    torch_vilt,
    write_fixtures,
)

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("full_precision")]

RANK = 3
WORDS = {"vocab_size": load_tokenizer().vocabulary_size + 1}
"""Room for the tokenizer that an export needs, and for the image's token."""

LOUD = {"deviation": 0.3}
"""Of parameters: with smaller ones, changes in a lower stack hardly reach the answers."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """A model of torch.

    Attributes:
      stack: the selectable one.
      model: makes it.
      batch: what it is asked.
      save: writes it to a directory.
      logits: (model, batch) -> logits_BC.
    """

    stack: str
    model: Callable[[], Any]
    batch: Callable[[], Batch]
    save: Callable[[pathlib.Path], object]
    logits: Callable[[Any, Batch], np.ndarray]


def vilt():
    case = torch_vilt.CASES["plain"]
    case = dataclasses.replace(case, sizes={**case.sizes, **WORDS}, **LOUD)
    return Reference(
        "blocks",
        lambda: torch_vilt.random_model(case),
        lambda: torch_vilt.random_batch(case),
        lambda folder: torch_vilt.random_model(case).save_pretrained(folder),
        lambda model, batch: torch_vilt.run(model, batch)[0],
    )


def blip():
    case = torch_blip.CASES["plain"]
    case = dataclasses.replace(case, text={**case.text, **WORDS}, **LOUD)
    answers = torch_blip.random_answers(case)
    return Reference(
        "text",
        lambda: torch_blip.random_model(case),
        lambda: torch_blip.random_batch(case),
        lambda folder: write_fixtures.save_blip(folder, case),
        lambda model, batch: torch_blip.run(model, batch, answers)["logits_BC"],
    )


def blip2(language="opt"):
    case = torch_blip2.CASES[language]
    case = dataclasses.replace(case, text={**case.text, **WORDS}, **LOUD)
    return Reference(
        "language",
        lambda: torch_blip2.random_model(case),
        lambda: torch_blip2.random_batch(case),
        lambda folder: write_fixtures.save_blip2(folder, case),
        lambda model, batch: torch_blip2.run(case, model, batch)["logits_BC"],
    )


def llava():
    case = torch_llava.CASES["plain"]
    case = dataclasses.replace(case, text={**case.text, **WORDS}, **LOUD)
    return Reference(
        "language",
        lambda: torch_llava.random_model(case),
        lambda: torch_llava.random_batch(case),
        lambda folder: write_fixtures.save_llava(folder, case),
        lambda model, batch: torch_llava.run(case, model, batch)["logits_BC"],
    )


def smolvlm():
    case = torch_smolvlm.CASES["plain"]
    case = dataclasses.replace(case, text={**case.text, **WORDS}, **LOUD)
    return Reference(
        "language",
        lambda: torch_smolvlm.random_model(case),
        lambda: torch_smolvlm.random_batch(case),
        lambda folder: write_fixtures.save_smolvlm(folder, case),
        lambda model, batch: torch_smolvlm.run(case, model, batch)["logits_BC"],
    )


REFERENCES: dict[str, Callable[[], Reference]] = {
    "vilt": vilt,
    "blip": blip,
    "blip-vision": lambda: dataclasses.replace(blip(), stack="vision"),
    "blip2": blip2,
    "blip2-t5": lambda: blip2("t5"),
    "blip2-qformer": lambda: dataclasses.replace(blip2(), stack="qformer"),
    "llava": llava,
    "llava-vision": lambda: dataclasses.replace(llava(), stack="vision"),
    "smolvlm": smolvlm,
    "smolvlm-vision": lambda: dataclasses.replace(smolvlm(), stack="vision"),
}


@pytest.fixture(params=sorted(REFERENCES))
def reference(request):
    return REFERENCES[request.param]()


def export(reference, folder):
    """Reads torch's model, changes it as training does, and writes it as a run does."""
    reference.save(folder / "start")
    start = huggingface.load(folder / "start", key=jax.random.key(0), selectable=reference.stack)
    family = family_of(start.spec)
    params, model = trained(start.params, bool(family.head_prefix)), family.make_model(start.spec)
    names = start.answers, start.findings
    made = Foundation(model, start.spec, start.params, *names, load_tokenizer(), "")
    made.save(folder / "model", params)
    return folder / "model"


def trained(params, moves_head):
    """Parameters with random low-rank changes, and with another head where torch has one."""
    draw = np.random.default_rng(3)

    def drawn(leaf):
        return draw.normal(0, 0.3, leaf.shape).astype(np.float32)

    rows = jax.tree.map(drawn, lora.init_stack(jax.random.key(1), params["blocks"], RANK))
    head = jax.tree.map(drawn, params["head"]) if moves_head else params["head"]
    return {**params, "lora": rows, "head": head}


def merged_logits(folder, batch):
    weights = huggingface.load(folder, key=jax.random.key(0))
    model = family_of(weights.spec).make_model(weights.spec)
    return jax.jit(base.apply, static_argnums=0)(model, weights.params, batch)


def read(adapter):
    """PEFT's settings, and its tensors without the prefix of their names."""
    settings = json.loads((adapter / "adapter_config.json").read_text())
    stored = load_file(adapter / "adapter_model.safetensors")
    names = {name: name.removeprefix("base_model.model.") for name in stored}
    return settings, {names[name]: torch.from_numpy(stored[name]) for name in stored}


def add_changes(model, settings, tensors):
    """Does what PEFT does: adds B A alpha / r to the named modules' weights."""
    for module in settings["target_modules"]:
        down, up = (tensors.pop(f"{module}.lora_{name}.weight") for name in "AB")
        rank = RANK * (2 if module.endswith(".qkv") else 1)
        assert len(down) == settings["r"] == rank
        with torch.no_grad():
            model.get_submodule(module).weight += up @ down * settings["lora_alpha"] / rank
    assert not tensors


def replace_saved(model, settings, tensors):
    """Replaces the modules that are stored whole."""
    for module in settings["modules_to_save"] or ():
        names = [name for name in tensors if name.startswith(f"{module}.")]
        whole = {name.removeprefix(f"{module}."): tensors.pop(name) for name in names}
        model.get_submodule(module).load_state_dict(whole)


def test_torchs_start_with_the_written_changes_equals_the_merged_export(reference, tmp_path):
    folder, batch, model = export(reference, tmp_path), reference.batch(), reference.model()
    settings, tensors = read(folder / peft_layout.FOLDER)
    replace_saved(model, settings, tensors)
    before_BC = reference.logits(model, batch)
    add_changes(model, settings, tensors)
    after_BC = reference.logits(model, batch)
    assert np.abs(after_BC - before_BC).max() > 2e-4
    np.testing.assert_allclose(merged_logits(folder, batch), after_BC, atol=1e-5)


@pytest.mark.filterwarnings("ignore", "error:Found missing adapter keys")
def test_peft_itself_makes_the_merged_export_of_torchs_start(reference, tmp_path):
    peft = pytest.importorskip("peft")
    folder, batch, model = export(reference, tmp_path), reference.batch(), reference.model()
    changed = peft.PeftModel.from_pretrained(model, folder / peft_layout.FOLDER)
    merged = changed.merge_and_unload().requires_grad_(True)
    after_BC = reference.logits(merged, batch)
    np.testing.assert_allclose(merged_logits(folder, batch), after_BC, atol=1e-5)
