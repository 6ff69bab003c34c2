"""Page of all settings: python -m f3ocus_jax.federation.reference > docs/settings.md."""

from f3ocus_jax.config import reference
from f3ocus_jax.federation.settings import ExperimentConfig, PretrainConfig

INTRODUCTION = """\
# Settings

This page is generated from the declarations in `f3ocus_jax/*/settings.py` and beside the components
(scores, rules, optimizers, decodings) by `python -m f3ocus_jax.federation.reference`. A setting is
changed in a config file (`config.training.batch_size = 16`) or on the command line
(`--config.training.batch_size=16`). The options of a component, as in `config.importance.spt`, have
an effect only where it is chosen, but are checked in any case.

Whatever its possible values, an integer has 32 bits (64 for bytes and FLOPs), a float is a finite
number of float32, text has no control characters, and a path may begin with `~`.

A server and its sites have one section more: [settings of a deployment](deployment.md#settings).
"""

PRETRAINING = """\
# Settings of pre-training

`python -m f3ocus_jax.pretrain` takes the sections `data`, `model` and `evaluation` from above, and
these settings or other defaults.
"""


def page() -> str:
    """Returns the text of docs/settings.md."""
    of_runs = reference.markdown(ExperimentConfig)
    of_pretraining = reference.markdown(PretrainConfig, known=ExperimentConfig)
    return "\n".join([INTRODUCTION, of_runs, "", PRETRAINING, of_pretraining, ""])


if __name__ == "__main__":
    print(page(), end="")
