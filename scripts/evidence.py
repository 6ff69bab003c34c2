"""Run the sweeps of docs/evidence.md, keep their results, and write tables and pictures from them.

usage: python scripts/evidence.py run --data FOLDER [--workers N] [--only SWEEP...]
       python scripts/evidence.py collect
       python scripts/evidence.py write [--check] [--page FILE]

`run` makes the start and works on every sweep, or on what is left of them; several machines that
share the folder may run it at once. The sweep "albef" and its start, which takes hours, are made
only if `--only` names it. `collect` copies the results of finished runs to docs/evidence/ with some
pictures of their reports, and `write` makes the tables between the page's markers, the README's
picture and its sentences from those results alone.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f3ocus_jax.sweep.study import Study

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PAGE, KEPT = REPOSITORY / "docs" / "evidence.md", REPOSITORY / "docs" / "evidence"
README, PICTURE = REPOSITORY / "README.md", REPOSITORY / "docs" / "evidence.png"
RUNS = pathlib.Path("runs")

SWEEPS = {
    "methods": "evidence",
    "confirmation": "evidence:confirmation",
    "intervals": "evidence:intervals",
    "ablations": "evidence:ablations",
    "federations": "evidence:federations",
    "other_scores": "evidence:other_scores",
    "searches": "evidence:searches",
    "budgets": "evidence:budgets",
    "adapters": "evidence:adapters",
    "federations_adapters": "evidence:federations_adapters",
    "features": "evidence:features",
    "weak_start": "evidence:weak_start",
    "relative": "evidence:relative",
    "fidelity": "evidence:fidelity",
    "albef": "evidence:albef",
}
"""Name of a sweep's folder to its config."""
ON_REQUEST = ("albef",)
"""Sweeps that run only if they are asked for, each from a start of its own."""

START_OPTIONS = {"": "--width=64", "_albef": "--family=albef"}
"""Ending of the names of a start to an option of `f3ocus initialise`."""

NOT_RUN = "\nNot run yet.\n\n"
"""What stands in place of the results of a sweep without any."""

MARKED = re.compile(r"(<!-- results of (\w+) -->\n).*?(<!-- end of results -->\n)", re.DOTALL)
SAID = re.compile(r"(<!-- sentence of (\w+) -->\n).*?(<!-- end of sentence -->\n)", re.DOTALL)
PICTURED = re.compile(r"(<!-- picture of (\w+) -->\n).*?(<!-- end of picture -->\n)", re.DOTALL)

COLLECTED = {
    "methods": ("losses", "ranks", "histogram", "picks"),
    "features": ("features",),
}
"""Name of a sweep to the figures of its report that the page shows."""

CAPTIONS = {
    "losses": "Training and test loss over rounds, mean over seeds",
    "ranks": "Ranks of the layers for each client, by its own scores and after the server's choice",
    "histogram": "Clients that choose a layer, by their own scores and after the server's choice",
    "picks": "Share of clients and rounds in which each method trains a layer, in percent",
    "searches": "Hypervolume and test accuracy of each search: mean, 95 % t-interval, each seed",
    "features": "Features of test examples by client before and after training, by t-SNE",
}
"""Pictures of the page, in its order, to what they show."""

WITHOUT_TABLES = ("features",)
"""Sweeps of one seed, which are there for their picture."""

LENT = {"searches": "methods"}
"""Sweep to the sweep that ran its reference, F³OCUS with NSGA-II."""

SEARCHES_TITLE = "The server's searches: mean and 95 % t-interval over seeds"

TITLE = "Test accuracy on six hospitals of real images: mean and 95 % t-interval over seeds"


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    usual = [name for name in SWEEPS if name not in ON_REQUEST]
    run = commands.add_parser("run")
    run.add_argument("--data", type=pathlib.Path, required=True, help="folder of docs/data.md")
    run.add_argument("--workers", type=int, default=1)
    run.add_argument("--only", nargs="+", choices=SWEEPS, default=usual)
    commands.add_parser("collect")
    write = commands.add_parser("write")
    write.add_argument("--page", type=pathlib.Path, default=PAGE)
    write.add_argument("--check", action="store_true", help="write nothing; fail if it would")
    given = parser.parse_args()
    if given.command == "run":
        run_sweeps(given.data.resolve(), given.workers, given.only)
    elif given.command == "collect":
        collect()
    else:
        write_page(given.page, given.check)


def run_sweeps(data: pathlib.Path, workers: int, names: list[str]) -> None:
    """Makes the starts and works on the sweeps until nothing is left."""
    if not data.is_dir():
        raise SystemExit(f"error: --data: {data} is no folder")
    for name in names:
        make_start(f"_{name}" if name in ON_REQUEST else "", data)
        folder = f"--workdir={RUNS / 'evidence' / name}"
        source = f"--config.settings.data.manual_dir={data}"
        config = (f"--config=sweeps/{SWEEPS[name]}", source)
        command("sweep", "work", *config, folder, f"--workers={workers}")
        command("sweep", "report", *config, folder)


def make_start(ending: str, data: pathlib.Path) -> None:
    """Makes what is left of the start that a sweep's runs have, a key of `START_OPTIONS`."""
    text, foundation = RUNS / f"text_start{ending}", RUNS / f"foundation_evidence{ending}"
    if not (text / "config.json").is_file():
        command("initialise", START_OPTIONS[ending], f"--workdir={text}")
    if not (foundation / "config.json").is_file():
        config = (f"--config=pretrain:evidence{ending}", f"--config.data.manual_dir={data}")
        command("pretrain", *config, f"--workdir={foundation}")


def command(*words: str) -> None:
    """Runs a command of the package; ends the program as it ends if it fails."""
    module, *options = words
    done = subprocess.run([sys.executable, "-m", f"f3ocus_jax.{module}", *options], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def collect() -> None:
    """Copies the results and some pictures of the sweeps that have a report."""
    from f3ocus_jax.sweep import kept_pictures, result_rows

    for name in SWEEPS:
        report, kept = RUNS / "evidence" / name / "report", KEPT / name
        if not (report / "tables" / result_rows.RUNS_FILE).is_file():
            continue
        kept.mkdir(parents=True, exist_ok=True)
        for table in (result_rows.RUNS_FILE, result_rows.CLIENTS_FILE):
            shutil.copyfile(report / "tables" / table, kept / table)
        for picture in COLLECTED.get(name, ()):
            drawn = report / "figures" / f"{picture}_1.png"
            (kept / f"{picture}.png").unlink(missing_ok=True)
            if drawn.is_file():
                kept_pictures.keep(drawn, kept / f"{picture}.png")


def write_page(page: pathlib.Path, check: bool) -> None:
    """Writes the page's tables, the README's sentences and its picture anew.

    Args:
      page: The page.
      check: True to fail instead if that would change a file.
    """
    draw_pictures(check)
    check_pictures()
    for path, marked, written in (
        (page, MARKED, section),
        (README, SAID, sentence),
        (README, PICTURED, picture),
    ):
        text = path.read_text(encoding="utf-8")
        new = marked.sub(lambda found, made=written: found[1] + made(found[2]) + found[3], text)
        if check and new != text:
            raise SystemExit(f"{path} is not what docs/evidence/ gives: run this without --check")
        path.write_text(new, encoding="utf-8")


def read_study(name: str) -> "Study":
    """Returns the results of a sweep that are kept; none of one that was not run."""
    from f3ocus_jax.sweep import result_rows
    from f3ocus_jax.sweep.arms import REFERENCE, Arm
    from f3ocus_jax.sweep.study import Study

    if not (KEPT / name / result_rows.RUNS_FILE).is_file():
        return Study([])
    found = result_rows.read_csv(KEPT / name)
    if name in LENT:
        others = result_rows.read_csv(KEPT / LENT[name])
        found += [run for run in others if Arm(run.method, run.setting) == Arm(REFERENCE)]
    return Study(found)


def sentence(name: str) -> str:
    """Returns which methods a sweep separates from F³OCUS, as Markdown."""
    from f3ocus_jax.sweep import difference_figure

    study = read_study(name)
    said = [difference_figure.summarise(study, column) for column in study.columns]
    return f"\n{said[0]}\n\n" if any(said) else NOT_RUN


def picture(name: str) -> str:
    """Returns the sentence of a sweep, and its picture, as Markdown."""
    said = sentence(name)
    shown = f"![{TITLE}, differences to F³OCUS](docs/{PICTURE.name})"
    return said if said == NOT_RUN else f"{said}{shown}\n\n"


def draw_pictures(check: bool) -> None:
    """Draws the pictures that need the kept results alone; with `check`, compares their numbers."""
    from f3ocus_jax.report import style
    from f3ocus_jax.sweep import difference_figure, search_figure

    for path, name, drawn, title in (
        (PICTURE, "methods", difference_figure, TITLE),
        (KEPT / "searches" / "searches.png", "searches", search_figure, SEARCHES_TITLE),
    ):
        study = read_study(name)
        numbers = drawn.describe(study, study.columns[0]) if study.columns else ""
        if not numbers:
            continue
        if not check:
            figure = drawn.draw(study, study.columns[0], title)
            style.save(figure, path, numbers)
        elif not path.is_file() or style.description_of(path) != numbers:
            raise SystemExit(f"{path} shows other numbers: run this without --check")


def check_pictures() -> None:
    """Fails for a collected picture of other runs than those whose results are kept."""
    from f3ocus_jax.sweep import kept_pictures

    for name, pictures in COLLECTED.items():
        for path in (KEPT / name / f"{picture}.png" for picture in pictures):
            if path.is_file() and not kept_pictures.is_current(path):
                raise SystemExit(f"{path} is of other runs: collect the results again")


def section(name: str) -> str:
    """Returns the tables of a sweep, as Markdown."""
    from f3ocus_jax.sweep import comparison_table, formats, tables

    study = read_study(name)
    if not study.columns:
        return NOT_RUN
    seeds = formats.span(len(study.runs(c, arm)) for c in study.columns for arm in study.arms_of(c))
    made = [tables.layer_selection(study)]
    for number, column in enumerate(study.columns, start=1):
        makers = (tables.peft, tables.searches, comparison_table.comparisons)
        made += [make(study, column, number) for make in makers]
    shown = [table for table in made if table is not None and name not in WITHOUT_TABLES]
    parts = [f"**{table.title}**\n\n{formats.markdown(table).strip()}\n" for table in shown]
    parts += [
        f"![{caption}](evidence/{name}/{picture}.png)\n\n{caption}.\n"
        for picture, caption in CAPTIONS.items()
        if (KEPT / name / f"{picture}.png").is_file()
    ]
    return f"\nSeeds per method: {seeds}.\n\n" + "\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
