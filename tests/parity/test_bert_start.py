"""Text layers of an ALBEF that come from a BERT, beside transformers' BertModel."""

import importlib.util

import numpy as np
import pytest
import torch
import transformers

from f3ocus_jax import initialise
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from tests.helpers import albef_start as ours, bert as reference

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("full_precision")]


def random_model():
    """A BertModel all of whose parameters are drawn: fresh ones hold zeros, which hide mistakes."""
    torch.manual_seed(0)
    sizes = {**reference.SIZES, "bos_token_id": 2, "sep_token_id": 3}
    model = transformers.BertModel(transformers.BertConfig(**sizes), add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(*reference.moments(name))
    return model


@pytest.mark.parametrize("layers", [4, 8])
def test_the_states_of_a_sentence_equal_torch(layers, tmp_path):
    model = random_model()
    with torch.no_grad():
        result = model(torch.tensor([ours.SENTENCE]), output_hidden_states=True)
    theirs = [state[0].numpy() for state in result.hidden_states]
    tensors = {n: v.detach().numpy() for n, v in model.named_parameters()}
    states = ours.text_states(ours.written(tmp_path, tensors, layers=layers), ours.SENTENCE)
    # Of 8 layers the first 4 are BERT's, all of them text blocks.
    shown = [(0, 0), (1, 2), (2, 4)] if layers == 4 else [(0, 0), (1, 4)]
    for index, layer in shown:
        np.testing.assert_allclose(states[index], theirs[layer], atol=1e-4)
    np.testing.assert_allclose(
        reference.hidden_states(tensors, ours.SENTENCE)[-1], theirs[-1], atol=1e-4
    )


@pytest.mark.skipif(
    importlib.util.find_spec(initialise.PACKAGE) is None,
    reason=f"the package {initialise.PACKAGE}, which carries MiniLM, is not installed",
)
def test_tokens_and_states_of_a_question_are_those_of_minilm(tmp_path):
    source, question = initialise.locate(initialise.PACKAGE), "Which organ is shown in this image?"
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    ids_BT, mask_BT = load_tokenizer(source).encode([question], 16)
    ids_T = ids_BT[0][: mask_BT[0].sum()].tolist()
    assert ids_T == tokenizer(question)["input_ids"]
    model = transformers.BertModel.from_pretrained(source, add_pooling_layer=False).eval()
    with torch.no_grad():
        result = model(torch.tensor([ids_T]), output_hidden_states=True)
    initialise.initialise_albef(source, ours.sizes(source), tmp_path / "albef")
    for state, layer in zip(ours.text_states(tmp_path / "albef", ids_T), (0, 3, 6), strict=True):
        np.testing.assert_allclose(state, result.hidden_states[layer][0].numpy(), atol=1e-5)
