"""`python -m tfds_medvqa.build DATASET/CONFIG --data_dir DIR`: builds a dataset if it is absent."""

import argparse
import contextlib
import difflib
import glob
import importlib
import io
import json
import logging
import math
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator

import tensorflow_datasets as tfds
from absl import logging as absl_logging

from tfds_medvqa.common import buckets, interrupts, owner_lock, sealed_build, source_files
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import example_features
from tfds_medvqa.common.manual_builder import SKIPPED_ROWS, ManualBuilder
from tfds_medvqa.common.printable import printable, write_every_character
from tfds_medvqa.common.rows import INVALID_ROWS, ReadOptions, describe_skipped
from tfds_medvqa.common.table_options import COLUMNS, PREFIX, TableOptions
from tfds_medvqa.files.files_dataset_builder import (
    Builder as FilesBuilder,
    FilesConfig,
    make_config,
    root_of,
)

BUILDERS = {
    dataset: f"tfds_medvqa.{dataset}.{dataset}_dataset_builder"
    for dataset in (
        "kvasir_vqa",
        "medvqa_fl",
        "mimic_cxr",
        "modality_images",
        "omni_med_vqa",
        "open_i",
        "path_vqa",
        "phantom_medvqa",
        "pmc_vqa",
        "slake",
        "vqa_med_2019",
        "vqa_med_2020",
        "vqa_med_2021",
        "vqa_rad",
    )
}
"""Module of every dataset's `Builder`, imported on demand."""

DEFAULT_OPTIONS = ReadOptions()

FEATURES_FILE = "features.json"
"""File of a build that says which features its examples have."""

ABANDONED = 3600.0
"""Seconds after which a download that nothing was written to is one of a killed process."""


def build(
    name: str,
    data_dir: str | os.PathLike[str],
    manual_dir: str | os.PathLike[str] | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
    *,
    reread: bool = False,
) -> tfds.core.DatasetBuilder:
    """Builds a dataset into array_record files, unless a whole build exists already.

    TFDS writes to a folder named incomplete.… and renames it at the end; a manifest is written
    last. A build without one, or that does not fit to it, is built again, or stays as it is if that
    fails. Of several processes that want the same dataset one builds it, and the others wait.

    Args:
      name: Dataset and config, such as "medvqa_fl/fundus"; "files:PATH" for a folder of a user's
        own; or the module of a user's own builder and config, as in "my_package.my_builder/all".
      data_dir: Folder of built datasets.
      manual_dir: Folder of the source files; None if they can be downloaded.
      options: Options of reading the source files.
      reread: True to compare the files of examples with their checksums too, and not their sizes
        alone.

    Returns:
      The builder; its `as_data_source` reads the examples without TensorFlow.

    Raises:
      BuildError: if there is no such dataset or config, a source file or a row cannot be used, or
        the dataset was built without some rows and these must not be left out.
    """
    builder_class, config = _find(name, options)

    def make() -> tfds.core.DatasetBuilder:
        with _quietly():
            return builder_class(config=config, data_dir=data_dir, file_format="array_record")

    version = str(config.version or builder_class.VERSION)
    folder = pathlib.Path(data_dir, builder_class.name, config.name, version)
    if isinstance(config, FilesConfig):
        root = root_of(config)
        manual_dir = root if root.is_dir() else None
    return _prepared(folder, make, manual_dir, options, reread)


def prepare(
    builder: tfds.core.DatasetBuilder,
    manual_dir: str | os.PathLike[str] | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> None:
    """Builds the dataset of a builder, unless a whole build exists already.

    Args:
      builder: Builder of a dataset of this package.
      manual_dir: Folder of the source files; None if they can be downloaded.
      options: Options of reading the source files.

    Raises:
      BuildError: see `build`.
    """
    folder = pathlib.Path(builder.data_dir)
    _prepared(folder, lambda: builder, manual_dir, options, reread=False)


def _find(
    name: str, options: ReadOptions
) -> tuple[type[tfds.core.DatasetBuilder], tfds.core.BuilderConfig]:
    """Returns the class of a dataset's builder, and its config."""
    if name.startswith(PREFIX):
        return FilesBuilder, make_config(name.removeprefix(PREFIX), options.tables)
    dataset, _, config = name.partition("/")
    if dataset in BUILDERS:
        builder_class = importlib.import_module(BUILDERS[dataset]).Builder
    elif "." in dataset:
        builder_class = _import_builder(dataset)
    else:
        raise BuildError(
            f"dataset {name!r} is unknown; choose one of {', '.join(BUILDERS)}, {PREFIX}PATH for "
            "files of your own, or the module of a builder of your own"
        )
    known = list(builder_class.builder_configs)
    if config not in known:
        nearest = difflib.get_close_matches(config, known, n=1)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        raise BuildError(
            f"{dataset} has no config {config!r}{hint}; choose one of {', '.join(known)}"
        )
    return builder_class, builder_class.builder_configs[config]


def _import_builder(module: str) -> type[tfds.core.DatasetBuilder]:
    """Imports the builder of a user's own module."""
    try:
        builder_class = importlib.import_module(module).Builder
    except ImportError as error:
        raise BuildError(f"module {module} cannot be imported: {error}") from error
    except AttributeError as error:
        raise BuildError(f"module {module} has no class Builder") from error
    if not (isinstance(builder_class, type) and issubclass(builder_class, ManualBuilder)):
        raise BuildError(f"{module}.Builder must be a subclass of {ManualBuilder.__module__}")
    return builder_class


def _prepared(
    folder: pathlib.Path,
    make: Callable[[], tfds.core.DatasetBuilder],
    manual_dir: str | os.PathLike[str] | None,
    options: ReadOptions,
    reread: bool,
) -> tfds.core.DatasetBuilder:
    """Returns the builder of a whole build, from which rows are absent only if they may be."""
    builder = _found_or_built(folder, make, manual_dir, options, reread)
    skipped = dict(builder.info.metadata or {}).get(SKIPPED_ROWS)
    if skipped and options.invalid_rows == "error":
        raise BuildError(
            f"{builder.info.full_name} was built with {describe_skipped(skipped)}; use it with "
            f'invalid_rows = "skip", or delete {builder.data_dir} to build it again'
        )
    if skipped:
        _say(f"{builder.info.full_name}: {describe_skipped(skipped)}")
    return builder


def _found_or_built(
    folder: pathlib.Path,
    make: Callable[[], tfds.core.DatasetBuilder],
    manual_dir: str | os.PathLike[str] | None,
    options: ReadOptions,
    reread: bool,
) -> tfds.core.DatasetBuilder:
    """Returns the builder of a whole build, which is made where it is absent or damaged.

    TFDS reads a build's files as soon as its builder is made: they are checked before.
    """
    if manual_dir is not None and not pathlib.Path(manual_dir).is_dir():
        raise BuildError(f"manual_dir {manual_dir} is not a folder")
    damage = _fault_of(folder, manual_dir, options, shards=reread)
    if damage is None and not sealed_build.has_left(folder):
        return _opened(make)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock")
    with contextlib.ExitStack() as stack:
        what = f"it builds {folder.parent.parent.name}/{folder.parent.name}"
        stack.enter_context(owner_lock.waited_for(lock, what, _say))
        sealed_build.recover(folder)
        damage = _fault_of(folder, manual_dir, options, shards=reread)
        if damage is None:
            return _opened(make)
        _remove_unfinished(folder)
        _remove_abandoned_downloads(folder)
        if folder.exists():
            _say(f"{damage}; the dataset is built again")
            stack.enter_context(sealed_build.set_aside(folder, damage))
        stack.callback(_remove_unfinished, folder)  # TFDS leaves it if stopped as it makes it
        return _built(folder, make(), manual_dir, options)


def _fault_of(
    folder: pathlib.Path,
    manual_dir: str | os.PathLike[str] | None,
    options: ReadOptions,
    *,
    shards: bool,
) -> str | None:
    """Returns why a build cannot be used: damage, or other files or pages; None if it can."""
    damage = sealed_build.damage_of(folder, shards=shards) or _other_features(folder)
    if damage is not None:
        return damage
    root = None if manual_dir is None else pathlib.Path(manual_dir)
    return source_files.change_of(folder, root, options.image_page)


def _other_features(folder: pathlib.Path) -> str | None:
    """Returns what is wrong with a build of another version of the features, None for this one."""
    text = (folder / FEATURES_FILE).read_text(encoding="utf-8")
    built = json.loads(text)["featuresDict"]["features"]
    absent = sorted(example_features().keys() - built.keys())
    return f"{folder} is of an earlier version, without {', '.join(absent)}" if absent else None


def _built(
    folder: pathlib.Path,
    builder: tfds.core.DatasetBuilder,
    manual_dir: str | os.PathLike[str] | None,
    options: ReadOptions,
) -> tfds.core.DatasetBuilder:
    """Builds a dataset, and seals it."""
    if isinstance(builder, ManualBuilder):
        builder.read_options = options
    _say(f"building {builder.info.full_name} in {folder}")
    # No bucket is asked for the dataset.
    settings = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    with _quietly(), buckets.without_tensorflow():
        builder.download_and_prepare(download_config=settings)
    files = builder.source_files if isinstance(builder, ManualBuilder) else None
    if files is not None and files.root is not None:
        source_files.write(folder, files.root, files.used, options.image_page)
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
    """Removes what stopped builds of a dataset left beside its folder; needs its lock."""
    for path in folder.parent.glob(f"incomplete.*_{glob.escape(folder.name)}"):
        shutil.rmtree(path, ignore_errors=True)


def _remove_abandoned_downloads(folder: pathlib.Path) -> None:
    """Removes downloads of killed builds; they are shared, others may still be written to."""
    downloads = folder.parents[2] / "downloads"
    for path in downloads.glob("*.tmp.*"):
        if _age(path) > ABANDONED:
            shutil.rmtree(path, ignore_errors=True)


def _age(folder: pathlib.Path) -> float:
    """Returns the seconds since something in a folder was last written; inf once it is gone."""
    try:
        return time.time() - max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:
        return math.inf


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
    help_text = "stop at a row that cannot be used, or leave it out and count it"
    parser.add_argument("--invalid_rows", choices=INVALID_ROWS, default="error", help=help_text)
    help_text = "pixels of an image above which it cannot be used"
    most = DEFAULT_OPTIONS.max_image_pixels
    parser.add_argument("--max_image_pixels", type=int, default=most, help=help_text)
    help_text = "page of images that have several, from 1; 0 refuses them"
    parser.add_argument("--image_page", type=int, default=0, help=help_text)
    _add_table_arguments(parser)
    arguments = parser.parse_args()
    write_every_character()
    try:
        tables = TableOptions(
            columns=dict(arguments.column),
            encoding=arguments.encoding,
            answer_separator=arguments.answer_separator,
            question=arguments.question,
            test_share=arguments.test_share,
            split_seed=arguments.split_seed,
            closed_answers=tuple(arguments.closed_answer),
        )
        options = ReadOptions(
            arguments.invalid_rows, arguments.max_image_pixels, tables, arguments.image_page
        )
        with interrupts.raised(interrupts.ANEW):
            builder = build(arguments.name, arguments.data_dir, arguments.manual_dir, options)
    except (BuildError, OSError) as error:
        print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        raise SystemExit(1) from None
    except interrupts.Interrupted as interruption:
        print(f"error: {interruption}", file=sys.stderr)
        raise SystemExit(interruption.exit_status) from None
    for split, info in builder.info.splits.items():
        print(f"{split}: {info.num_examples} examples")


def _add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `TableOptions`."""
    own, default = parser.add_argument_group(f"{PREFIX}PATH"), DEFAULT_OPTIONS.tables
    help_text = f"column that holds it, as in image=picture; one of {', '.join(COLUMNS)}"
    own.add_argument("--column", action="append", default=[], type=_column, help=help_text)
    own.add_argument("--encoding", default=default.encoding, help="encoding of the tables")
    help_text = "text between several answers or findings in one cell"
    own.add_argument("--answer_separator", default=default.answer_separator, help=help_text)
    help_text = "question about images that have a class or findings alone"
    own.add_argument("--question", default=default.question, help=help_text)
    help_text = "answer of closed questions beside yes and no, such as present"
    own.add_argument("--closed_answer", action="append", default=[], help=help_text)
    help_text = "share of the patients that become test examples if no split is named"
    own.add_argument("--test_share", type=float, default=default.test_share, help=help_text)
    help_text = "seed of that split"
    own.add_argument("--split_seed", type=int, default=default.split_seed, help=help_text)


def _column(text: str) -> tuple[str, str]:
    """Returns what a column holds, and its name."""
    kind, is_given, name = text.partition("=")
    if not is_given:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form image=picture")
    return kind, name


if __name__ == "__main__":
    main()
