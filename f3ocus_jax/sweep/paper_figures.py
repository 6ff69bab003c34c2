"""Published results of F³OCUS (CVPR 2025, arXiv 2411.11912), which reports print beside their own.

Accuracies and F1 in percent, costs per client and round. The paper gives no intervals. Table 1
holds the methods of layer selection, table 2 those of parameter-efficient fine-tuning on task 1
with ViLT.
"""

import re
from collections.abc import Mapping

TASKS = (1, 2, 3, 4, 5, 6)

_ROWS: Mapping[str, tuple[float, ...]] = {
    "fd": (31.91, 33.07, 75.75, 70.03, 72.84, 70.13, 50.25, 58.12, 56.80, 68.10, 77.65, 82.70),
    "last_k": (32.75, 34.31, 76.65, 68.35, 72.63, 68.56, 53.77, 56.46, 59.07, 66.25, 80.75, 81.70),
    "magnitude": (
        31.35,
        30.96,
        73.26,
        69.18,
        70.88,
        71.02,
        52.17,
        58.46,
        58.25,
        67.04,
        77.51,
        82.27,
    ),
    "fishmask": (
        36.35,
        36.82,
        77.71,
        73.56,
        74.60,
        73.61,
        54.35,
        63.08,
        61.10,
        73.39,
        81.90,
        83.09,
    ),
    "gradflow": (
        36.20,
        37.29,
        77.09,
        74.06,
        74.82,
        73.90,
        54.18,
        62.58,
        60.70,
        71.76,
        81.22,
        82.24,
    ),
    "grasp": (35.36, 37.87, 76.90, 73.00, 73.80, 74.83, 53.44, 62.68, 60.91, 70.85, 82.03, 82.54),
    "snip": (29.65, 35.23, 75.59, 73.88, 74.37, 72.14, 51.91, 58.04, 62.04, 68.85, 79.25, 82.38),
    "rgn": (32.89, 36.21, 75.34, 72.35, 72.76, 71.59, 53.80, 62.16, 59.58, 70.23, 77.95, 81.14),
    "synflow": (34.99, 37.39, 77.95, 74.05, 74.81, 73.79, 55.09, 62.08, 60.97, 72.10, 81.30, 83.65),
    "fedselect": (
        35.79,
        38.00,
        76.66,
        72.80,
        73.45,
        72.60,
        53.55,
        61.87,
        59.34,
        71.63,
        80.29,
        84.10,
    ),
    "spt": (34.33, 37.78, 77.03, 73.66, 75.18, 74.80, 54.18, 63.03, 60.60, 72.68, 81.53, 83.97),
    "lntk": (37.32, 39.22, 79.15, 76.47, 75.44, 76.99, 55.81, 65.40, 64.12, 75.26, 83.66, 86.20),
    "f3ocus": (40.85, 42.37, 84.25, 80.46, 79.65, 78.95, 60.29, 69.79, 65.86, 78.94, 86.40, 89.69),
}
"""Table 1: method to tasks 1 to 6, each with ViLT and with BLIP."""

TABLE_1: Mapping[tuple[str, int, str], float] = {
    (method, task, family): row[2 * index + place]
    for method, row in _ROWS.items()
    for index, task in enumerate(TASKS)
    for place, family in enumerate(("vilt", "blip"))
}
"""Table 1: (method, task, family) to percent."""

TABLE_2_COLUMNS = (
    "megabits",
    "gigaflops",
    "millions",
    "slake",
    "vqa_med_2019",
    "vqa_med_2020",
    "vqa_med_2021",
    "vqa_rad",
    "overall",
)
"""Columns of table 2: costs, then clients by the beginning of their names here, then overall."""

TABLE_2: Mapping[str, Mapping[str, float]] = {
    method: dict(zip(TABLE_2_COLUMNS, row, strict=True))
    for method, row in {
        "full": (3915.2, 156.5, 122.35, 77.45, 67.25, 15.06, 22.00, 41.52, 46.92),
        "adap": (28.8, 85.2, 0.90, 72.82, 64.45, 11.56, 21.00, 38.35, 43.17),
        "feddat": (86.1, 86.3, 2.69, 72.79, 63.58, 12.46, 23.00, 38.91, 43.93),
        "ln": (5.8, 84.7, 0.18, 69.53, 62.22, 10.59, 22.00, 36.89, 41.30),
        "lora": (19.5, 84.6, 0.61, 57.73, 60.18, 4.59, 15.00, 31.16, 35.09),
        "bias": (3.5, 84.7, 0.11, 68.25, 55.61, 11.17, 17.00, 35.47, 39.54),
        "promptfl": (19.2, 85.0, 0.60, 65.63, 57.56, 4.78, 15.00, 40.26, 36.65),
        "f3ocus": (9.7, 80.6, 0.30, 74.69, 60.05, 12.84, 24.00, 42.30, 42.78),
    }.items()
}
"""Table 2: method to column to value."""


def task_of(base: str) -> int | None:
    """Returns the paper's task that a base config runs, None for another.

    Tiny variants run on made-up files, which no published result can be compared with.

    >>> task_of("task1"), task_of("configs/task4.py"), task_of("task1:tiny"), task_of("phantom")
    (1, 4, None, None)
    """
    if base.partition(":")[2]:
        return None
    found = re.search(r"(?:^|/)task([1-6])(?:\.py)?$", base)
    return int(found.group(1)) if found else None
