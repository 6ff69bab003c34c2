"""Split of patients into training, validation and test examples, the same in every build."""

import collections
import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence

from tfds_medvqa.common.errors import BuildError

Group = tuple[str, str]
"""Hospital, and patient or image: what stays together."""

TRAIN = "train"


def split_groups(
    labels: Mapping[Group, Hashable], shares: Mapping[str, float], seed: int
) -> dict[Group, str]:
    """Splits the groups of every hospital, stratified by label.

    Args:
      labels: Group to its label, such as its most frequent answer.
      shares: Split to its share of each hospital's groups; the rest is for training.
      seed: Seed of the order within a label.

    Returns:
      Group to split. Every split of a hospital has a group at least; the order of `labels` does
      not matter.

    Raises:
      BuildError: if a hospital has too few groups; it is named.
    """
    by_hospital: dict[str, dict[str, list[Group]]] = {}
    for group, label in labels.items():
        hospital = by_hospital.setdefault(group[0], {})
        hospital.setdefault(repr(label), []).append(group)
    split_of: dict[Group, str] = {}
    for name, strata in by_hospital.items():
        # One label after the other, so that a stretch of the order has one label.
        ordered = [
            group
            for label in sorted(strata)
            for group in sorted(strata[label], key=lambda each: _hash(seed, each))
        ]
        if len(ordered) <= len(shares):
            raise BuildError(
                f"hospital {name!r} has {len(ordered)} patients or images, too few for "
                f"{len(shares) + 1} splits; name the split of each row in a column split"
            )
        split_of |= _deal(ordered, shares)
    return split_of


def _deal(ordered: Sequence[Group], shares: Mapping[str, float]) -> dict[Group, str]:
    """Deals groups to splits so that each split takes its share of every stretch of the order."""
    counts = {
        split: max(1, math.floor(share * len(ordered) + 0.5)) for split, share in shares.items()
    }
    counts[TRAIN] = max(1, len(ordered) - sum(counts.values()))
    dealt: collections.Counter[str] = collections.Counter()
    split_of = {}
    for position, group in enumerate(ordered, start=1):
        # The split that lags most behind its share of the groups so far.
        behind = {
            split: position * count / sum(counts.values()) - dealt[split]
            for split, count in counts.items()
            if dealt[split] < count
        }
        split = max(behind, key=lambda name: (behind[name], name)) if behind else TRAIN
        dealt[split] += 1
        split_of[group] = split
    return split_of


def _hash(seed: int, group: Group) -> bytes:
    text = "\0".join((str(seed), *group)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()
