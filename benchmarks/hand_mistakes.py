"""Mistakes made by hand in the glue of a run, one at a time or together, that tests must notice.

usage: python -m benchmarks.hand_mistakes [--together 16 --seed 0] [--only WORDS] [--results FILE]

Each mistake of `benchmarks.mistakes` is put into a copy of the checkout, whose tests run until one
fails. Results are appended to a file of JSON lines; a mistake that it has as noticed is not tried
again. With --together, that many mistakes of different places are drawn and put in at once.
"""

import argparse
import ast
import json
import pathlib
import random
import sys
import tempfile
from collections.abc import Sequence

from benchmarks import faults
from benchmarks.mistakes import MISTAKES, Mistake


def with_mistake(source: str, mistake: Mistake) -> str:
    """Returns a module's source with a mistake.

    Raises:
      ValueError: If the text to replace is absent or occurs several times.
    """
    if (count := source.count(mistake.old)) != 1:
        raise ValueError(f"{mistake.file} has {mistake.old!r} {count} times, must be once")
    changed = source.replace(mistake.old, mistake.new)
    ast.parse(changed)
    return changed


def tried(mistakes: Sequence[Mistake], copy: pathlib.Path, seconds: int) -> tuple[str, str]:
    """Puts mistakes into the copy, runs their tests, and takes the mistakes out again."""
    originals = {
        mistake.file: (copy / mistake.file).read_text(encoding="utf-8") for mistake in mistakes
    }
    changed = dict(originals)
    for mistake in mistakes:
        changed[mistake.file] = with_mistake(changed[mistake.file], mistake)
    tests = list(dict.fromkeys(path for mistake in mistakes for path in mistake.tests))
    try:
        for file, text in changed.items():
            (copy / file).write_text(text, encoding="utf-8")
        return faults.outcome(copy, tests, seconds)
    finally:
        for file, text in originals.items():
            (copy / file).write_text(text, encoding="utf-8")


def draw_together(count: int, seed: int) -> list[Mistake]:
    """Draws mistakes, at most one of a file, so that none hides another one's text."""
    drawn: dict[str, Mistake] = {}
    for mistake in random.Random(seed).sample(MISTAKES, len(MISTAKES)):
        drawn.setdefault(mistake.file, mistake)
    return list(drawn.values())[:count]


def table(records: Sequence[dict]) -> str:
    """Returns a row of Markdown for each mistake: place, meaning, the test that notices it."""
    rows = ["| File | Mistake | Noticed by |", "| --- | --- | --- |"]
    for record in records:
        test = record["failed"].partition(" - ")[0].split("::")[-1].removeprefix("FAILED ")
        by = f"`{test}`" if record["outcome"] == "killed" else f"**{record['outcome']}**"
        rows.append(
            f"| `{record['file'].removeprefix('f3ocus_jax/')}` | {record['meaning']} | {by} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Tries the mistakes that the file of results lacks, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mistakes with these words in file or meaning")
    parser.add_argument("--together", type=int, default=0, help="mistakes to put in at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=600, help="CPU seconds for each mistake")
    parser.add_argument("--results", type=pathlib.Path, default="runs/hand_mistakes.jsonl")
    given = parser.parse_args()
    chosen = [each for each in MISTAKES if given.only in f"{each.file} {each.meaning}"]
    given.results.parent.mkdir(parents=True, exist_ok=True)
    given.results.touch()
    lines = map(json.loads, given.results.read_text(encoding="utf-8").splitlines())
    done = {(record["file"], record["meaning"]): record for record in lines}
    with tempfile.TemporaryDirectory() as folder, given.results.open("a", encoding="utf-8") as out:
        copy = faults.copied(pathlib.Path(folder) / "copy")
        for mistake in chosen:
            with_mistake((copy / mistake.file).read_text(encoding="utf-8"), mistake)
        faults.preload(given.results.parent / "compiled")
        if given.together:
            together = draw_together(given.together, given.seed)
            print(*(f"{each.file}: {each.meaning}" for each in together), sep="\n")
            sys.exit(f"together: {tried(together, copy, given.seconds)}")
        for mistake in chosen:
            place = mistake.file, mistake.meaning
            if place in done and done[place]["outcome"] in ("killed", "timeout"):
                continue
            result, failed = tried([mistake], copy, given.seconds)
            done[place] = {**mistake._asdict(), "outcome": result, "failed": failed}
            out.write(json.dumps(done[place]) + "\n")
            out.flush()
    print(table([done[each.file, each.meaning] for each in chosen]))


if __name__ == "__main__":
    main()
