"""Phantom number i of a client: its image, question and answer."""

import dataclasses
import functools
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.images import encode_png
from tfds_medvqa.common.rows import ENGLISH
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

MAX_DRAWS = 10_000
"""Attempts to draw facts with a given answer; about one draw in ten has it."""


@dataclasses.dataclass(frozen=True)
class Phantom:
    """One example before its image is encoded.

    Attributes:
      image_HWC: uint8 [image_size, image_size, 3].
      image_id: Identifier, unique over the dataset; starts with the client.
      facts: Facts about the image.
      question: Question with all its paraphrases.
      wording: Paraphrase that is used.
      answer: Fact that the question asks for.
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
    """Draws a question by its frequency, then its answer by the client's prevalence."""
    questions = QUESTIONS[client]
    question = questions[_pick(rng, np.array([question.share for question in questions]))]
    answer = question.answers[_pick(rng, _shares(seed, client, question, shift))]
    return question, answer


def sample_facts(rng: np.random.Generator, client: str, fact: str, answer: str) -> Facts:
    """Draws facts until they contain the given answer, which leaves other facts random.

    Raises:
      ValueError: if the client's images never have this answer.
    """
    modality = MODALITIES[client]
    for _ in range(MAX_DRAWS):
        facts = {"modality": modality.modality, **modality.sample(rng)}
        if facts.get(fact) == answer:
            return facts
    raise ValueError(f"no image of {client} has {fact!r} = {answer!r}; correct its question")


def describe(config: PhantomConfig, client: str, index: int) -> tuple[Question, str, Facts]:
    """Draws the question and the facts of one phantom, without drawing the image.

    Returns:
      (question, answer, facts).
    """
    seed, shift = config.seed, config.shift
    question, answer = sample_question(client_rng(seed, client, 3, index), seed, client, shift)
    facts = sample_facts(client_rng(seed, client, 4, index), client, question.fact, answer)
    return question, answer, facts


def make_phantom(config: PhantomConfig, client: str, index: int) -> Phantom:
    """Makes one phantom, a function of the config's options, the client and the index alone.

    Args:
      config: Config with seed, shift and image size; its counts are not used.
      client: One of `phantom_config.CLIENTS`.
      index: Index of the phantom, at least 0.

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
    """Returns the phantom as an example of the shared feature specification."""
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
        language=ENGLISH,
        label=[modality.label_classes.index(phantom.facts[modality.label_fact])],
    )


def split_indices(count: int, split: str) -> list[int]:
    """Returns the indices of a client's images in a split: every fifth is a test image.

    Raises:
      ValueError: if the split is not one of `SPLITS`.
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
