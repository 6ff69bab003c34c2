"""Layout of a model's parameters, which depends on the stack that is selectable.

A family with several stacks names its submodules. The blocks of the selectable stack become the
rows of a `Model`; submodules that run before them are its embeddings, those after them its readout.
"""

import dataclasses

from f3ocus_jax.types import Params

ROLES = ("embeddings", "blocks", "readout")
"""Keys of a model's parameters that hold submodules."""


@dataclasses.dataclass(frozen=True)
class ParameterLayout:
    """Submodules of a model in the order in which they run.

    Attributes:
      branches: Submodules of each branch; a branch encodes the image or the text alone.
      trunk: Submodules after the branches.
    """

    branches: tuple[tuple[str, ...], ...]
    trunk: tuple[str, ...]

    def to_params(self, submodules: Params, stack: str) -> Params:
        """Sorts submodules into the parameters of a `Model`.

        Args:
          submodules: Parameters by submodule; other entries, such as adapters, are kept as they
            are.
          stack: Name of the submodule that is the selectable stack.

        Returns:
          Parameters with the keys of `Model`.
        """
        below, above = self._around(stack)
        known = {*below, stack, *above}
        return {
            "embeddings": {name: submodules[name] for name in below},
            "blocks": submodules[stack],
            "readout": {name: submodules[name] for name in above},
        } | {name: submodules[name] for name in submodules if name not in known}

    def to_submodules(self, params: Params, stack: str) -> Params:
        """Undoes `to_params`."""
        others = {name: params[name] for name in params if name not in ROLES}
        return {**params["embeddings"], stack: params["blocks"], **params["readout"], **others}

    def _around(self, stack: str) -> tuple[list[str], list[str]]:
        """Returns the submodules that run before a stack, and those that run after it."""
        path = next((branch for branch in self.branches if stack in branch), ())
        others = [name for branch in self.branches if branch != path for name in branch]
        order = [*others, *path, *self.trunk]
        index = order.index(stack)
        return order[:index], order[index + 1 :]
