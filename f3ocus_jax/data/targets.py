"""Which findings are there, for a federation whose datasets may name different ones?"""

from collections.abc import Mapping, Sequence

import numpy as np

from f3ocus_jax.data.table import Table
from tfds_medvqa.common.features import CLASSIFICATION

SEPARATOR = ", "
"""Between the names in the column "findings"."""


def names(clients: Sequence[Mapping[str, Table]]) -> tuple[str, ...]:
    """Gathers the findings of all datasets.

    Args:
      clients: split to examples of each.

    Returns:
      The different ones, in the order of their first mention.
    """
    listed = [
        value
        for splits in clients
        for table in splits.values()
        for value in table.columns["findings"].values
        if value
    ]
    return tuple(dict.fromkeys(name for value in listed for name in value.split(SEPARATOR)))


def of_table(table: Table, findings: Sequence[str]) -> np.ndarray:
    """Spreads every example's label vector over the federation's findings.

    Args:
      table: N examples, of one dataset or several.
      findings: F names, from `names`.

    Returns:
      targets_NF, int8: 1 for a finding that is there, 0 for one that is not, and -1 where the
      dataset does not know the finding or the example is a question.
    """
    targets_NF = np.full((len(table), len(findings)), -1, np.int8)
    is_finding_N = np.array(table.texts("task"), object) == CLASSIFICATION
    known, labels = table.columns["findings"], table.columns["label"]
    for code, value in enumerate(known.values):
        mine_N = is_finding_N & (known.code_N == code)
        if not mine_N.any():
            continue
        places = [findings.index(name) for name in value.split(SEPARATOR)]
        used, inverse = np.unique(labels.code_N[mine_N], return_inverse=True)
        vectors = np.array([labels.values[label].split() for label in used.tolist()], np.int8)
        targets_NF[np.ix_(mine_N, places)] = vectors[inverse]
    return targets_NF
