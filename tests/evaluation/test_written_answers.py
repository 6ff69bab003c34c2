"""Written answers of the clients that a host holds; of others it knows the sizes alone."""

import numpy as np

from f3ocus_jax.data.answer_tokens import AnswerTokenizer
from f3ocus_jax.data.answers import AnswerVocabulary
from f3ocus_jax.data.examples import ClientData, Examples, RemoteExamples
from f3ocus_jax.data.reading import Federation
from f3ocus_jax.data.summary import Summary
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.evaluation.settings import EvaluationConfig
from f3ocus_jax.evaluation.written_answers import AnswerDecoder
from tfds_medvqa.common.features import QUESTION_ANSWERING


def examples(*answers):
    count = len(answers)
    texts = [""] * count
    tokens = np.zeros((count, 3), np.int32)
    images = np.zeros((count, 2, 2, 3), np.uint8)
    labels = np.zeros(count, np.int32)
    return Examples(images, tokens, tokens, labels, texts, list(answers), texts, texts, texts)


def test_a_host_adds_tokens_to_its_own_clients_and_leaves_those_of_others():
    tokenizer = load_tokenizer()
    end, padding = tokenizer.token_id("[SEP]"), tokenizer.token_id("[PAD]")
    written = AnswerTokenizer(tokenizer, 4, end, padding)
    decoder = AnswerDecoder(EvaluationConfig(), ("no", "yes"), written)
    away = RemoteExamples(5, QUESTION_ANSWERING)
    clients = [
        ClientData("here", examples("yes"), examples("left", "no")),
        ClientData("there", away, away),
    ]
    federation = Federation(clients, AnswerVocabulary(("no", "yes")), (), Summary("p", [], {}, []))
    here, there = decoder.add_answer_tokens(federation).clients
    assert there == clients[1]
    assert here.train.answer_ids_NA.shape == (1, 4)
    assert here.test.labels_N.tolist() == [2, 0]  # an answer beyond the vocabulary comes after it
