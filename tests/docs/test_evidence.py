"""The tables and pictures of docs/evidence.md and of the README are those that its results give."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from f3ocus_jax.report import style
from f3ocus_jax.sweep import report, result_rows
from tests.helpers.paths import REPOSITORY
from tests.helpers.sweep_results import make_results, with_setting

SCRIPT = "scripts/evidence.py"


def run(root, *words):
    command = [sys.executable, str(root / SCRIPT), *map(str, words)]
    where = {"env": {**os.environ, "PYTHONPATH": str(REPOSITORY)}, "cwd": root}
    return subprocess.run(command, capture_output=True, text=True, check=False, **where)


def write(root, *options):
    return run(root, "write", *options)


@pytest.fixture
def copy(tmp_path):
    """Copy of what the command reads and writes."""
    root = tmp_path / "checkout"
    for name in (SCRIPT, "README.md", "docs/evidence.md", "docs/evidence.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, root / name)
    shutil.copytree(REPOSITORY / "docs" / "evidence", root / "docs" / "evidence")
    return root


def test_every_number_of_the_pages_follows_from_their_results():
    done = write(REPOSITORY, "--check")
    assert done.returncode == 0, done.stderr


def numbers_of(text):
    """Numbers with a decimal point, without their sign, with the half width of their interval."""
    return re.findall(r"(?<![\d.])\d+\.\d+(?: ± \d+\.\d+)?", text)


def test_every_number_of_the_answers_stands_in_a_table():
    page = (REPOSITORY / "docs" / "evidence.md").read_text(encoding="utf-8")
    answers, results = page.split("## What can be said")[1].split("## Results")
    tables = re.findall(r"<!-- results of \w+ -->(.*?)<!-- end of results -->", results, re.DOTALL)
    known = {number for table in tables for number in numbers_of(table)}
    known |= {number.split(" ± ")[0] for number in known}
    said = numbers_of(answers)
    assert said
    assert [number for number in said if number not in known] == []


def spoil(page, mark):
    """Adds a number before the first mark; returns the text as it was."""
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace(mark, f"| 99.9 |\n{mark}", 1), encoding="utf-8")
    return text


def test_numbers_that_were_changed_by_hand_are_noticed_and_written_anew(copy):
    pages = [copy / "docs/evidence.md", copy / "README.md"]
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    for page, kind in zip((*pages, pages[1]), ("results", "picture", "sentence"), strict=True):
        spoil(page, f"<!-- end of {kind}")
    done = write(copy, "--check")
    assert done.returncode == 1
    assert f"{copy / 'docs/evidence.md'} is not what docs/evidence/ gives" in done.stderr
    shutil.copyfile(REPOSITORY / "docs" / "demo.png", copy / "docs" / "evidence.png")
    assert write(copy).returncode == 0
    assert {page: page.read_text(encoding="utf-8") for page in texts} == texts
    pictures = [root / "docs" / "evidence.png" for root in (copy, REPOSITORY)]
    assert len({style.description_of(path) for path in pictures}) == 1


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["sentence", "picture"])
def test_a_sentence_or_a_picture_of_other_results_is_noticed(copy, kind):
    text = spoil(copy / "README.md", f"<!-- end of {kind}")
    assert "README.md is not what docs/evidence/ gives" in write(copy, "--check").stderr
    (copy / "README.md").write_text(text, encoding="utf-8")
    picture = copy / "docs" / "evidence.png"
    shutil.copyfile(REPOSITORY / "docs" / "demo.png", picture)
    done = write(copy, "--check")
    assert done.returncode == 1
    assert f"{picture} shows other numbers" in done.stderr


@pytest.mark.extended
def test_searches_are_drawn_with_the_reference_of_the_sweep_that_ran_it(copy):
    page, picture = copy / "docs/evidence.md", copy / "docs/evidence/searches/searches.png"
    shutil.rmtree(picture.parent, ignore_errors=True)
    assert write(copy).returncode == 0
    assert "](evidence/searches/searches.png)" not in page.read_text(encoding="utf-8")
    changes = {"base": "evidence", "family": "", "algorithm": "abc"}
    runs = [
        with_setting(each, "selection.algorithm=abc", **changes)
        for each in make_results({"f3ocus": 0.1})
    ]
    result_rows.write_csv(runs, picture.parent)
    assert write(copy).returncode == 0
    described = style.description_of(picture).splitlines()
    assert [line.split(":")[0] for line in described] == ["NSGA-II", "ABC"]
    assert "](evidence/searches/searches.png)" in page.read_text(encoding="utf-8")
    assert write(copy, "--check").returncode == 0
    picture.unlink()
    assert f"{picture} shows other numbers" in write(copy, "--check").stderr


@pytest.mark.extended
def test_results_and_small_pictures_of_finished_reports_are_collected(copy):
    report.write_report(make_results(), copy / "runs/evidence/methods/report")
    assert run(copy, "collect").returncode == 0
    assert len(result_rows.read_csv(copy / "docs/evidence/methods")) == len(make_results())
    kept = copy / "docs/evidence/methods/picks.png"
    drawn = copy / "runs/evidence/methods/report/figures/picks_1.png"
    assert kept.stat().st_size < drawn.stat().st_size
    with Image.open(kept) as small, Image.open(drawn) as large:
        assert small.size == large.size
    assert write(copy).returncode == 0
    page = (copy / "docs/evidence.md").read_text(encoding="utf-8")
    assert page.count("](evidence/methods/picks.png)") == 1
    result_rows.write_csv(make_results({"f3ocus": 0.1}), kept.parent)
    assert f"{kept} is of other runs" in write(copy).stderr


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Maps options of `run` to the commands that it would run, in an empty folder."""
    spec = importlib.util.spec_from_file_location("evidence_script", REPOSITORY / SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    commands = []
    monkeypatch.setattr(script, "command", lambda *words: commands.append(words))
    monkeypatch.chdir(tmp_path)

    def commands_of(*options):
        monkeypatch.setattr(sys, "argv", ["evidence", "run", f"--data={tmp_path}", *options])
        script.main()
        return commands

    return commands_of


def worked_on(commands):
    """Names of the sweeps that are worked on, and configs of the trainings of a start."""
    works = [words[2] for words in commands if words[:2] == ("sweep", "work")]
    return (
        [config.removeprefix("--config=sweeps/evidence") for config in works],
        {words[1] for words in commands if words[0] == "pretrain"},
    )


def test_the_sweep_of_albef_and_its_start_are_left_out_unless_they_are_asked_for(asked):
    sweeps, starts = worked_on(asked())
    assert "" in sweeps
    assert ":albef" not in sweeps
    assert starts == {"--config=pretrain:evidence"}


def test_the_sweep_of_albef_makes_no_start_but_its_own(asked):
    commands = asked("--only", "albef")
    sweeps, starts = worked_on(commands)
    assert sweeps == [":albef"]
    assert starts == {"--config=pretrain:evidence_albef"}
    start = f"--workdir={os.path.join('runs', 'text_start_albef')}"
    assert ("initialise", "--family=albef", start) in commands
