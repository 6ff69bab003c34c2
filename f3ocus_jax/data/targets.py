"""Targets of multi-label classification over the findings of several datasets."""

from collections.abc import Mapping, Sequence

import numpy as np

from f3ocus_jax.data.table import Table
from tfds_medvqa.common.features import CLASSIFICATION
from tfds_medvqa.common.findings import SEPARATOR


def finding_names(clients: Sequence[Mapping[str, Table]]) -> tuple[str, ...]:
    """Returns the findings of all datasets.

    Args:
      clients: Split to examples, for every client.

    Returns:
      F distinct names, in the order of their first occurrence.
    """
    listed = [
        value
        for splits in clients
        for table in splits.values()
        for value in table.columns["findings"].values
        if value
    ]
    return tuple(dict.fromkeys(name for value in listed for name in value.split(SEPARATOR)))


def make_targets(table: Table, findings: Sequence[str]) -> np.ndarray:
    """Maps every example's label vector to the federation's findings.

    Args:
      table: N examples of one or several datasets.
      findings: F names, from `finding_names`.

    Returns:
      targets_NF, int8: 1 for a finding that is present, 0 for one that is absent, and -1 if the
      dataset does not label the finding or the example is a question.
    """
    targets_NF = np.full((len(table), len(findings)), -1, np.int8)
    is_finding_N = np.array(table.texts("task"), object) == CLASSIFICATION
    known, labels = table.columns["findings"], table.columns["label"]
    for code, value in enumerate(known.values):
        in_dataset_N = is_finding_N & (known.code_N == code)
        if not in_dataset_N.any():
            continue
        columns = [findings.index(name) for name in value.split(SEPARATOR)]
        used, inverse = np.unique(labels.code_N[in_dataset_N], return_inverse=True)
        vectors = np.array([labels.values[label].split() for label in used.tolist()], np.int8)
        targets_NF[np.ix_(in_dataset_N, columns)] = vectors[inverse]
    return targets_NF
