"""Decoding of the answers that a model writes, and their comparison with the right ones."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.data.answer_tokens import AnswerIndex, AnswerTokenizer
from f3ocus_jax.data.examples import ClientData, Examples, local_clients
from f3ocus_jax.data.reading import Federation
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.evaluation import inference
from f3ocus_jax.evaluation.decodings import RANK
from f3ocus_jax.evaluation.inference import Outputs, Predict
from f3ocus_jax.evaluation.settings import EvaluationConfig
from f3ocus_jax.models import base, losses
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.models.generation.decoding import Decode, Rank
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.types import Batch, Params
from tfds_medvqa.common.features import QUESTION_ANSWERING

EVALUATED = ("test", "validation")
"""Splits of a client whose answers are indexed; each may be None."""


@dataclasses.dataclass(frozen=True)
class AnswerDecoder:
    """Strategy by which a model writes its answers.

    Attributes:
      settings: Decoding strategy and its options.
      vocabulary: Answers that "rank" ranks.
      tokenizer: Converts between answers and tokens.
    """

    settings: EvaluationConfig
    vocabulary: tuple[str, ...]
    tokenizer: AnswerTokenizer

    @property
    def is_ranked(self) -> bool:
        """True if the likeliest answer of the vocabulary is taken."""
        return self.settings.decoding == RANK

    def make_decode(self, generator: Generator) -> Decode | Rank:
        """Makes (params, batch) -> ids_BA, or for "rank" the logits_BC of the vocabulary."""
        decode: Decode | Rank = self.settings.make(
            "decoding", generator, self.tokenizer, self.vocabulary
        )
        return decode

    def add_answer_tokens(self, federation: Federation) -> Federation:
        """Adds the answers' tokens to all examples, and an index to test and validation answers.

        An answer that no client trains on is correct when the model writes it, so it gets an
        index after those of the vocabulary.

        Raises:
          ConfigError: if a client does not answer questions.
        """
        for client in federation.clients:
            if client.task != QUESTION_ANSWERING:
                raise ConfigError(
                    f"client {client.name} is for {client.task}: config.model.answering must be "
                    "'classify', since findings are not written"
                )
        index = self.answer_index(federation.clients)

        def add(client: ClientData) -> ClientData:
            if not client.is_here:
                return client
            client = self.tokenizer.add_tokens(client)
            splits = {name: getattr(client, name) for name in EVALUATED}
            labelled = {
                name: dataclasses.replace(split, labels_N=index.lookup(split.answers))
                for name, split in splits.items()
                if split is not None
            }
            return dataclasses.replace(client, **labelled)

        return dataclasses.replace(federation, clients=[add(c) for c in federation.clients])

    def answer_index(self, clients: list[ClientData]) -> AnswerIndex:
        """Indexes the vocabulary, and the answers that the clients here are measured on."""
        splits = [getattr(client, name) for client in local_clients(clients) for name in EVALUATED]
        answers = [answer for split in splits if split is not None for answer in split.answers]
        return AnswerIndex(self.vocabulary, answers, self.tokenizer)


def make_answer_decoder(
    foundation: Foundation, settings: EvaluationConfig, answer_length: int
) -> AnswerDecoder | None:
    """Makes the decoder of a run; None for a model with an answer head.

    Args:
      foundation: Model and its tokenizer.
      settings: `config.evaluation`.
      answer_length: A, tokens of a written answer with its end.
    """
    generator = foundation.model.generator
    if generator is None:
        return None
    tokenizer = AnswerTokenizer(
        foundation.tokenizer, answer_length, generator.end_token, generator.padding_token
    )
    return AnswerDecoder(settings, foundation.answers, tokenizer)


def make_written_predict(
    model: Model,
    decoder: AnswerDecoder,
    clients: list[ClientData],
    *,
    batch_size: int,
    placement_name: str,
) -> Predict:
    """Makes the function that lets a model write an answer to every example of a split.

    Args:
      model: Model with a generator.
      decoder: Decoding strategy.
      clients: Clients from `AnswerDecoder.add_answer_tokens`.
      batch_size: Examples per device and step.
      placement_name: Key of `backends.BACKENDS`.

    Returns:
      (params, examples) -> Outputs: every answer and its index, -1 for an answer that is not
      indexed, and the negative log-probability of the right answer.

    Raises:
      ValueError: for a model without a generator.
    """
    if model.generator is None:
        raise ValueError("this model has an answer head and writes no answers")
    decode, per_example = decoder.make_decode(model.generator), losses.make_loss("cross_entropy")
    index = decoder.answer_index(clients)

    def predict_batch(params: Params, batch: Batch) -> Outputs:
        loss_B = per_example(base.apply(model, params, batch), batch)
        chosen: jax.Array = decode(params, batch)
        if decoder.is_ranked:
            chosen = jnp.argmax(chosen, axis=-1).astype(jnp.int32)
        return Outputs(losses_N=loss_B, answers_N=chosen, findings_NF=None)

    predict_split = inference.make_batched_predict(predict_batch, batch_size, placement_name)

    def predict(params: Params, examples: Examples) -> Outputs:
        outputs = predict_split(params, examples)
        chosen = np.asarray(outputs.answers_N)
        if decoder.is_ranked:
            texts = [decoder.vocabulary[answer] for answer in chosen]
            return outputs._replace(texts_N=np.array(texts, object))
        texts = decoder.tokenizer.decode(chosen)
        return outputs._replace(
            answers_N=index.lookup_decoded(texts), texts_N=np.array(texts, object)
        )

    return predict
