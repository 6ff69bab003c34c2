"""Rows and images that cannot be used, planted into the dummy data of every builder."""

import functools
import shutil
import subprocess
import sys

import pytest

from tests.helpers.marking import marked
from tests.helpers.paths import REPOSITORY
from tests.tfds_medvqa import attacks
from tests.tfds_medvqa.attacks import ATTACKS, CONFIGS
from tests.tfds_medvqa.dummy_builds import NO_FILES, build_dummy, dummy_folder, texts
from tfds_medvqa.build import BUILDERS, BuildError
from tfds_medvqa.common.rows import ReadOptions

SKIP = ReadOptions(invalid_rows="skip")
QUICK = ("slake", "path_vqa")
QUICK_FOR_ALL = ("parent folder", "truncated image")
ADDED = {("repeated id", dataset) for dataset in ("vqa_med_2020", "vqa_med_2021", "mimic_cxr")}
"""Attacks by a row more, instead of a changed one."""
CASES = [(attack, dataset) for attack, (_, _, able) in ATTACKS.items() for dataset in able]
"""Every attack with every dataset that can hold it."""


def planted(attack, dataset, folder):
    manual = shutil.copytree(dummy_folder(dataset), folder / "manual")
    plant, reason, _ = ATTACKS[attack]
    plant(dataset, manual)
    return manual, reason


def assert_nothing_is_written(data_dir):
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= {".config"}  # TFDS's list of configs
    assert not list(data_dir.rglob("*incomplete*"))


def test_every_builder_with_rows_is_attacked():
    assert set(CONFIGS) == set(BUILDERS) - {NO_FILES, "medvqa_fl"}
    assert {dataset for _, dataset in CASES} == set(CONFIGS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A function that returns the number of a dataset's examples."""
    folder = tmp_path_factory.mktemp("whole")
    return functools.cache(lambda name: count(build_dummy(name, folder)))


FURTHER = [
    (attack, dataset)
    for attack, dataset in CASES
    if dataset not in QUICK and attack not in QUICK_FOR_ALL
]


@pytest.mark.parametrize(("attack", "dataset"), marked(CASES, extended=FURTHER))
def test_a_planted_row_ends_in_one_line_or_is_left_out_and_counted(
    attack, dataset, whole, tmp_path
):
    manual, reason = planted(attack, dataset, tmp_path)
    name = f"{dataset}/{CONFIGS[dataset]}"
    with pytest.raises(BuildError) as error:
        build_dummy(name, tmp_path / "data", manual)
    message = str(error.value)
    assert error.value.reason == reason
    assert str(manual) in message
    assert "\n" not in message
    assert "invalid_rows" in message
    assert "tensorflow" not in message.lower()
    assert_nothing_is_written(tmp_path / "data")
    built = build_dummy(name, tmp_path / "data", manual, SKIP)
    assert built.info.metadata["skipped_rows"] == {reason.value: 1}
    assert count(built) == whole(name) - ((attack, dataset) not in ADDED)


def count(builder):
    return sum(info.num_examples for info in builder.info.splits.values())


def test_a_build_without_some_rows_is_refused_where_none_may_be_left_out(tmp_path, capsys):
    manual, _ = planted("empty answer", "slake", tmp_path)
    build_dummy("slake/english", tmp_path / "data", manual, SKIP)
    capsys.readouterr()
    build_dummy("slake/english", tmp_path / "data", manual, SKIP)
    assert "1 invalid rows left out (no answer: 1)" in capsys.readouterr().out
    with pytest.raises(BuildError, match=r'no answer: 1.*invalid_rows = "skip", or delete'):
        build_dummy("slake/english", tmp_path / "data", manual)


def test_a_build_of_mended_rows_leaves_none_out(tmp_path):
    manual, _ = planted("empty answer", "slake", tmp_path)
    first = build_dummy("slake/english", tmp_path / "data", manual, SKIP)
    (first.data_path / "features.json").unlink()
    again = build_dummy("slake/english", tmp_path / "data")
    assert "skipped_rows" not in again.info.metadata


def test_a_split_of_which_no_row_is_left_is_told_with_the_reasons(tmp_path):
    manual = shutil.copytree(dummy_folder("slake"), tmp_path / "manual")
    (manual / "Slake1.0" / "imgs" / "xmlab2" / "source.jpg").write_bytes(attacks.LFS)
    with pytest.raises(BuildError, match=r"split test has no .*unreadable image: 2"):
        build_dummy("slake/english", tmp_path / "data", manual, SKIP)
    assert_nothing_is_written(tmp_path / "data")


@pytest.mark.parametrize("dataset", attacks.JSON)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": 1}', "holds no list of entries"),
        (attacks.LFS, "Git LFS pointer"),
        ("[]".encode("utf-16"), "byte 0 is 0xff, which is no text in UTF-8"),
        (b"[null, 5]", "entry 0 is null, expected fields by name"),
    ],
)
def test_a_list_of_rows_that_is_none_is_named_in_one_line(content, message, dataset, tmp_path):
    manual = shutil.copytree(dummy_folder(dataset), tmp_path / "manual")
    path = manual / attacks.JSON[dataset][0]
    path.write_bytes(content)
    with pytest.raises(BuildError, match=message) as error:
        build_dummy(f"{dataset}/{CONFIGS[dataset]}", tmp_path / "data", manual)
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)
    assert_nothing_is_written(tmp_path / "data")


@pytest.mark.parametrize("content", [b"", attacks.LFS, attacks.HTML])
def test_a_placeholder_of_an_archive_is_named_in_one_line(content, tmp_path):
    manual = shutil.copytree(dummy_folder("medvqa_fl"), tmp_path / "manual")
    (manual / "breastmnist.npz").write_bytes(content)
    with pytest.raises(BuildError, match=r"breastmnist\.npz") as error:
        build_dummy("medvqa_fl/dummy", tmp_path / "data", manual)
    assert "\n" not in str(error.value)
    assert_nothing_is_written(tmp_path / "data")


@pytest.mark.parametrize("dataset", marked(CONFIGS, extended=set(CONFIGS) - {"slake", "open_i"}))
def test_what_macos_adds_to_archives_is_ignored(dataset, tmp_path):
    manual = tmp_path / "manual"
    shutil.copytree(dummy_folder(dataset), manual / "__MACOSX")
    shutil.copytree(dummy_folder(dataset), manual / "release")
    junk = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"
    for path in [path for path in manual.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(junk)
        if manual / "__MACOSX" in path.parents:
            path.write_bytes(junk)
    name = f"{dataset}/{CONFIGS[dataset]}"
    built, expected = build_dummy(name, tmp_path / "a", manual), build_dummy(name, tmp_path / "b")
    assert texts(built).keys() == texts(expected).keys()
    for split, examples in texts(expected).items():
        assert [each["example_id"] for each in texts(built)[split]] == [
            each["example_id"] for each in examples
        ]


def test_the_command_ends_in_one_line_or_leaves_rows_out(tmp_path):
    manual, _ = planted("parent folder", "slake", tmp_path)
    arguments = ("slake/english", f"--data_dir={tmp_path}/data", f"--manual_dir={manual}")
    failed = run(*arguments)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "train.json: entry 0 names '../outside.png', which is outside of" in failed.stderr
    done = run(*arguments, "--invalid_rows=skip")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 invalid rows left out (file outside of the folder: 1)" in done.stdout
    assert "train: 1 examples" in done.stdout


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tfds_medvqa.build", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
