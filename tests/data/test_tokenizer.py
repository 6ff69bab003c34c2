"""The question tokenizer, against transformers' BertTokenizer."""

import json
import string

import numpy as np
import pytest
import tokenizers
import transformers

from f3ocus_jax.data.tokenizer import SPECIAL_TOKENS
from f3ocus_jax.data.tokenizer_files import EMBEDDED_VOCABULARY, load_tokenizer
from f3ocus_jax.errors import ConfigError

QUESTIONS = [
    "What is the specific diagnosis for the lung in this image?",
    "Is this a T2-weighted MRI, or an X-ray?  (choose one)",
    "ÉCHOGRAPHIE du sein: naïve café",
    "dermatofibrosarcoma protuberans 3.5cm / h3k27m",
    "don't\tsplit\nthis",
    "",
    " ".join(["word"] * 50),
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.fixture(scope="module")
def reference(tmp_path_factory, tokenizer):
    vocabulary = {
        token: index for index, token in enumerate(EMBEDDED_VOCABULARY.read_text().splitlines())
    }
    reference = transformers.BertTokenizer(vocab=vocabulary)
    assert len(reference) == tokenizer.vocabulary_size
    return reference


@pytest.mark.parametrize("length", [3, 12, 40])
def test_questions_are_encoded_as_bert_does(tokenizer, reference, length):
    input_ids_BT, attention_mask_BT = tokenizer.encode(QUESTIONS, length)
    expected = reference(QUESTIONS, padding="max_length", truncation=True, max_length=length)
    np.testing.assert_array_equal(input_ids_BT, expected["input_ids"])
    np.testing.assert_array_equal(attention_mask_BT, expected["attention_mask"])
    assert input_ids_BT.dtype == attention_mask_BT.dtype == np.int32


def test_the_embedded_vocabulary_leaves_no_english_unknown(tokenizer):
    anything = [string.printable, "antidisestablishmentarianism", "zyx987 #&@~^`|\\"]
    input_ids_BT, _ = tokenizer.encode(anything, 200)
    assert tokenizer.pieces.token_to_id("[UNK]") not in input_ids_BT


def test_the_embedded_vocabulary_has_common_words_whole(tokenizer):
    question = "what is the diagnosis of this retina ultrasound pneumonia fundus spleen"
    tokens = tokenizer.pieces.encode(question, add_special_tokens=False).tokens
    assert tokens == question.split()


def test_the_embedded_vocabulary_begins_with_the_special_tokens_and_names_each_word_once():
    tokens = EMBEDDED_VOCABULARY.read_text().splitlines()
    assert tuple(tokens[:5]) == SPECIAL_TOKENS
    assert len(set(tokens)) == len(tokens)
    assert 2000 <= len(tokens) <= 3000
    assert load_tokenizer().vocabulary_size == len(tokens)


def test_a_length_without_room_for_a_word_is_refused(tokenizer):
    with pytest.raises(ValueError, match="length = 2, must be at least 3"):
        tokenizer.encode(["why?"], 2)


def test_encoding_one_length_leaves_no_trace_in_the_next(tokenizer):
    before, _ = tokenizer.encode(QUESTIONS, 40)
    tokenizer.encode(QUESTIONS, 5)
    after, _ = tokenizer.encode(QUESTIONS, 40)
    np.testing.assert_array_equal(before, after)


def test_a_saved_tokenizer_is_read_back_by_us_and_by_transformers(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    expected, _ = tokenizer.encode(QUESTIONS, 20)
    np.testing.assert_array_equal(load_tokenizer(tmp_path).encode(QUESTIONS, 20)[0], expected)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    encoded = theirs(QUESTIONS, padding="max_length", truncation=True, max_length=20)
    np.testing.assert_array_equal(encoded["input_ids"], expected)
    (tmp_path / "tokenizer.json").unlink()
    np.testing.assert_array_equal(load_tokenizer(tmp_path).encode(QUESTIONS, 20)[0], expected)


def test_padding_and_truncation_kept_in_a_file_are_overlooked(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 4,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    path.write_text(json.dumps(content))
    expected, _ = tokenizer.encode(QUESTIONS, 20)
    np.testing.assert_array_equal(load_tokenizer(tmp_path).encode(QUESTIONS, 20)[0], expected)


def test_a_cased_vocabulary_keeps_its_case(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "MRI", "mri"]))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    input_ids_BT, _ = load_tokenizer(tmp_path).encode(["MRI mri"], 4)
    np.testing.assert_array_equal(input_ids_BT, [[2, 5, 6, 3]])


@pytest.mark.parametrize("padding", ["<pad>", "<unk>"])
def test_a_tokenizer_of_llama_starts_rows_and_pads_with_its_own_tokens(padding, tmp_path):
    """Without a padding token the unknown one stands in for it."""
    words = dict.fromkeys(["<unk>", "<s>", "</s>", "lung", padding])
    ids = {word: index for index, word in enumerate(words)}
    pieces = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="<unk>"))
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    pieces.save(str(tmp_path / "tokenizer.json"))
    input_ids_BT, mask_BT = load_tokenizer(tmp_path).encode(["lung"], 4)
    np.testing.assert_array_equal(input_ids_BT, [[1, 3, ids[padding], ids[padding]]])
    np.testing.assert_array_equal(mask_BT, [[1, 1, 0, 0]])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no tokenizer: neither tokenizer.json nor vocab.txt"),
        ({"tokenizer.json": "{"}, r"tokenizer\.json is not a tokenizer file"),
        ({"vocab.txt": "[PAD]\n[UNK]\nlung\n"}, r"vocab\.txt lacks \[CLS\], \[SEP\], \[MASK\]"),
        ({"vocab.txt": "\n".join(SPECIAL_TOKENS)}, "holds special tokens only"),
        ({"vocab.txt": "\n".join([*SPECIAL_TOKENS, "a", "a"])}, r"vocab\.txt has 'a' twice"),
        (
            {"vocab.txt": "\n".join([*SPECIAL_TOKENS, "a"]), "tokenizer_config.json": "[]"},
            r"tokenizer_config\.json is not a JSON object",
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_used_is_named(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_tokenizer(tmp_path)


def test_real_questions_need_few_pieces_and_no_unknown_one(real_data, tokenizer):
    path = real_data / "vqa_rad" / "VQA_RAD Dataset Public.json"
    questions = [record["question"] for record in json.loads(path.read_text())]
    input_ids_BT, attention_mask_BT = tokenizer.encode(questions, 40)
    assert (input_ids_BT != tokenizer.pieces.token_to_id("[UNK]")).all()
    words = sum(len(question.split()) for question in questions)
    assert attention_mask_BT.sum() - 2 * len(questions) < 1.5 * words
