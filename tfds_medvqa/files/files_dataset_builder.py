"""Builder of a user's own files: tables of images, questions and answers, by hospital."""

import collections
import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common import answers
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.file_names import as_text, on_disk
from tfds_medvqa.common.findings import labelled_example
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.table_options import DEFAULT_TABLES, PREFIX, TableOptions
from tfds_medvqa.files.entries import Entry, EntryReader
from tfds_medvqa.files.layout import SourceTable, find_tables
from tfds_medvqa.files.splitting import TRAIN, Group, split_groups
from tfds_medvqa.files.table_files import read_rows

VALIDATION_SHARE = 0.1
"""Share of the patients on which thresholds of findings are chosen."""


@dataclasses.dataclass(eq=False)
class FilesConfig(tfds.core.BuilderConfig):
    """A folder, and how it is read.

    Attributes:
      path: Absolute path of the folder, or of one table.
      options: Options of reading the tables.
    """

    path: str = ""
    options: TableOptions = DEFAULT_TABLES


def make_config(path: str, options: TableOptions) -> FilesConfig:
    """Makes the config of a folder; its name tells folders and options apart.

    Args:
      path: Path of the folder, or of one table.
      options: Options of reading the tables.

    Raises:
      BuildError: if the path is empty.
    """
    if not path.strip():
        raise BuildError(f"{PREFIX} names no folder; say {PREFIX}PATH")
    absolute = pathlib.Path(on_disk(path)).expanduser().absolute()
    name = as_text(absolute.name)
    shaped = dataclasses.asdict(options) | {"columns": sorted(options.columns.items())}
    text = json.dumps([as_text(str(absolute)), shaped])
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "files"
    return FilesConfig(
        name=f"{slug}_{digest}", description=name, path=str(absolute), options=options
    )


def root_of(config: FilesConfig) -> pathlib.Path:
    """Returns the folder that images and tables are below: the folder itself, or the table's."""
    path = pathlib.Path(config.path)
    return path.parent if path.is_file() else path


class OwnFolder(SourceFolder):
    """A user's folder, of which no other copy can be obtained."""

    def missing(self, name: str, origin: Origin | None = None) -> BuildError:
        """Returns the error for a missing file."""
        del origin
        return BuildError(f"{name} is not there")


class Builder(ManualBuilder):
    """Reads the tables of a user's folder."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {
        "1.0.0": "Initial release.",
        "1.1.0": "Grey values beyond 8 bits are windowed, and pages of images chosen.",
    }
    ORIGIN = Origin("Files of your own", "a folder of yours", "yours")

    def open_folder(self, root: pathlib.Path | None) -> SourceFolder:
        """Opens the user's folder, whatever manual_dir is."""
        del root
        return OwnFolder(root_of(self.builder_config), self.ORIGIN, self.read_options)

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns the examples of every split, all rows of which have been checked."""
        config = self.builder_config
        path, root = pathlib.Path(config.path), root_of(config)
        tables = find_tables(path)
        files.used.update(table.path for table in tables)
        entries = [
            entry for table in tables for entry in read_entries(root, table, config.options, files)
        ]
        if not entries:
            raise BuildError(f"{path} has no row that can be used")
        names = self._finding_names(entries)
        split_of = self._splits_of(entries, has_findings=bool(names))
        closed_answers = frozenset(map(answers.normalise, config.options.closed_answers))
        splits: dict[str, list[dict[str, Any]]] = {}
        for entry in entries:
            split = entry.split or split_of[entry.group]
            examples = make_examples(entry, split, names, as_text(root.name), closed_answers)
            splits.setdefault(split, []).extend(examples)
        for split in (TRAIN, "test", *(["validation"] if names else [])):
            if split not in splits:
                raise BuildError(f"{path} has no row of split {split}")
        return splits

    def _finding_names(self, entries: list[Entry]) -> tuple[str, ...]:
        """Returns the findings of the dataset by name; none for a dataset of questions."""
        kinds = {entry.findings is not None for entry in entries}
        if len(kinds) > 1:
            raise BuildError(
                f"{self.builder_config.path} has tables with a column of findings and tables "
                "without; name them as two datasets"
            )
        if kinds == {False}:
            return ()
        names = tuple(sorted({name for entry in entries for name in entry.findings or ()}))
        if not names:
            raise BuildError(f"{self.builder_config.path} has no finding in any row")
        self.info.metadata["findings"] = list(names)
        return names

    def _splits_of(self, entries: list[Entry], *, has_findings: bool) -> dict[Group, str]:
        """Splits the patients if no row names its split, and says so in the metadata."""
        unnamed = [entry for entry in entries if entry.split is None]
        if not unnamed:
            return {}
        if len(unnamed) < len(entries):
            raise BuildError(
                f"{unnamed[0].image.where} names no split, but other rows do; name it for all or "
                "for none"
            )
        options = self.builder_config.options
        shares = {"test": options.test_share}
        if has_findings:
            shares["validation"] = VALIDATION_SHARE
        counts: dict[Group, collections.Counter[str]] = {}
        for entry in entries:
            labels = (entry.answers[0],) if entry.findings is None else (", ".join(entry.findings),)
            counts.setdefault(entry.group, collections.Counter()).update(labels)
        labels_of = {
            group: min((-times, label) for label, times in count.items())[1]
            for group, count in counts.items()
        }
        self.info.metadata["split"] = {"seed": options.split_seed, "shares": shares}
        return split_groups(labels_of, shares, options.split_seed)


def read_entries(
    root: pathlib.Path, table: SourceTable, options: TableOptions, files: SourceFolder
) -> Iterator[Entry]:
    """Yields the rows of a table that can be used.

    Args:
      root: The user's folder.
      table: The table.
      options: Options of reading it.
      files: The same folder, which decides about rows that cannot be used.

    Raises:
      BuildError: if the table cannot be read, or a row cannot be used and must not be left out.
    """
    reader = EntryReader(root, table, options)
    return files.each(
        enumerate(read_rows(table.path, options)),
        lambda numbered: reader.read(*numbered, files),
    )


def make_examples(
    entry: Entry,
    split: str,
    names: tuple[str, ...],
    source: str,
    closed_answers: frozenset[str] = frozenset(),
) -> Iterator[dict[str, Any]]:
    """Yields the examples of a row.

    In training a question with several answers is one example with each; elsewhere the first is the
    reference.

    Args:
      entry: The row.
      split: Split of its examples.
      names: Findings of the dataset; none for a dataset of questions.
      source: Name of the user's folder.
      closed_answers: Normalised answers of closed questions beside yes and no.
    """
    common: dict[str, Any] = {
        "image": entry.image,
        "image_id": entry.image_id,
        "question": entry.question,
        "client": entry.group[0],
        "source": source,
        "patient": entry.texts["patient"],
        "language": entry.texts["language"],
    }
    if entry.findings is not None:
        label = [int(name in entry.findings) for name in names]
        made = labelled_example(example_id=entry.example_id, label=label, names=names, **common)
        yield made | {name: entry.texts[name] for name in ("modality", "anatomy")}
        return
    for number, answer in enumerate(entry.answers if split == TRAIN else entry.answers[:1]):
        suffix = f"#{number + 1}" if number else ""
        kind = answers.answer_type(answers.normalise(answer), common["language"], closed_answers)
        yield question_example(
            example_id=f"{entry.example_id}{suffix}",
            answer=answer,
            answer_type=kind,
            question_type=entry.texts["question_type"],
            modality=entry.texts["modality"],
            anatomy=entry.texts["anatomy"],
            **common,
        )
