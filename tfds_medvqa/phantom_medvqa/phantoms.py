"""What is phantom number i of a client: its picture, its question and its answer."""

import dataclasses
import functools
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.images import encode_png
from tfds_medvqa.phantom_medvqa.acquisition import (
    Acquisition,
    acquire,
    answer_shares,
    client_acquisition,
    client_rng,
)
from tfds_medvqa.phantom_medvqa.drawing import MODALITIES, Facts
from tfds_medvqa.phantom_medvqa.phantom_config import TEST_EVERY, PhantomConfig
from tfds_medvqa.phantom_medvqa.questions import QUESTIONS, Question

SPLITS = ("train", "test")

MOST_DRAWS = 10_000
"""A question's answer is met by about one draw in ten; after so many misses none can meet it."""


@dataclasses.dataclass(frozen=True)
class Phantom:
    """One example before its picture is encoded.

    Attributes:
      image_HWC: uint8 [image_size, image_size, 3].
      image_id: unique over the dataset; begins with the client.
      facts: all that is known about the picture.
      question: what is asked, with all its paraphrases.
      wording: the paraphrase in use.
      answer: the fact that the question asks for.
    """

    image_HWC: np.ndarray
    image_id: str
    facts: Facts
    question: Question
    wording: str
    answer: str


@functools.cache
def _shares(seed: int, client: str, question: Question, shift: float) -> np.ndarray:
    return answer_shares(seed, client, question.fact, question.answers, shift)


@functools.cache
def _machine(seed: int, client: str, shift: float) -> Acquisition:
    return client_acquisition(seed, client, grey=MODALITIES[client].grey, shift=shift)


def _pick(rng: np.random.Generator, shares: np.ndarray) -> int:
    """Draws an index with the given probabilities; much cheaper than `rng.choice`."""
    return int(np.searchsorted(np.cumsum(shares), rng.random() * np.sum(shares)))


def sample_question(
    rng: np.random.Generator, seed: int, client: str, shift: float
) -> tuple[Question, str]:
    """Draws a question by its share, then its answer by the client's prevalence."""
    questions = QUESTIONS[client]
    question = questions[_pick(rng, np.array([question.share for question in questions]))]
    answer = question.answers[_pick(rng, _shares(seed, client, question, shift))]
    return question, answer


def sample_facts(rng: np.random.Generator, client: str, fact: str, answer: str) -> Facts:
    """Draws facts until they hold the wanted answer, which leaves all other facts as they come.

    Raises:
      ValueError: the client's pictures never have this answer.
    """
    modality = MODALITIES[client]
    for _ in range(MOST_DRAWS):
        facts = {"modality": modality.modality, **modality.sample(rng)}
        if facts.get(fact) == answer:
            return facts
    raise ValueError(f"no picture of {client} has {fact!r} = {answer!r}; mend its question")


def describe(config: PhantomConfig, client: str, index: int) -> tuple[Question, str, Facts]:
    """Draws what one phantom will show, without drawing the picture.

    Returns:
      (question, answer, facts).
    """
    seed, shift = config.seed, config.shift
    question, answer = sample_question(client_rng(seed, client, 3, index), seed, client, shift)
    facts = sample_facts(client_rng(seed, client, 4, index), client, question.fact, answer)
    return question, answer, facts


def make_phantom(config: PhantomConfig, client: str, index: int) -> Phantom:
    """Makes one phantom, which depends on nothing but the config's options, client and index.

    Args:
      config: its seed, shift and image size; its counts do not matter.
      client: one of `phantom_config.CLIENTS`.
      index: at least 0.

    Returns:
      The phantom.
    """
    seed, shift = config.seed, config.shift
    question, answer, facts = describe(config, client, index)
    rng = client_rng(seed, client, 5, index)
    scene_HWC = MODALITIES[client].draw(facts, rng, config.image_size)
    image_HWC = acquire(
        scene_HWC, _machine(seed, client, shift), client_rng(seed, client, 6, index)
    )
    image_id = f"{client}-seed{seed}-{index:06d}"
    wording = question.paraphrases[zlib.crc32(image_id.encode()) % len(question.paraphrases)]
    return Phantom(image_HWC, image_id, facts, question, wording, answer)


def to_example(phantom: Phantom, client: str) -> dict[str, Any]:
    """Returns the phantom as the shared feature spec wants it."""
    modality = MODALITIES[client]
    return question_example(
        image=encode_png(phantom.image_HWC),
        image_id=phantom.image_id,
        example_id=phantom.image_id,
        question=phantom.wording,
        answer=phantom.answer,
        question_type=phantom.question.question_type,
        client=client,
        modality=modality.modality,
        anatomy=modality.anatomy,
        source="phantom",
        label=[modality.label_classes.index(phantom.facts[modality.label_fact])],
    )


def split_indices(count: int, split: str) -> list[int]:
    """Returns which of a client's images are in a split: every fifth is a test image.

    Raises:
      ValueError: the split is not one of `SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; choose of {', '.join(SPLITS)}")
    is_test = split == "test"
    return [i for i in range(count) if (i % TEST_EVERY == TEST_EVERY - 1) == is_test]


def generate(config: PhantomConfig, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (image_id, example) of one split, client by client."""
    for client, count in config.counts.items():
        for index in split_indices(count, split):
            phantom = make_phantom(config, client, index)
            yield phantom.image_id, to_example(phantom, client)
