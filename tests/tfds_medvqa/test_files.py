"""A user's own folder as a dataset: tables, layouts, answers, splits, and what is noticed."""

import collections
import gzip
import json
import os
import shutil

import pyarrow
import pytest
from pyarrow import parquet

from tests.helpers import own_files
from tests.helpers.marking import marked
from tests.helpers.own_files import COLUMNS, make_rows, write_csv, write_folder, write_pictures
from tfds_medvqa.build import BuildError, build
from tfds_medvqa.common import sealed_build
from tfds_medvqa.common.findings import NONE
from tfds_medvqa.common.rows import ReadOptions
from tfds_medvqa.common.table_options import TableOptions


def read(folder, data_dir, *, invalid_rows="error", **options):
    """Split to examples as plain texts, without images."""
    tables = TableOptions(**options)
    builder = build(f"files:{folder}", data_dir, None, ReadOptions(invalid_rows, tables=tables))
    return {
        split: [
            {
                name: value.decode() if isinstance(value, bytes) else value
                for name, value in example.items()
                if name != "image"
            }
            for example in builder.as_data_source(split)
        ]
        for split in builder.info.splits
    }


def facts(splits):
    """What examples say, whatever their split and their order."""
    return collections.Counter(
        (each["image_id"], each["question"], each["answer"], each["client"])
        for examples in splits.values()
        for each in examples
    )


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "own")


@pytest.fixture
def expected():
    keys = ("image", "question", "answer", "hospital")
    return collections.Counter(tuple(row[key] for key in keys) for row in make_rows())


def as_csv(path, rows, **options):
    write_csv(path.with_suffix(".csv"), rows, **options)


def as_tsv(path, rows):
    write_csv(path.with_suffix(".tsv"), rows, delimiter="\t")


def as_lines(path, rows):
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.with_suffix(".jsonl").write_text("\n".join(lines), encoding="utf-8")


def as_list(path, rows):
    path.with_suffix(".json").write_text(json.dumps(rows), encoding="utf-8")


def as_parquet(path, rows):
    parquet.write_table(pyarrow.Table.from_pylist(rows), path.with_suffix(".parquet"))


def as_gzip(path, rows):
    write_csv(path.with_suffix(".csv"), rows)
    content = path.with_suffix(".csv").read_bytes()
    path.with_suffix(".csv").unlink()
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(content))


FORMATS = {
    "csv": as_csv,
    "csv of semicolons": lambda path, rows: as_csv(path, rows, delimiter=";"),
    "csv with a byte order mark": lambda path, rows: as_csv(path, rows, encoding="utf-8-sig"),
    "tsv": as_tsv,
    "lines of json": as_lines,
    "json": as_list,
    "parquet": as_parquet,
    "gzip": as_gzip,
}


@pytest.mark.parametrize(
    "name",
    marked(FORMATS, extended=("csv of semicolons", "csv with a byte order mark", "tsv", "json")),
)
def test_every_format_gives_the_same_examples(name, folder, tmp_path, expected):
    (folder / "questions.csv").unlink()
    FORMATS[name](folder / "questions", make_rows())
    assert facts(read(folder, tmp_path / "data")) == expected


def test_columns_are_found_by_other_names_and_by_what_the_user_says(folder, tmp_path, expected):
    rows = [
        {
            "FILE_NAME": r["image"],
            "Frage": r["question"],
            "label": r["answer"],
            "site": r["hospital"],
        }
        for r in make_rows()
    ]
    write_csv(folder / "questions.csv", rows, list(rows[0]))
    assert facts(read(folder, tmp_path / "data", columns={"question": "Frage"})) == expected
    with pytest.raises(BuildError, match=r"column 'Fragen', .* is absent; it has FILE_NAME, Frage"):
        read(folder, tmp_path / "data", columns={"question": "Fragen"})


def per_hospital(folder):
    for hospital in own_files.HOSPITALS:
        rows = [row for row in make_rows() if row["hospital"] == hospital]
        write_csv(folder / hospital / "questions.csv", rows, COLUMNS[:3])
        shutil.copytree(folder / "images", folder / hospital / "images")
    shutil.rmtree(folder / "images")


def per_split(folder):
    rows = make_rows()
    write_csv(folder / "train.csv", rows[4:], COLUMNS[:4])
    write_csv(folder / "test.csv", rows[:4], COLUMNS[:4])


def hugging_face(folder):
    for split, rows in (("train", make_rows()[4:]), ("test", make_rows()[:4])):
        named = [{**row, "file_name": row["image"]} for row in rows]
        write_csv(folder / split / "metadata.csv", named, ("file_name", *COLUMNS[1:4]))
        shutil.copytree(folder / "images", folder / split / "images")
    shutil.rmtree(folder / "images")


LAYOUTS = {"hospitals": per_hospital, "splits": per_split, "folders of splits": hugging_face}


@pytest.mark.parametrize("name", LAYOUTS)
def test_places_of_tables_tell_hospitals_and_splits(name, folder, tmp_path, expected):
    (folder / "questions.csv").unlink()
    LAYOUTS[name](folder)
    splits = read(folder, tmp_path / "data")
    found = collections.Counter()
    for (image, *rest), count in facts(splits).items():
        found[("images/" + image.rsplit("/", 1)[-1], *rest)] += count
    assert found == expected
    if name != "hospitals":
        assert len(splits["test"]) == 4


def test_tables_whose_names_say_nothing_are_refused(folder, tmp_path):
    shutil.copy(folder / "questions.csv", folder / "more.csv")
    with pytest.raises(BuildError, match=r"several tables \(more.csv, questions.csv\); name one"):
        read(folder, tmp_path / "data")
    assert facts(read(folder / "more.csv", tmp_path / "data")).total() == 40
    (folder / "more.csv").unlink()
    (folder / "questions.csv").unlink()
    with pytest.raises(BuildError, match=r"own holds no table \(.csv"):
        read(folder, tmp_path / "data")
    with pytest.raises(BuildError, match="is neither a folder nor a table"):
        read(tmp_path / "absent", tmp_path / "data")


def test_patients_are_split_by_hospital_whatever_the_order_of_the_rows(folder, tmp_path):
    first = read(folder, tmp_path / "data")
    write_csv(folder / "questions.csv", make_rows()[::-1])
    again = read(folder, tmp_path / "other")
    assert [facts({"": first[split]}) == facts({"": again[split]}) for split in first] == [True] * 2
    patients = {
        split: {(each["client"], int(each["image_id"][12:-4]) // 2) for each in examples}
        for split, examples in first.items()
    }
    assert not patients["train"] & patients["test"]
    assert collections.Counter(client for client, _ in patients["test"]) == {"Oslo": 1, "Bern": 1}
    other = read(folder, tmp_path / "data", split_seed=1)
    assert facts({"": other["test"]}) != facts({"": first["test"]})
    half = read(folder, tmp_path / "data", test_share=0.5)
    assert len({each["image_id"] for each in half["test"]}) == 12  # 3 of 5 patients, rounded up


def test_a_split_is_stratified_by_answer(tmp_path):
    rows = [
        {"image": f"{n}.png", "question": "is it?", "answer": "yes" if n % 4 else "no"}
        for n in range(80)
    ]
    folder = tmp_path / "own"
    write_pictures(folder, rows)
    write_csv(folder / "questions.csv", rows, COLUMNS[:3])
    splits = read(folder, tmp_path / "data", test_share=0.25)
    found = collections.Counter(each["answer"] for each in splits["test"])
    assert found == {"yes": 15, "no": 5}


def test_a_hospital_with_one_patient_cannot_be_split_and_is_named(folder, tmp_path):
    rows = [row for row in make_rows() if row["hospital"] == "Oslo" or row["patient"] == "p0"]
    write_csv(folder / "questions.csv", rows)
    with pytest.raises(BuildError, match=r"hospital 'Bern' has 1 patients .* too few for 2 splits"):
        read(folder, tmp_path / "data")


def test_named_splits_are_kept_and_must_be_named_for_all(folder, tmp_path):
    rows = [
        {**row, "split": "Val" if n < 4 else "TEST" if n < 8 else "train"}
        for n, row in enumerate(make_rows())
    ]
    write_csv(folder / "questions.csv", rows, (*COLUMNS, "split"))
    splits = read(folder, tmp_path / "data")
    assert {split: len(examples) for split, examples in splits.items()} == {
        "train": 32,
        "test": 4,
        "validation": 4,
    }
    rows[5]["split"] = "holdout"
    write_csv(folder / "questions.csv", rows, (*COLUMNS, "split"))
    with pytest.raises(BuildError, match=r"questions.csv, line 7 has split 'holdout', expected"):
        read(folder, tmp_path / "data")


def test_several_answers_are_trained_on_and_the_first_is_the_reference(folder, tmp_path):
    rows = [{**row, "answer": "left| Left |both sides"} for row in make_rows()]
    write_csv(folder / "questions.csv", rows)
    splits = read(folder, tmp_path / "data", answer_separator="|")
    assert {each["answer"] for each in splits["test"]} == {"left"}
    count = collections.Counter(each["answer"] for each in splits["train"])
    assert count["left"] == count["both sides"] == len(splits["train"]) / 2
    assert len({each["example_id"] for each in splits["train"]}) == len(splits["train"])


def test_classes_get_a_question(folder, tmp_path):
    rows = [{"image": row["image"], "class": "Nodule"} for row in make_rows()[::2]]
    write_csv(folder / "questions.csv", rows, ("image", "class"))
    splits = read(folder, tmp_path / "data", question="what is it?")
    every = [each for examples in splits.values() for each in examples]
    assert {(each["question"], each["answer"], each["client"]) for each in every} == {
        ("what is it?", "nodule", "own")
    }


def test_findings_become_label_vectors(folder, tmp_path):
    names = ["Edema", "", "edema|mass"]
    rows = [
        {"image": row["image"], "findings": names[n % 3], "hospital": row["hospital"]}
        for n, row in enumerate(make_rows()[::2])
    ]
    write_csv(folder / "questions.csv", rows, ("image", "findings", "hospital"))
    splits = read(folder, tmp_path / "data", answer_separator="|")
    assert splits.keys() == {"train", "validation", "test"}
    answers = {"edema": [1, 0], NONE: [0, 0], "edema, mass": [1, 1]}
    for examples in splits.values():
        assert len({each["client"] for each in examples}) == 2
        for each in examples:
            assert list(each["label"]) == answers[each["answer"]]
    write_csv(folder / "questions.csv", [{**rows[0], "findings": "a, b"}], list(rows[0]))
    with pytest.raises(BuildError, match=r"line 2 has the finding 'a, b'.* answer_separator says"):
        read(folder, tmp_path / "data")


def test_parquet_may_hold_the_images(folder, tmp_path):
    rows = [
        {**row, "image": {"bytes": (folder / row["image"]).read_bytes(), "path": "x.png"}}
        for row in make_rows()
    ]
    os.remove(folder / "questions.csv")
    as_parquet(folder / "questions", rows)
    shutil.rmtree(folder / "images")
    splits = read(folder, tmp_path / "data")
    assert len({each["image_id"] for examples in splits.values() for each in examples}) == 20


ENCODINGS = {
    "utf-16": r'is text in utf-16; say encoding = "utf-16"',
    "cp1252": r'no text in utf-8; if it is of Windows, say encoding = "cp1252"',
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_another_encoding_is_told_and_can_be_named(encoding, folder, tmp_path):
    rows = [{**row, "answer": "ödem"} for row in make_rows()]
    write_csv(folder / "questions.csv", rows, encoding=encoding)
    with pytest.raises(BuildError, match=ENCODINGS[encoding]):
        read(folder, tmp_path / "data")
    splits = read(folder, tmp_path / "data", encoding=encoding)
    assert {each["answer"] for each in splits["train"]} == {"ödem"}


BROKEN = {
    "no answer": ({"answer": ""}, r"questions.csv, line 4 has 'answer' '', expected an answer"),
    "nan": ({"answer": "NaN"}, r"line 4 has 'answer' 'NaN', expected an answer"),
    "no question": ({"question": " "}, r"line 4 has an empty 'question'"),
    "no hospital": ({"hospital": ""}, r"line 4 has an empty 'hospital'"),
    "absent image": ({"image": "images/none.png"}, r"images/none.png is not there .*line 4"),
    "outside": ({"image": "../own/images/Oslo_1.png"}, r"line 4 names .* which is outside of"),
    "no image": ({"image": "questions.csv"}, r"line 4 names .*questions.csv: .*"),
}


@pytest.mark.parametrize("name", marked(BROKEN, extended=list(BROKEN)[1:-2]))
def test_a_row_that_cannot_be_used_is_named_or_left_out(name, folder, tmp_path, capsys):
    change, message = BROKEN[name]
    rows = make_rows()
    rows[2] |= change
    write_csv(folder / "questions.csv", rows)
    with pytest.raises(BuildError, match=message):
        read(folder, tmp_path / "data")
    assert not list(tmp_path.glob("data/files/*/1.1.0"))
    capsys.readouterr()
    assert facts(read(folder, tmp_path / "data", invalid_rows="skip")).total() == 39
    assert "1 invalid rows left out" in capsys.readouterr().out


def test_other_files_are_built_again_and_said_and_absent_ones_are_not_needed(
    folder, tmp_path, capsys
):
    before = read(folder, tmp_path / "data")
    capsys.readouterr()
    assert read(folder, tmp_path / "data") == before
    assert capsys.readouterr().out == ""
    write_csv(folder / "questions.csv", [{**row, "answer": "maybe"} for row in make_rows()])
    changed = read(folder, tmp_path / "data")
    assert "questions.csv has changed since" in capsys.readouterr().out
    assert {each["answer"] for each in changed["train"]} == {"maybe"}
    own_files.write_picture(folder / "images" / "Oslo_3.png", 99)
    read(folder, tmp_path / "data")
    assert "Oslo_3.png has changed since" in capsys.readouterr().out
    folder.rename(tmp_path / "moved")
    assert facts(read(folder, tmp_path / "data")) == facts(changed)


def test_a_builder_of_one_s_own_is_imported_by_its_path(tmp_path, monkeypatch):
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "my_builder.py").write_text(
        "import tensorflow_datasets as tfds\n"
        "from tfds_medvqa.slake.slake_dataset_builder import Builder as Slake\n"
        "class Builder(Slake):\n"
        "    name = 'my_own'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BuildError, match="no config 'none'; choose one of"):
        build("my_package.my_builder/none", tmp_path / "data")
    with pytest.raises(BuildError, match="no manual_dir was given"):
        build("my_package.my_builder/english", tmp_path / "data")
    with pytest.raises(BuildError, match=r"module my_package.other cannot be imported: No module"):
        build("my_package.other/all", tmp_path / "data")
    with pytest.raises(BuildError, match="dataset 'json/all' is unknown; choose one of"):
        build("json/all", tmp_path / "data")


def test_patient_and_language_are_kept_and_language_decides_what_is_closed(tmp_path):
    rows = [
        {**row, "language": language, "answer": answer}
        for row, (language, answer) in zip(
            make_rows(6), [("de-CH", "Nein"), ("en", "nein"), ("", "nein")] * 8, strict=True
        )
    ]
    write_pictures(tmp_path / "own", rows)
    write_csv(tmp_path / "own" / "q.csv", rows, (*COLUMNS, "language"))
    examples = [
        each for split in read(tmp_path / "own", tmp_path / "data").values() for each in split
    ]
    found = {(each["language"], each["answer_type"]) for each in examples}
    assert found == {("de-CH", "closed"), ("en", "open"), ("unknown", "closed")}
    assert {each["patient"] for each in examples} == {"p0", "p1", "p2"}


def test_further_closed_answers_are_said_by_the_user(folder, tmp_path):
    def kinds(data_dir, **options):
        splits = read(folder, data_dir, **options)
        return {
            each["answer"]: each["answer_type"] for examples in splits.values() for each in examples
        }

    plain = kinds(tmp_path / "data")
    assert plain == {"yes": "closed", "no": "closed", "left": "open"}
    assert kinds(tmp_path / "data", closed_answers=("Left.",)) == plain | {"left": "closed"}


def test_a_build_of_an_earlier_version_is_built_again(folder, tmp_path, capsys):
    read(folder, tmp_path / "data")
    (path,) = (tmp_path / "data").glob("*/*/*/features.json")
    stored = json.loads(path.read_text())
    del stored["featuresDict"]["features"]["patient"]
    path.write_text(json.dumps(stored))
    sealed_build.seal(path.parent)
    capsys.readouterr()
    assert read(folder, tmp_path / "data")["train"][0]["patient"].startswith("p")
    assert "is of an earlier version, without patient; the dataset is built again" in (
        capsys.readouterr().out
    )
