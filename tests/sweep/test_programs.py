"""A worker forgets compiled programs before they take all mappings of memory."""

import pathlib

import jax
import pytest

from f3ocus_jax.sweep import programs

needs_linux = pytest.mark.skipif(not programs.MAPPINGS.exists(), reason="Linux alone counts them")


def mappings():
    return len(programs.MAPPINGS.read_bytes().splitlines())


def compile_some(count):
    """Functions that are all compiled and held."""
    functions = [jax.jit(lambda x, i=i: x * i + jax.numpy.sin(x)) for i in range(count)]
    for each in functions:
        each(1.0)
    return functions


@needs_linux
def test_programs_are_forgotten_near_the_limit_and_their_mappings_given_back(monkeypatch, tmp_path):
    jax.clear_caches()
    before = mappings()
    functions = compile_some(40)
    held = mappings() - before
    assert held > 40
    limit = tmp_path / "limit"
    monkeypatch.setattr(programs, "LIMIT", limit)
    limit.write_text(f"{10 * mappings()}\n")
    assert not programs.forget_if_many()
    assert mappings() - before > held / 2
    limit.write_text(f"{2 * mappings() - 2}\n")
    assert programs.forget_if_many()
    assert mappings() - before < held / 2
    assert float(functions[2](1.0)) == pytest.approx(2.8414710)  # compiled again


def test_nothing_is_forgotten_where_mappings_are_not_counted(monkeypatch):
    monkeypatch.setattr(programs, "MAPPINGS", pathlib.Path("/absent/maps"))
    assert not programs.forget_if_many()
