import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.paths import REPOSITORY
from tfds_medvqa.build import BUILDERS, BuildError, build
from tfds_medvqa.medvqa_fl.medvqa_fl_dataset_builder import Builder


def command(*arguments):
    return [sys.executable, "-m", "tfds_medvqa.build", *map(str, arguments)]


def run(*arguments):
    return subprocess.run(
        command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def test_every_dataset_has_a_builder():
    folders = {path.parent.name for path in REPOSITORY.glob("tfds_medvqa/*/*_dataset_builder.py")}
    assert {*BUILDERS, "files"} == folders


def test_unknown_names_list_the_choices(tmp_path):
    with pytest.raises(BuildError, match=r"choose one of kvasir_vqa, .*vqa_rad"):
        build("medvqa", tmp_path)
    with pytest.raises(BuildError, match="choose one of chest_xray, oct"):
        build("medvqa_fl/eyes", tmp_path)
    with pytest.raises(BuildError, match=r"no config 'fundos' \(did you mean fundus\?\)"):
        build("medvqa_fl/fundos", tmp_path)
    with pytest.raises(BuildError, match="is not a folder"):
        build("medvqa_fl/fundus", tmp_path, tmp_path / "absent")


def test_the_command_fails_in_one_line(tmp_path):
    process = run("medvqa_fl/eyes", "--data_dir", tmp_path)
    assert process.returncode == 1
    assert process.stderr.startswith("error: medvqa_fl has no config 'eyes'")
    assert process.stderr.count("\n") == 1


def test_the_command_names_a_truncated_file_in_one_line(real_data, tmp_path):
    content = (real_data / "medmnist" / "breastmnist.npz").read_bytes()
    (tmp_path / "breastmnist.npz").write_bytes(content[:-1000])
    process = run(
        *("medvqa_fl/breast_ultrasound", "--data_dir", tmp_path / "data"),
        *("--manual_dir", tmp_path),
    )
    assert process.returncode == 1
    assert "breastmnist.npz: md5 is" in process.stderr
    assert "expected 750601b1f35ba3300ea97c75c52ff8f6" in process.stderr
    assert process.stderr.count("\n") == 1


def test_a_data_dir_that_cannot_be_written_is_named_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    process = run("phantom_medvqa/tiny", "--data_dir", tmp_path / "file")
    assert process.returncode == 1
    assert process.stderr.startswith("error: ")
    assert str(tmp_path / "file") in process.stderr
    assert process.stderr.count("\n") == 1


def test_the_command_builds_once_and_prints_the_counts(real_data, tmp_path):
    arguments = ("--data_dir", tmp_path, "--manual_dir", real_data / "medmnist")
    first = run("medvqa_fl/breast_ultrasound", *arguments)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines()[-2:] == ["train: 624 examples", "test: 156 examples"]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.array_record*")}
    again = run("medvqa_fl/breast_ultrasound", *arguments)
    assert again.stdout.splitlines() == ["train: 624 examples", "test: 156 examples"]
    assert {path: path.stat().st_mtime_ns for path in written} == written


def imports_tensorflow(name, data_dir, manual_dir):
    code = (
        "import sys, tfds_medvqa.build as b; "
        f"d = b.build({name!r}, {str(data_dir)!r}, {manual_dir and str(manual_dir)!r}); "
        "d.as_data_source('train')[0]; "
        "print('tensorflow' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return process.stdout.splitlines()[-1] == "True"


def test_building_and_reading_phantoms_imports_no_tensorflow(tmp_path):
    assert not imports_tensorflow("phantom_medvqa/tiny", tmp_path, None)


def test_building_and_reading_medvqa_fl_imports_no_tensorflow(real_data, tmp_path):
    manual_dir = real_data / "medmnist"
    assert not imports_tensorflow("medvqa_fl/breast_ultrasound", tmp_path, manual_dir)


STAGES = {
    "the folder is made": "medvqa_fl/**/*incomplete*",
    "a split is being written": "medvqa_fl/**/*incomplete*/*train*",
    "the second split is being written": "medvqa_fl/**/*incomplete*/*test*",
}


@pytest.mark.extended
@pytest.mark.parametrize("stage", STAGES)
def test_a_build_that_is_killed_never_looks_finished(stage, real_data, tmp_path):
    name, manual = "medvqa_fl/chest_xray_pneumonia", real_data / "medmnist"
    arguments = command(name, "--data_dir", tmp_path, "--manual_dir", manual)
    with subprocess.Popen(arguments, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob(STAGES[stage])):
            assert process.poll() is None, "the build ended before it could be killed"
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    unfinished = Builder(
        config="chest_xray_pneumonia", data_dir=tmp_path, file_format="array_record"
    )
    assert not unfinished.is_prepared()
    finished = build(name, tmp_path, manual)
    assert len(finished.as_data_source("train")) == 4685
    assert len(finished.as_data_source("test")) == 1171
