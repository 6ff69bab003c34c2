"""What a run's files and its output hold of the clients' data: as docs/security.md lists it."""

import dataclasses
import json
import re
import shutil

import pytest

from f3ocus_jax.data import html_page, reading
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.errors import RoundError
from f3ocus_jax.federation import runs
from tests.helpers.configs import read_config
from tests.helpers.paths import REPOSITORY
from tests.tfds_medvqa.dummy_builds import dummy_folder
from tfds_medvqa.build import BuildError, build

MARKERS = {
    "questions": "zzquestion",
    "training answers": "zztrainanswer",
    "test answers": "zztestanswer",
    "names of images": "zzimage",
}
"""Kind of data to a text that only this kind contains."""

PAGE = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")


def listed():
    """File, or folder with a slash at its end, to the kinds of data that the page lists."""
    section = PAGE.partition("## What stands in which file")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `?([\w./ ]+?)`?(?: of .*)? \| (.*) \|$", section, re.MULTILINE)
    return {file: {kind for kind in MARKERS if kind in content} for file, content in rows[1:]}


def kinds_in(content):
    return {kind for kind, marker in MARKERS.items() if marker in content.lower()}


def entry(number):
    split = "test" if number % 3 == 0 else "train"
    return {
        "qid": number,
        "phrase_type": "test_freeform" if split == "test" else "freeform",
        "image_name": f"zzimage{number % 4}.jpg",
        "image_organ": "HEAD",
        "question_type": "PRES",
        "question": f"is zzquestion{number} there?",
        "answer": f"zz{split}answer{number}",
        "answer_type": "OPEN",
    }


def write_source(folder, **changed):
    """Files of VQA-RAD whose texts are markers; `changed` replaces fields of the last row."""
    images = folder / "VQA_RAD Image Folder"
    images.mkdir(parents=True)
    pictures = sorted((dummy_folder("vqa_rad") / images.name).glob("*.jpg"))
    for number, picture in enumerate(pictures):
        shutil.copy(picture, images / f"zzimage{number}.jpg")
    rows = [entry(number) for number in range(12)]
    rows[0]["answer"] = rows[1]["answer"]  # one test answer that the model can give
    rows[-1] |= changed
    (folder / "VQA_RAD Dataset Public.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marked")
    settings = {
        "data__datasets": ("vqa_rad/released",),
        "data__manual_dir": str(write_source(folder / "source")),
        "federated__rounds": 1,
        "federated__budgets": (2,),
        "evaluation__features": 2,
    }
    return read_config("tiny_last_k", folder / "data", **settings)


def test_the_files_of_a_run_hold_what_the_page_lists_and_nothing_else(config, tmp_path, capfd):
    runs.run(config, tmp_path)
    runs.load(tmp_path).evaluate()
    said = capfd.readouterr()
    found = {
        path.relative_to(tmp_path).as_posix(): kinds_in(path.read_bytes().decode("latin1"))
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    kept = {"records.jsonl", "table.md", "model/config.json", "features.npz"}
    assert kept <= found.keys()
    assert any(name.startswith("tensorboard/") for name in found)
    found["standard output"] = kinds_in(said.out)
    of_others = ("data.html", "agreement.json")  # of another command, and of a deployment
    expected = {file: kinds for file, kinds in listed().items() if file not in of_others and kinds}
    assert {file: kinds for file, kinds in found.items() if kinds} == expected
    assert kinds_in(said.err) == set()
    assert not any(kinds_in(name) for name in found)


def test_a_federation_whose_test_answers_are_all_unknown_is_refused_in_one_line(tmp_path, config):
    source = write_source(tmp_path / "source")
    rows = [entry(number) for number in range(12)]
    (source / "VQA_RAD Dataset Public.json").write_text(json.dumps(rows), encoding="utf-8")
    folders = {"data_dir": str(tmp_path / "data"), "manual_dir": str(source)}
    unknown = dataclasses.replace(config, data=dataclasses.replace(config.data, **folders))
    with pytest.raises(RoundError, match="no client has a test answer that is among") as caught:
        runs.run(unknown, tmp_path / "run")
    assert kinds_in(str(caught.value)) == set()


def test_the_page_of_the_data_holds_what_the_page_lists(config):
    clients, summary = reading.read_tables(config.data, Canvas(32))
    assert kinds_in(html_page.make_page("Data", clients, summary)) == listed()["data.html"]


@pytest.mark.parametrize(
    ("changed", "quoted"),
    [
        ({"question": ""}, set()),
        ({"answer": "  "}, set()),
        ({"question": 3}, set()),
        ({"image_organ": "zzquestion"}, {"questions"}),  # the value that is wrong itself
        ({"image_name": "zzimage9.jpg"}, {"names of images"}),
        ({"qid": 0}, set()),
    ],
    ids=["no question", "no answer", "a number", "unknown organ", "absent image", "repeated id"],
)
def test_a_message_quotes_the_wrong_value_alone(changed, quoted, tmp_path):
    source = write_source(tmp_path / "source", **changed)
    with pytest.raises(BuildError) as caught:
        build("vqa_rad/released", tmp_path / "data", source)
    assert kinds_in(str(caught.value)) == quoted
