"""Mutation testing: small faults in a copy of the code, one at a time, that the tests must notice.

usage: python -m benchmarks.mutation --sample 100 --seed 0 [--package selection] [--results FILE]

Mutants are drawn at random with the seed, and results are appended to a file of JSON lines: a run
that was interrupted goes on with the mutants that are missing.
"""

import argparse
import ast
import collections
import difflib
import functools
import json
import pathlib
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks import faults
from benchmarks.faults import REPOSITORY

PACKAGES = {
    **{
        name: (f"f3ocus_jax/{name}", f"tests/{name}")
        for name in ("selection", "aggregation", "importance", "federation", "data", "evaluation")
    },
    "medvqa_fl": ("tfds_medvqa/medvqa_fl", "tests/tfds_medvqa"),
}
"""Folder of the code and folder of its tests, for each package that is mutated."""

GLUE = ("tests/federation/test_replay.py", "tests/federation/test_sides.py")
"""Tests that hold how the parts of a round are put together."""

APART = ("tests/parity/", "tests/docs/", "tests/platform/")
"""Folders of tests that need torch, the built pages or several processes."""

LEFT_OUT = ("core/RemoveDecorator", "core/ExceptionReplacer", "core/Variable")
"""Operators whose mutants differ in speed or wording alone, or need arguments."""

WORDS = ("setting", "section", "warn", "warning", "info", "debug", "error", "print")
"""Functions whose arguments are text for people, or declarations that docs/settings.md shows."""


class Mutant(NamedTuple):
    """One fault: an operator of cosmic-ray and its occurrence in a module."""

    package: str
    module: str
    line: int
    operator: str
    occurrence: int


def modules_of(package: str) -> list[str]:
    """Returns the paths of a package's modules, relative to the repository."""
    found = (REPOSITORY / PACKAGES[package][0]).rglob("*.py")
    return sorted(str(path.relative_to(REPOSITORY)) for path in found)


@functools.cache
def imports_of(path: pathlib.Path) -> frozenset[str]:
    """Returns the dotted names that a file imports, of modules and of what is in them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def tests_of(package: str, module: str, *, wide: bool) -> list[str]:
    """Returns the test files that hold a module, in the order in which they run.

    Those of its package that import it or bear its name, then those of the glue of a round. A
    module that no test of its package imports is held by all of them, and by those elsewhere that
    import it; so is every module if `wide`.
    """
    dotted = module.removesuffix(".py").replace("/", ".")
    stem = dotted.rpartition(".")[2]
    every = sorted((REPOSITORY / "tests").rglob("test_*.py"))
    own = [path for path in every if path.parent == REPOSITORY / PACKAGES[package][1]]
    if package == "medvqa_fl":
        own = [path for path in own if "medvqa_fl" in path.stem or "medical_facts" in path.stem]
    direct = [path for path in own if path.stem == f"test_{stem}" or dotted in imports_of(path)]
    elsewhere = [path for path in every if path not in own and dotted in imports_of(path)]
    chosen = [*direct, *elsewhere] if direct and wide else direct or own + elsewhere
    paths = [path.relative_to(REPOSITORY).as_posix() for path in chosen]
    names = [path for path in paths if not path.startswith(APART)]
    return names + [path for path in GLUE if package == "federation" and path not in names]


def irrelevant_lines(source: str) -> set[int]:
    """Returns the lines with annotations, docstrings, messages, log text or `__all__` alone."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        for part in _irrelevant_parts(node):
            lines |= set(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    return lines


def _irrelevant_parts(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Yields the parts of a node that say something to people or to the type checker alone."""
    says = (
        isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.AnnAssign) and node.value is None)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        or (isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in WORDS)
    )
    if says:
        yield node
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        spec = node.args
        named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
        yield from (each.annotation for each in named if each and each.annotation)
        yield from [node.returns] if node.returns else []


def mutants_of(package: str, module: str, generator: random.Random) -> Iterator[Mutant]:
    """Yields one mutant for each place of a module that can be mutated.

    Places at which several operators apply, as each other comparison at a `<`, get one of them
    at random: all would make such places count many times.
    """
    from cosmic_ray import ast as trees, plugins

    source = (REPOSITORY / module).read_text(encoding="utf-8")
    skipped = irrelevant_lines(source)
    nodes = list(trees.ast_nodes(trees.get_ast(source)))
    places = collections.defaultdict(list)
    for name in sorted(plugins.operator_names()):
        if name.startswith(LEFT_OUT):
            continue
        operator = plugins.get_operator(name)()
        positions = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(positions):
            if start[0] not in skipped:
                places[start].append(Mutant(package, module, start[0], name, occurrence))
    yield from (generator.choice(places[start]) for start in sorted(places))


def mutated(mutant: Mutant, source: str) -> str:
    """Returns the source of a mutant's module with its fault."""
    from cosmic_ray import mutating, plugins

    return mutating.mutate_code(source, plugins.get_operator(mutant.operator)(), mutant.occurrence)


def tried(mutant: Mutant, copy: pathlib.Path, tests: Sequence[str], seconds: int) -> dict:
    """Returns a mutant's record: what it is, whether it survived, and its difference."""
    before = (copy / mutant.module).read_text(encoding="utf-8")
    after = mutated(mutant, before)
    (copy / mutant.module).write_text(after, encoding="utf-8")
    try:
        result, failed = faults.outcome(copy, tests, seconds)
    finally:
        (copy / mutant.module).write_text(before, encoding="utf-8")
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return mutant._asdict() | {"outcome": result, "failed": failed, "diff": list(lines)[2:]}


def report(records: Sequence[dict]) -> str:
    """Returns the share of killed mutants of each package, and the survivors."""
    lines = []
    for package in sorted({record["package"] for record in records}):
        found = [record["outcome"] for record in records if record["package"] == package]
        killed = sum(result in ("killed", "timeout") for result in found)
        lines.append(
            f"{package:12} {killed:4} of {len(found):4} killed ({killed / len(found):.0%})"
        )
    for record in records:
        if record["outcome"] in ("survived", "broken"):
            lines.append(f"{record['outcome']}: {record['module']}:{record['line']}")
            lines += [f"    {line}" for line in record["diff"]]
    return "\n".join(lines)


def main() -> None:
    """Draws mutants, tries those that the file of results lacks, and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--package", choices=[*PACKAGES, ""], default="", help="one package; all if left out"
    )
    parser.add_argument("--seconds", type=int, default=300, help="CPU seconds for each mutant")
    parser.add_argument("--results", type=pathlib.Path, default="runs/mutation.jsonl")
    parser.add_argument("--again", action="store_true", help="try survivors on more tests")
    given = parser.parse_args()
    generator = random.Random(given.seed)
    packages = [given.package] if given.package else list(PACKAGES)
    named = [(package, module) for package in packages for module in modules_of(package)]
    mutants = [each for names in named for each in mutants_of(*names, generator)]
    sample = generator.sample(mutants, min(given.sample, len(mutants)))
    given.results.parent.mkdir(parents=True, exist_ok=True)
    given.results.touch()
    lines = map(json.loads, given.results.read_text(encoding="utf-8").splitlines())
    done = {tuple(record[field] for field in Mutant._fields): record for record in lines}
    passed = ("survived", "broken") if given.again else ()
    missing = [each for each in sample if each not in done or done[each]["outcome"] in passed]
    with (
        tempfile.TemporaryDirectory() as folder,
        given.results.open("a", encoding="utf-8") as results,
    ):
        copy = faults.copied(pathlib.Path(folder) / "copy")
        faults.preload(given.results.parent / "compiled")
        of_mutant = {
            mutant: tests_of(mutant.package, mutant.module, wide=given.again) for mutant in missing
        }
        tests = sorted({path for paths in of_mutant.values() for path in paths})
        if tests and (result := faults.outcome(copy, tests, seconds=3600))[0] != "survived":
            sys.exit(f"error: without any fault the tests end as {result}: run `make test`")
        for mutant, paths in of_mutant.items():
            done[mutant] = tried(mutant, copy, paths, given.seconds)
            results.write(json.dumps(done[mutant]) + "\n")
            results.flush()
    print(f"{len(sample)} of {len(mutants)} mutants, seed {given.seed}")
    print(report([done[mutant] for mutant in sample]))


if __name__ == "__main__":
    main()
