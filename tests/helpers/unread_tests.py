"""Test examples that note whether anything of them but their number is read."""

import dataclasses
from typing import Any

import pytest

from f3ocus_jax.data.examples import Examples
from f3ocus_jax.data.reading import Federation, read_federation
from f3ocus_jax.federation import assembly


class Watched:
    """Test examples of a client, which count the looks at them."""

    def __init__(self, examples: Examples, looks: list[str]) -> None:
        self._examples, self._looks = examples, looks

    def __len__(self) -> int:
        return len(self._examples)

    def __getattr__(self, name: str) -> Any:
        self._looks.append(name)
        return getattr(self._examples, name)


def watch_test_examples(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets all runs from now on note in the returned list what they read of test examples."""
    looks: list[str] = []

    def read(*arguments: Any, **options: Any) -> Federation:
        federation = read_federation(*arguments, **options)
        clients: list[Any] = [
            dataclasses.replace(client, test=Watched(client.test, looks))  # type: ignore[arg-type]
            for client in federation.clients
        ]
        return dataclasses.replace(federation, clients=clients)

    monkeypatch.setattr(assembly, "read_federation", read)
    return looks
