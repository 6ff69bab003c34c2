"""Sizes of a federation without its files: the counts that its datasets are released with.

They are those of each builder's README. What only the files tell is approximated: clients by
modality or label shift have equal parts, held-out examples are counted one by one, and images that
several datasets contain count in each.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from f3ocus_jax.config import choose
from f3ocus_jax.data.settings import DataConfig
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING


@dataclasses.dataclass(frozen=True)
class ClientSizes:
    """Numbers of examples of a client, or of a dataset.

    Attributes:
      train: Training examples.
      validation: Validation examples.
      test: Test examples.
      task: One of `tfds_medvqa.common.features.TASKS`.
    """

    train: int
    validation: int
    test: int
    task: str = QUESTION_ANSWERING


def _equal(parts: int, whole: ClientSizes) -> list[ClientSizes]:
    """Deals examples to clients of equal size, the first ones getting what is left over."""

    def part(index: int) -> ClientSizes:
        train, validation, test = (
            count // parts + (index < count % parts)
            for count in (whole.train, whole.validation, whole.test)
        )
        return ClientSizes(train, validation, test, whole.task)

    return [part(index) for index in range(parts)]


RELEASED: Mapping[str, Sequence[ClientSizes]] = {
    "medvqa_fl/all": (
        ClientSizes(94_381, 0, 23_595),
        ClientSizes(87_447, 0, 21_862),
        ClientSizes(85_744, 0, 21_436),
        ClientSizes(8_012, 0, 2_003),
        ClientSizes(1_280, 0, 320),
        ClientSizes(624, 0, 156),
        ClientSizes(13_674, 0, 3_418),
        ClientSizes(189_109, 0, 47_277),
        ClientSizes(86_099, 0, 21_525),
    ),
    "medvqa_fl/all_own_splits": (
        ClientSizes(83_176, 11_743, 23_057),
        ClientSizes(97_477, 10_832, 1_000),
        ClientSizes(89_996, 10_004, 7_180),
        ClientSizes(7_007, 1_003, 2_005),
        ClientSizes(1_080, 120, 400),
        ClientSizes(546, 78, 156),
        ClientSizes(11_959, 1_712, 3_421),
        ClientSizes(165_466, 23_640, 47_280),
        ClientSizes(61_468, 11_335, 34_821),
    ),
    # Of all views; the builder takes the frontal ones that have labels.
    "mimic_cxr/reports": (ClientSizes(368_960, 2_991, 5_159, CLASSIFICATION),),
    # Four fifths and one fifth of 88 996 questions in eight modalities.
    "omni_med_vqa/all": _equal(8, ClientSizes(71_197, 0, 17_799)),
    # 70, 10 and 20 % of 3 955 patients.
    "open_i/reports": (ClientSizes(2_768, 396, 791, CLASSIFICATION),),
    "slake/english": (ClientSizes(4_919, 1_053, 1_061),),
    "vqa_med_2019/challenge": (ClientSizes(12_792, 2_000, 500),),
    "vqa_med_2019/development": (ClientSizes(12_792, 0, 2_000),),
    "vqa_med_2020/challenge": (ClientSizes(4_000, 500, 500),),
    "vqa_med_2021/challenge": (ClientSizes(4_500, 500, 500),),
    "vqa_med_2021/new_images": (ClientSizes(500, 0, 500),),
    "vqa_rad/released": (ClientSizes(1_797, 0, 451),),
}
"""Dataset to the sizes of its clients, where a feature of its examples names them."""


def released_clients(config: DataConfig) -> list[ClientSizes]:
    """Returns the sizes of a federation's clients.

    Args:
      config: Datasets and partition rules.

    Returns:
      One per client, validation examples held out and evaluated ones limited as the config says.

    Raises:
      ConfigError: For a dataset whose sizes are not known; lists those that are.
    """
    rules = config.partition
    if len(rules) == 1:
        rules = rules * len(config.datasets)
    clients = []
    for dataset, rule in zip(config.datasets, rules, strict=True):
        parts = choose("data.datasets", dataset, RELEASED)
        whole = _together(parts)
        if rule == "dataset":
            parts = [whole]
        elif rule in ("shards", "dirichlet"):
            parts = _equal(config.clients_per_dataset, whole)
        clients += [_held_out(part, config.validation_share) for part in parts]
    return [_limited(client, config.evaluated_examples) for client in clients]


def _together(parts: Sequence[ClientSizes]) -> ClientSizes:
    return ClientSizes(
        sum(part.train for part in parts),
        sum(part.validation for part in parts),
        sum(part.test for part in parts),
        parts[0].task,
    )


def _held_out(sizes: ClientSizes, share: float) -> ClientSizes:
    """Holds a share of the training examples out, where no validation split is released."""
    if sizes.validation or not share:
        return sizes
    held = max(1, round(share * sizes.train))
    return dataclasses.replace(sizes, train=sizes.train - held, validation=held)


def _limited(sizes: ClientSizes, most: int) -> ClientSizes:
    """Leaves examples out of the evaluated splits; 0 for none."""
    if not most:
        return sizes
    validation, test = min(sizes.validation, most), min(sizes.test, most)
    return dataclasses.replace(sizes, validation=validation, test=test)
