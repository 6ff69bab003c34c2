"""`python -m tfds_medvqa.build DATASET/CONFIG --data_dir DIR`: builds a dataset if it is absent."""

import argparse
import contextlib
import difflib
import glob
import importlib
import io
import logging
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator

import tensorflow_datasets as tfds
from absl import logging as absl_logging

from tfds_medvqa.common import buckets, owner_lock, sealed_build
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.printable import printable

BUILDERS = {
    dataset: f"tfds_medvqa.{dataset}.{dataset}_dataset_builder"
    for dataset in (
        "medvqa_fl",
        "mimic_cxr",
        "omni_med_vqa",
        "open_i",
        "path_vqa",
        "phantom_medvqa",
        "slake",
        "vqa_med_2019",
        "vqa_med_2020",
        "vqa_med_2021",
        "vqa_rad",
    )
}
"""Module of every dataset's `Builder`, imported on demand."""


def build(
    name: str,
    data_dir: str | os.PathLike[str],
    manual_dir: str | os.PathLike[str] | None = None,
    *,
    reread: bool = False,
) -> tfds.core.DatasetBuilder:
    """Builds a dataset into array_record files, unless a whole build exists already.

    TFDS writes to a folder named incomplete.… and renames it at the end; a manifest is written
    last. A build without one, or that does not fit to it, is built again, or stays as it is if that
    fails. Of several processes that want the same dataset one builds it, and the others wait.

    Args:
      name: Dataset and config, such as "medvqa_fl/fundus".
      data_dir: Folder of built datasets.
      manual_dir: Folder of the source files; None if they can be downloaded.
      reread: True to compare the files of examples with their checksums too, and not their sizes
        alone.

    Returns:
      The builder; its `as_data_source` reads the examples without TensorFlow.

    Raises:
      BuildError: if there is no such dataset or config, or a source file cannot be used.
    """
    builder_class, config = _find(name)

    def make() -> tfds.core.DatasetBuilder:
        with _quietly():
            return builder_class(config=config, data_dir=data_dir, file_format="array_record")

    version = builder_class.builder_configs[config].version or builder_class.VERSION
    folder = pathlib.Path(data_dir, builder_class.name, config, str(version))
    return _prepared(folder, make, manual_dir, reread)


def prepare(
    builder: tfds.core.DatasetBuilder, manual_dir: str | os.PathLike[str] | None = None
) -> None:
    """Builds the dataset of a builder, unless a whole build exists already.

    Args:
      builder: Builder of a dataset of this package.
      manual_dir: Folder of the source files; None if they can be downloaded.

    Raises:
      BuildError: if a source file cannot be used.
    """
    _prepared(pathlib.Path(builder.data_dir), lambda: builder, manual_dir, reread=False)


def _find(name: str) -> tuple[type[tfds.core.DatasetBuilder], str]:
    """Returns the class of a dataset's builder, and the name of its config."""
    dataset, _, config = name.partition("/")
    if dataset not in BUILDERS:
        raise BuildError(f"dataset {name!r} is unknown; choose one of {', '.join(BUILDERS)}")
    builder_class = importlib.import_module(BUILDERS[dataset]).Builder
    known = list(builder_class.builder_configs)
    if config not in known:
        nearest = difflib.get_close_matches(config, known, n=1)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        raise BuildError(
            f"{dataset} has no config {config!r}{hint}; choose one of {', '.join(known)}"
        )
    return builder_class, config


def _prepared(
    folder: pathlib.Path,
    make: Callable[[], tfds.core.DatasetBuilder],
    manual_dir: str | os.PathLike[str] | None,
    reread: bool,
) -> tfds.core.DatasetBuilder:
    """Returns the builder of a whole build, which is made where it is absent or damaged.

    TFDS reads a build's files as soon as its builder is made: they are checked before.
    """
    if manual_dir is not None and not pathlib.Path(manual_dir).is_dir():
        raise BuildError(f"manual_dir {manual_dir} is not a folder")
    if sealed_build.damage_of(folder, shards=reread) is None:
        return _opened(make)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock")
    with contextlib.ExitStack() as stack:
        what = f"it builds {folder.parent.parent.name}/{folder.parent.name}"
        stack.enter_context(owner_lock.waited_for(lock, what, _say))
        sealed_build.recover(folder)
        damage = sealed_build.damage_of(folder, shards=reread)
        if damage is None:
            return _opened(make)
        _remove_unfinished(folder)
        if folder.exists():
            _say(f"{damage}; the dataset is built again")
            stack.enter_context(sealed_build.set_aside(folder, damage))
        return _built(folder, make(), manual_dir)


def _built(
    folder: pathlib.Path,
    builder: tfds.core.DatasetBuilder,
    manual_dir: str | os.PathLike[str] | None,
) -> tfds.core.DatasetBuilder:
    """Builds a dataset, and seals it."""
    _say(f"building {builder.info.full_name} in {folder}")
    settings = tfds.download.DownloadConfig(manual_dir=manual_dir)
    with _quietly(), buckets.without_tensorflow():
        builder.download_and_prepare(download_config=settings)
    sealed_build.seal(folder)
    return builder


def _opened(make: Callable[[], tfds.core.DatasetBuilder]) -> tfds.core.DatasetBuilder:
    """Makes a builder; its counts are read if the dataset was built after the builder."""
    builder = make()
    if not builder.info.initialized:
        builder.info.read_from_directory(builder.data_dir)
    return builder


def _say(line: str) -> None:
    print(line, flush=True)


def _remove_unfinished(folder: pathlib.Path) -> None:
    """Removes what killed builds of a dataset left beside its folder; needs its lock."""
    for path in folder.parent.glob(f"incomplete.*_{glob.escape(folder.name)}"):
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silences TFDS's progress bars, its messages and its downloads' retries."""
    requests_logger = logging.getLogger("urllib3")
    levels = absl_logging.get_verbosity(), requests_logger.level
    absl_logging.set_verbosity(absl_logging.ERROR)
    requests_logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        absl_logging.set_verbosity(levels[0])
        requests_logger.setLevel(levels[1])


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tfds_medvqa.build", description=__doc__)
    parser.add_argument("name", help="dataset and config, such as medvqa_fl/fundus")
    parser.add_argument("--data_dir", required=True, help="folder of built datasets")
    parser.add_argument("--manual_dir", help="folder with the source files")
    arguments = parser.parse_args()
    try:
        builder = build(arguments.name, arguments.data_dir, arguments.manual_dir)
    except (BuildError, OSError) as error:
        print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("error: stopped by SIGINT; the same command again builds it anew", file=sys.stderr)
        raise SystemExit(130) from None
    for split, info in builder.info.splits.items():
        print(f"{split}: {info.num_examples} examples")


if __name__ == "__main__":
    main()
