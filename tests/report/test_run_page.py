"""report.html in the folder of a run: what it is made of, and what its script does in a browser."""

import dataclasses
import functools
import html
import json
import logging
import re
import shutil
import subprocess

import pytest

from f3ocus_jax.errors import DamagedError
from f3ocus_jax.federation import environment, run_page
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.report import __main__ as command, record_files

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def workdir(tmp_path, make_records):
    """Folder of an invented run of two clients and three rounds, with one setting changed."""
    folder = tmp_path / "a run"
    folder.mkdir()
    records = make_records(clients=2, rounds=3)
    content = {
        "config": dataclasses.asdict(dataclasses.replace(ExperimentConfig(), seed=7)),
        "clients": [client.client for client in records[-1].clients],
        "answers": ["yes", "no"],
        "findings": [],
        "environment": {"jax": "1.2.3", "commit": ""},
    }
    content["config"]["federated"]["rounds"] = 3
    (folder / "run.json").write_text(json.dumps(content))
    record_files.rewrite_records(folder / "records.jsonl", records)
    (folder / "partition.json").write_text(json.dumps({"partition_hash": "abc123"}))
    return folder


def text_of(page):
    flowing = re.sub(r"</?(b|bdi|code|strong)\b[^>]*>", "", page)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", flowing)))


def test_the_command_writes_the_page_from_the_folder_alone(workdir, capsys):
    command.main([str(workdir)])
    page = (workdir / "report.html").read_text()
    assert capsys.readouterr().out == f"written to {workdir / 'report.html'}\n"
    text = text_of(page)
    assert "2 clients with 330 training examples, 3 of 3 rounds." in text
    assert "a run" in text
    assert "federated.rounds 3 30" in text
    assert "seed 7 0" in text
    assert "jax 1.2.3" in text
    assert "hash of the partition abc123" in text
    assert "Baselines and costs of the clients are known once the run has ended." in text
    assert sorted(path.name for path in workdir.iterdir()) == [
        *("partition.json", "records.jsonl", "report.html", "run.json")
    ]


def test_the_page_takes_baselines_and_costs_from_the_final_table(workdir):
    rows = [
        {"client": name, "majority_answer": 1.0, "megabits_total": 2.0, "gigaflops_total": 8.0}
        for name in ("chest_xray", "oct")
    ]
    (workdir / "table.json").write_text(json.dumps({"rounds": 3, "clients": rows}))
    text = text_of(run_page.write(workdir).read_text())
    assert "2 of 2 below the most common answer: chest_xray, oct" in text
    assert "12 MBit sent and received, all clients, 3 rounds" in text
    assert "48 GFLOP" in text


def test_a_run_of_a_version_before_has_a_page(workdir):
    content = json.loads((workdir / "run.json").read_text())
    del content["environment"], content["config"]["report"]
    (workdir / "run.json").write_text(json.dumps(content))
    lines = [json.loads(line) for line in (workdir / "records.jsonl").read_text().splitlines()]
    for client in (client for line in lines for client in line["clients"]):
        for name in ("ranks", "correct", "validation", "epsilon", "kept_scores", "unconverged"):
            del client[name]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (workdir / "records.jsonl").write_text(text)
    assert "not recorded by the version that made the run" in run_page.write(workdir).read_text()


def test_a_folder_without_a_run_or_a_record_is_refused(workdir, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        run_page.write(tmp_path)
    (workdir / "records.jsonl").write_text("{}\n{}\n")
    with pytest.raises(DamagedError, match="line 1"):
        run_page.write(workdir)
    (workdir / "records.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match="no record"):
        run_page.write(workdir)


def test_a_page_that_fails_is_a_warning_and_leaves_the_page_before(workdir, make_records, caplog):
    run_page.write(workdir)
    before = (workdir / "report.html").read_bytes()
    (workdir / "run.json").write_text("cut")
    with caplog.at_level(logging.WARNING):
        assert run_page.write_or_warn(workdir, make_records()) is None
    (warning,) = caplog.records
    assert "report.html was not written: DamagedError" in warning.getMessage()
    assert (workdir / "report.html").read_bytes() == before


def test_the_commit_is_that_of_a_checkout_and_of_no_other_folder(tmp_path):
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    run = functools.partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True)
    assert environment.commit_of(tmp_path) == ""
    run([git, "init", "-q"])
    (tmp_path / "file").write_text("a")
    run([git, "add", "file"])
    names = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    run([git, *names, "commit", "-q", "-m", "first"])
    head = run([git, "rev-parse", "HEAD"]).stdout.decode().strip()
    assert environment.commit_of(tmp_path) == head
    (tmp_path / "file").write_text("b")
    assert environment.commit_of(tmp_path) == f"{head}-dirty"


@pytest.fixture
def shown(workdir):
    """Opens the page in a browser, with an anchor, and returns its elements as text."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    path = run_page.write(workdir)

    def open_at(anchor):
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += [f"--user-data-dir={workdir / 'browser'}", "--virtual-time-budget=2000"]
        done = subprocess.run(
            [*command, "--enable-logging=stderr", path.as_uri() + anchor],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "CONSOLE" not in done.stderr
        return done.stdout

    return open_at


@pytest.mark.extended
@pytest.mark.parametrize(("anchor", "number"), [("", "3"), ("#round=2", "2"), ("#round=9", "3")])
def test_the_slider_shows_one_round_in_a_browser_without_errors(shown, anchor, number):
    dom = shown(anchor)
    panels = re.findall(r'<div class="round-panel" data-round="(\d+)"( hidden="")?>', dom)
    assert [found for found, hidden in panels if not hidden] == [number]
    assert f'aria-valuetext="round {number}"' in dom
    assert '<div id="round-control">' in dom
