"""Factories that remember what they made, so that equal settings share compiled programs.

JAX compiles a function once per object. A process that does several runs, as a worker of a sweep
does, would compile each of them anew, although runs that differ by their seed alone have the same
programs: their data, weights and keys are arguments of these.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

MOST = 32
"""Results that a factory keeps; beyond, the one that was asked for longest ago is forgotten."""


def kept(factory: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Makes a factory return the same object for equal arguments.

    Args:
      factory: Function whose result depends on its arguments alone and is never changed.

    Returns:
      The same function. Settings and other dataclasses, mappings and sequences are compared by
      their content, functions by their identity.
    """
    found: collections.OrderedDict[Hashable, Result] = collections.OrderedDict()

    @functools.wraps(factory)
    def make(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        key = frozen((arguments, named))
        if key not in found:
            found[key] = factory(*arguments, **named)
            if len(found) > MOST:
                found.popitem(last=False)
        found.move_to_end(key)
        return found[key]

    return make


def frozen(value: Any) -> Hashable:
    """Returns a key that is equal for values of equal content and type.

    Args:
      value: Dataclasses, mappings, sequences and hashable values, one within the other.

    Raises:
      TypeError: for another value that has no hash.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
        return type(value), tuple(map(frozen, fields))
    if isinstance(value, Mapping):
        return "mapping", tuple(sorted((name, frozen(each)) for name, each in value.items()))
    if isinstance(value, tuple | list):
        return type(value), tuple(map(frozen, value))
    hash(value)
    return type(value), value
