"""Batches gather every array of the same examples."""

import dataclasses

import numpy as np

from f3ocus_jax.data.examples import Examples, concatenate_examples, stack_batches
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING


def numbered(count, start=0, **changed):
    """Examples all of whose arrays hold the example's number."""
    numbers_N = np.arange(start, start + count)
    texts = [str(number) for number in numbers_N]
    pixels_NHWC = np.broadcast_to(numbers_N[:, None, None, None], (count, 2, 2, 3))
    return Examples(
        images_NHWC=pixels_NHWC.astype(np.uint8),
        input_ids_NT=np.repeat(numbers_N[:, None], 4, axis=1).astype(np.int32),
        attention_mask_NT=np.repeat(numbers_N[:, None] % 2, 4, axis=1).astype(np.int32),
        labels_N=numbers_N.astype(np.int32),
        questions=texts,
        answers=texts,
        question_types=texts,
        answer_types=texts,
        image_ids=texts,
        **changed,
    )


def test_a_batch_holds_all_arrays_of_the_examples_asked_for():
    numbers_N = np.arange(5)
    split = numbered(
        5,
        targets_NF=numbers_N[:, None].astype(np.int8),
        answer_ids_NA=numbers_N[:, None].astype(np.int32),
        answer_mask_NA=numbers_N[:, None].astype(np.int32),
        image_size_N2=np.stack([numbers_N, numbers_N], axis=1).astype(np.int32),
    )
    indices = np.array([[3, 0], [1, 3]])
    batch = split.batch(indices)
    for name, array in dataclasses.asdict(batch).items():
        if name not in ("example_mask_B", "attention_mask_BT"):
            np.testing.assert_array_equal(array.reshape(2, 2, -1)[..., 0], indices, err_msg=name)
    np.testing.assert_array_equal(batch.attention_mask_BT[..., 0], indices % 2)
    np.testing.assert_array_equal(batch.example_mask_B, np.ones((2, 2)))


def test_padding_stays_padding():
    batch = numbered(3).batch(np.array([2, 0, 0]), np.array([1, 1, 0]))
    assert batch.example_mask_B.dtype == np.float32
    assert batch.example_mask_B.tolist() == [1, 1, 0]
    assert batch.targets_BF is None
    assert batch.answer_ids_BA is None


def test_a_client_finds_diseases_if_any_example_labels_one():
    assert numbered(2).task == QUESTION_ANSWERING
    unlabelled = np.full((2, 3), -1, np.int8)
    assert numbered(2, targets_NF=unlabelled).task == QUESTION_ANSWERING
    labelled = unlabelled.copy()
    labelled[1, 2] = 0
    assert numbered(2, targets_NF=labelled).task == CLASSIFICATION


def test_examples_are_concatenated_and_batches_stacked_in_order():
    both = concatenate_examples([numbered(2), numbered(3, start=7)])
    assert both.labels_N.tolist() == [0, 1, 7, 8, 9]
    assert both.questions == ["0", "1", "7", "8", "9"]
    assert both.images_NHWC[:, 0, 0, 0].tolist() == [0, 1, 7, 8, 9]
    assert both.targets_NF is None
    stacked = stack_batches([both.batch(np.array([4, 0])), both.batch(np.array([1, 2]))])
    assert stacked.labels_B.tolist() == [[9, 0], [1, 7]]
