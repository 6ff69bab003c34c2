"""Checkpoints that torch wrote, converted, and read by torch again: the same bits."""

import chex
import jax
import pytest
import torch
import transformers

from f3ocus_jax import convert
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.models import FAMILIES
from f3ocus_jax.models.huggingface import directory as huggingface, sources
from tests.parity import torch_blip, torch_llava, torch_smolvlm, torch_vilt

pytestmark = pytest.mark.parity

MODELS = {
    "blip": lambda: torch_blip.random_model(torch_blip.CASES["plain"]),
    "llava": lambda: torch_llava.random_model(torch_llava.CASES["plain"]),
    "smolvlm": lambda: torch_smolvlm.random_model(torch_smolvlm.CASES["plain"]),
    "vilt": lambda: torch_vilt.random_model(torch_vilt.CASES["plain"]),
}


def written(family, folder, kind):
    """Writes a random model as users find one, in several files."""
    model = MODELS[family]()
    if hasattr(model, "answer_head"):
        del model.answer_head
    model = model.to(kind)
    model.save_pretrained(folder, max_shard_size="10KB")
    return model


def tokenizer(family, folder, entries):
    """Writes a tokenizer with no more entries than the tiny models have."""
    words = load_tokenizer(prompt=FAMILIES[family].prompt)
    folder.mkdir(exist_ok=True)
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<image>")
    vocabulary = [*special, *sorted(words.pieces.get_vocab())[-entries:]]
    kept = list(dict.fromkeys(vocabulary))[:entries]
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in kept))
    return folder


def states(model):
    return dict(model.state_dict())


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", MODELS)
def test_torch_reads_every_bit_of_what_was_converted(family, kind, tmp_path):
    model = written(family, tmp_path / "theirs", kind)
    assert len(list(tmp_path.glob("theirs/model-*.safetensors"))) > 1
    words = tokenizer(family, tmp_path / "words", 30)
    convert.convert(tmp_path / "theirs", words, tmp_path / "ours")
    name = FAMILIES[family].architecture
    again, report = getattr(transformers, name).from_pretrained(
        tmp_path / "ours", dtype="auto", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    ours, theirs = states(again), states(model)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert ours[key].dtype == value.dtype
        assert torch.equal(ours[key], value), key


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", MODELS)
def test_torch_s_own_files_become_the_same_model(family, kind, tmp_path):
    model = written(family, tmp_path / "theirs", kind)
    words = tokenizer(family, tmp_path / "words", 30)
    convert.convert(tmp_path / "theirs", words, tmp_path / "ours")
    (tmp_path / "pickled").mkdir()
    torch.save(states(model), tmp_path / "pickled" / sources.TORCH_FILE)
    # Names of a running model, some of them several for one tensor.
    convert.convert(
        tmp_path / "pickled" / sources.TORCH_FILE,
        words,
        tmp_path / "unpickled",
        sizes=tmp_path / "theirs",
    )
    ours, unpickled = (
        huggingface.load(folder, key=jax.random.key(0), answers=("yes", "no"), dtype="stored")
        for folder in (tmp_path / "ours", tmp_path / "unpickled")
    )
    assert ours.spec == unpickled.spec
    chex.assert_trees_all_equal(ours.params, unpickled.params)
