"""Finished runs side by side, in Python and as the command `compare`."""

import subprocess
import sys

import pytest

from f3ocus_jax.errors import ConfigError, DamagedError
from f3ocus_jax.sweep import formats, side_by_side
from tests.helpers.marking import marked
from tests.helpers.paths import REPOSITORY
from tests.helpers.sweep_results import write_run

MISTAKES = [
    ("", "give the folders of two or more finished runs; 0 given"),
    ("nosuch other", "nosuch holds no run"),
    ("--workdir=x a b", "Unknown command line flag 'workdir'"),
    ("gs://bucket/run b", "RUN = 'gs://bucket/run', must be"),
]
"""Arguments, and the message that they end in."""


def make_run(folder, seed=0, rate=0.1, ct=0.5, oct=0.3):
    """Writes a run with two clients."""
    rows = [{"client": "ct", "accuracy_final": ct}, {"client": "oct", "accuracy_final": oct}]
    training = {"learning_rate": rate, "unit": "adapter", "schedule": {}}
    config = {"seed": seed, "training": training, "data": {"data_dir": f"/data/{folder.name}"}}
    return write_run(folder, rows, config=config)


def shown(found, name):
    """Rows of a table as text, without its heading."""
    (table,) = [table for table in found.tables if table.name == name]
    return formats.plain_cells(table)[1:]


@pytest.fixture
def two_by_three(tmp_path):
    """Two settings with three seeds each; the second is better by 8, 10 and 12 points in ct."""
    first = [make_run(tmp_path / f"a{seed}", seed) for seed in range(3)]
    second = [
        make_run(tmp_path / f"b{seed}", seed, rate=0.2, ct=0.58 + 0.02 * seed) for seed in range(3)
    ]
    return [first[0], *second, *first[1:]]


def test_runs_that_differ_in_the_seed_alone_are_one_group(two_by_three):
    found = side_by_side.compare_runs(two_by_three)
    letters = [(row[0].rsplit("/", 1)[1], row[1], row[2]) for row in shown(found, "runs")]
    assert letters == [
        *(("a0", "A", "0"), ("a1", "A", "1"), ("a2", "A", "2")),
        *(("b0", "B", "0"), ("b1", "B", "1"), ("b2", "B", "2")),
    ]
    assert shown(found, "settings") == [["training.learning_rate", "0.1", "0.2"]]


def test_a_run_of_a_tuning_is_refused_with_the_reason(tmp_path):
    tested = make_run(tmp_path / "a")
    config = {"seed": 0, "evaluation": {"test": False}}
    tried = write_run(tmp_path / "b", [{"client": "ct", "accuracy_final": 0.5}], config=config)
    (tried / "table.json").unlink()  # as such a run has none
    with pytest.raises(ConfigError, match=r"b leaves the test splits out \(config.evaluation.test"):
        side_by_side.compare_runs([tested, tried])


def test_clients_have_differences_with_intervals_over_seeds(two_by_three):
    rows = shown(side_by_side.compare_runs(two_by_three), "clients")
    assert rows == [
        ["ct", "50.0 ± 0.0", "60.0 ± 5.0", "10.0 ± 5.0"],  # 4.303 · 2 / √3
        ["oct", "30.0 ± 0.0", "30.0 ± 0.0", "0.0 ± 0.0"],
        ["mean", "40.0 ± 0.0", "45.0 ± 2.5", "5.0 ± 2.5"],
    ]


def test_the_verdict_names_the_difference_and_what_it_rests_on(two_by_three):
    (verdict,) = side_by_side.compare_runs(two_by_three).verdicts
    assert verdict == (
        "B against A: +5.0 ± 2.5 points over 3 seeds, cannot be separated; "
        "answers that only one has right (McNemar, mid-p): seed 0: 0 against 0 of 4; "
        "seed 1: 0 against 0 of 4; seed 2: 0 against 0 of 4"
    )


def test_one_run_against_another_is_an_observation(tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", rate=0.2, ct=0.6)]
    found = side_by_side.compare_runs(runs)
    assert shown(found, "clients")[0] == ["ct", "50.0", "60.0", "10.0"]
    assert "cannot be separated (one seed: an observation)" in found.verdicts[0]


def test_runs_of_equal_settings_and_seed_stand_side_by_side(tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", oct=0.4)]
    found = side_by_side.compare_runs(runs)
    assert [table.name for table in found.tables] == ["runs", "clients"]
    assert shown(found, "clients")[1] == ["oct", "30.0", "40.0", "10.0"]


def test_runs_without_a_common_seed_are_not_paired(tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1, rate=0.2)]
    found = side_by_side.compare_runs(runs)
    assert found.verdicts == ["B against A: no equal seeds, so nothing is paired"]
    assert shown(found, "clients")[0] == ["ct", "50.0", "50.0", "–"]


def test_a_setting_that_one_run_lacks_is_shown(tmp_path):
    old = write_run(tmp_path / "old", config={"seed": 0, "text": ""})
    new = write_run(tmp_path / "new", config={"seed": 0, "text": "x", "more": [1]})
    found = side_by_side.compare_runs([old, new])
    assert shown(found, "settings") == [["text", '""', "x"], ["more", "–", "[1]"]]


def test_what_cannot_be_compared_is_named(tmp_path):
    run, other = (
        make_run(tmp_path / "a"),
        write_run(tmp_path / "b", [{"client": "x", "accuracy_final": 1.0}]),
    )
    with pytest.raises(ConfigError, match="two or more finished runs; 1 given"):
        side_by_side.compare_runs([run])
    with pytest.raises(ConfigError, match="a is given twice"):
        side_by_side.compare_runs([run, tmp_path / "b" / ".." / "a"])
    with pytest.raises(ConfigError, match="no client is in all of these runs"):
        side_by_side.compare_runs([run, other])
    with pytest.raises(FileNotFoundError, match=r"holds no run \(no run\.json\)"):
        side_by_side.compare_runs([run, tmp_path / "nosuch"])
    (other / "run.json").write_text('{"config": {"seed": ')
    with pytest.raises(DamagedError, match=r"run\.json is damaged"):
        side_by_side.compare_runs([run, other])


def test_the_comparison_is_written_with_its_curves(two_by_three, tmp_path):
    written = side_by_side.write(side_by_side.compare_runs(two_by_three), tmp_path / "out")
    names = [path.name for path in written]
    assert names[:4] == ["comparison.md", "runs.md", "runs.tex", "runs.csv"]
    assert names[-2:] == ["curves.png", "curves.svg"]
    assert all(path.stat().st_size for path in written)
    assert "## Settings that differ" in written[0].read_text(encoding="utf-8")


def compare(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "f3ocus_jax.compare", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command_takes_runs_before_and_after_its_option(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", rate=0.2, ct=0.6)
    process = compare(first, "--output", tmp_path / "out", second)
    assert (process.returncode, process.stderr) == (0, "")
    assert "training.learning_rate" in process.stdout
    assert "B against A: +5.0 points over 1 seed" in process.stdout
    assert (tmp_path / "out" / "comparison.md").is_file()


@pytest.mark.parametrize(("arguments", "message"), marked(MISTAKES, extended=MISTAKES[1:]))
def test_a_mistake_is_one_line(arguments, message):
    process = compare(*arguments.split())
    (line,) = process.stderr.splitlines()
    assert process.returncode == 1
    assert line.startswith("error: ")
    assert message in line
