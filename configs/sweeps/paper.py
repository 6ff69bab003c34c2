"""The whole study of F³OCUS: six tasks, four families, every method of both tables, five seeds.

13 methods of layer selection and 8 of parameter-efficient fine-tuning have F³OCUS in common. All
data and sizes are those of `configs/task1.py` to `task6.py`; the paper's two tables are a part of
it: ViLT and BLIP, and the second one task 1 with ViLT alone. `f3ocus sweep plan --hours` says what
it takes.
"""

import ml_collections

from f3ocus_jax.config import defaults
from f3ocus_jax.sweep.paper_figures import TABLE_1, TABLE_2, TASKS
from f3ocus_jax.sweep.settings import SweepConfig

FAMILIES = ("vilt", "albef", "blip", "llava")


def get_config() -> ml_collections.ConfigDict:
    """Returns the sweep."""
    sweep = defaults(SweepConfig)
    sweep.bases = tuple(f"task{number}" for number in TASKS)
    sweep.families = FAMILIES
    sweep.methods = tuple(dict.fromkeys([*(method for method, *_ in TABLE_1), *TABLE_2]))
    sweep.seeds = (0, 1, 2, 3, 4)
    return sweep
