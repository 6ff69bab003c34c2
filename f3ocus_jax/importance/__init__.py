"""What is each layer worth to one client?"""

from f3ocus_jax.importance import lntk
from f3ocus_jax.importance.lntk import Importance, Score

SCORES = {"lntk": lntk.create}

__all__ = ["SCORES", "Importance", "Score"]
