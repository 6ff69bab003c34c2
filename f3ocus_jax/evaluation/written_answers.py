"""How are the answers chosen that a model writes, and which of them are right?"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.data.answer_tokens import AnswerTable, AnswerTokens
from f3ocus_jax.data.examples import ClientData, Examples
from f3ocus_jax.data.reading import Federation
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.evaluation import inference
from f3ocus_jax.evaluation.inference import Outputs, Predict
from f3ocus_jax.evaluation.settings import EvaluationConfig
from f3ocus_jax.models import base, losses
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.models.generation import decoding as decoding_lib
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.types import Batch, Params
from tfds_medvqa.common.features import QUESTION_ANSWERING


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How answers are chosen.

    Attributes:
      name: "rank" (the likeliest of a vocabulary), "greedy" or "beam".
      beams: how many are kept open by "beam".
      vocabulary: the answers to rank.
      tokens: between answers and tokens.
    """

    name: str
    beams: int
    vocabulary: tuple[str, ...]
    tokens: AnswerTokens

    def make_decode(self, generator: Generator) -> decoding_lib.Decode:
        """Makes the function that chooses: (params, batch) -> ids_BA, or logits_BC of a ranking."""
        if self.name == "rank":
            return decoding_lib.make_ranking(generator, *self.tokens.encode(self.vocabulary))
        if self.name == "beam":
            return decoding_lib.make_beam_search(generator, self.tokens.length, self.beams)
        return decoding_lib.make_greedy_search(generator, self.tokens.length)

    def teach(self, federation: Federation) -> Federation:
        """Gives all examples the tokens of their answers, and each test answer a number.

        A test answer that no client trains on is right when it is written, so it has a number
        behind those of the vocabulary.

        Raises:
          ConfigError: if a client does not answer questions.
        """
        for client in federation.clients:
            if client.task != QUESTION_ANSWERING:
                raise ConfigError(
                    f"client {client.name} is for {client.task}: config.model.answering must be "
                    "'classify', since findings are not written"
                )
        table = self.table(federation.clients)

        def teach(client: ClientData) -> ClientData:
            client = self.tokens.add(client)
            labels_N = table.numbers(client.test.answers)
            return dataclasses.replace(
                client, test=dataclasses.replace(client.test, labels_N=labels_N)
            )

        return dataclasses.replace(federation, clients=[teach(c) for c in federation.clients])

    def table(self, clients: list[ClientData]) -> AnswerTable:
        """Returns the numbers of all answers that can be right."""
        answers = [answer for client in clients for answer in client.test.answers]
        return AnswerTable(self.vocabulary, answers, self.tokens)


def decoding_of(
    foundation: Foundation, settings: EvaluationConfig, answer_length: int
) -> Decoding | None:
    """Returns how a run lets its model write answers; None for one with an answer head.

    Args:
      foundation: the model and its tokenizer.
      settings: `config.evaluation`.
      answer_length: A of answers that are written, in tokens, with their end.
    """
    generator = foundation.model.generator
    if generator is None:
        return None
    tokens = AnswerTokens(
        foundation.tokenizer, answer_length, generator.end_token, generator.padding_token
    )
    return Decoding(settings.decoding, settings.beams, foundation.answers, tokens)


def make_written_predict(
    model: Model,
    decoding: Decoding,
    clients: list[ClientData],
    *,
    batch_size: int,
    placement_name: str,
) -> Predict:
    """Makes the function that lets a model write an answer to every example of a split.

    Args:
      model: one with a generator.
      decoding: how it writes.
      clients: from `Decoding.teach`.
      batch_size: examples per device and step.
      placement_name: a key of `backends.BACKENDS`.

    Returns:
      (params, examples) -> Outputs: every answer and its number, -1 for one that nobody gave, and
      the negative log-probability of the right answer.

    Raises:
      ValueError: for a model without a generator.
    """
    if model.generator is None:
        raise ValueError("this model has an answer head and writes nothing")
    write, per_example = decoding.make_decode(model.generator), losses.make_loss("cross_entropy")
    table = decoding.table(clients)

    def one_batch(params: Params, batch: Batch) -> Outputs:
        loss_B = per_example(base.apply(model, params, batch), batch)
        chosen: jax.Array = write(params, batch)
        if decoding.name == "rank":
            chosen = jnp.argmax(chosen, axis=-1).astype(jnp.int32)
        return Outputs(losses_N=loss_B, answers_N=chosen, findings_NF=None)

    over_split = inference.over_split(one_batch, batch_size, placement_name)

    def predict(params: Params, examples: Examples) -> Outputs:
        outputs = over_split(params, examples)
        if decoding.name == "rank":
            texts = [decoding.vocabulary[answer] for answer in outputs.answers_N]
            return outputs._replace(texts_N=np.array(texts, object))
        texts = decoding.tokens.decode(outputs.answers_N)
        return outputs._replace(answers_N=table.written(texts), texts_N=np.array(texts, object))

    return predict
