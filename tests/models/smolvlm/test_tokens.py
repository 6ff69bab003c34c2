"""Tokens of SmolVLM's prompt beside those of transformers' processor, by a look-alike tokenizer."""

import numpy as np
import pytest
import tokenizers
import transformers
from PIL import Image
from tokenizers import decoders, models, pre_tokenizers
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE

from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import FAMILIES

PROMPT = FAMILIES["smolvlm"].prompt
OLDER = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
)
"""Special tokens of the first SmolVLM, in which <global-img> is text."""
SPECIAL = (*OLDER, "<global-img>")
QUESTION = "Is there a nodule of 12 mm?"


def look_alike(special):
    """Pieces of single bytes, digits apart, as SmolLM2's tokenizer without its merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {token: index for index, token in enumerate([*special, *alphabet])}
    pieces = tokenizers.Tokenizer(models.BPE(ids, []))
    pieces.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    pieces.decoder = decoders.ByteLevel()
    pieces.add_special_tokens(list(special))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )


@pytest.mark.parametrize("special", [SPECIAL, OLDER], ids=["256m", "2b"])
def test_a_question_has_the_tokens_of_the_processor(special, tmp_path):
    words = look_alike(special)
    processor = transformers.Idefics3Processor(
        transformers.Idefics3ImageProcessorPil(
            do_image_splitting=False, max_image_size={"longest_edge": 16}
        ),
        words,
        image_seq_len=4,
        chat_template=DEFAULT_CHAT_TEMPLATE,
    )
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    expected = processor(text=text, images=[Image.new("RGB", (20, 30))])["input_ids"][0]

    words.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path, PROMPT)
    ids_BT, mask_BT = tokenizer.encode([QUESTION], 100)
    row_T = ids_BT[0][mask_BT[0] > 0]
    image = tokenizer.token_id("<image>")
    np.testing.assert_array_equal(np.repeat(row_T, np.where(row_T == image, 4, 1)), expected)
    assert set(ids_BT[0][mask_BT[0] == 0].tolist()) == {tokenizer.token_id("<|im_end|>")}


def test_an_answer_begins_with_a_space_and_is_read_without_it(tmp_path):
    words = look_alike(SPECIAL)
    words.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path, PROMPT)
    ids = tokenizer.encode_answers(["yes", "3 cm"])
    assert ids == [words(" yes")["input_ids"], words(" 3 cm")["input_ids"]]
    assert tokenizer.decode(ids) == ["yes", "3 cm"]


def test_a_tokenizer_without_a_place_for_the_image_is_refused(tmp_path):
    look_alike([token for token in SPECIAL if token != "<image>"]).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="lacks <image>, which its prompt needs"):
        load_tokenizer(tmp_path, PROMPT)


def test_every_name_in_the_prompt_is_one_token_of_this_package_s_vocabulary():
    tokenizer = load_tokenizer(prompt=PROMPT)
    ids_BT, _ = tokenizer.encode(["lung"], 40)
    marks = ["<fake_token_around_image>", "<global-img>", "<image>", "<end_of_utterance>"]
    counts = [np.sum(ids_BT == tokenizer.token_id(mark)) for mark in marks]
    assert counts == [2, 1, 1, 1]
