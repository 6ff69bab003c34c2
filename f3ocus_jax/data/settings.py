"""Settings of the data: `config.data`."""

import dataclasses
from collections.abc import Mapping

from f3ocus_jax.config import SEED, Section, paths, setting
from f3ocus_jax.data import overlap
from f3ocus_jax.errors import ConfigError
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.image_limits import MAX_IMAGE_PIXELS
from tfds_medvqa.common.rows import INVALID_ROWS, ReadOptions
from tfds_medvqa.common.table_options import QUESTION, TableOptions

FITS = ("stretch", "pad")


@dataclasses.dataclass(frozen=True)
class DataConfig(Section):
    """Datasets, their partition into clients, and the shape of their examples."""

    datasets: tuple[str, ...] = setting(
        ("phantom_medvqa/clients",),
        'TFDS names with config, as in "phantom_medvqa/clients", built where absent; "files:PATH" '
        'for a folder of images and tables of your own; "my_package.my_builder/config" for a '
        "builder of your own.",
        path=paths.Kind.DATASET,
    )
    partition: tuple[str, ...] = setting(
        ("client",),
        'Rule that deals examples to clients, one for all datasets or one each: "dataset" (one '
        'client), "shards" (equal random parts), "dirichlet" (label shift), or a feature whose '
        'values are the clients ("client" or "hospital", "modality", "anatomy", ...).',
    )
    clients_per_dataset: int = setting(
        0,
        'Clients of a dataset dealt by "shards" or "dirichlet"; 0 where none is.',
        at_least=0,
        at_most=100_000,
    )
    dirichlet_alpha: float = setting(
        0.5,
        "Concentration; the smaller, the more the clients' labels differ.",
        above=0,
        at_most=1e6,
    )
    partition_seed: int = setting(
        0, 'Seed of "shards" and "dirichlet", apart from the run\'s own seed.', at_least=0, **SEED
    )
    duplicates: str = setting(
        "exact",
        'Images that several datasets have stay in the first of them only: "exact" compares '
        'pixels, "near" thumbnails too, "keep" leaves all.',
        choices=tuple(overlap.DUPLICATES),
    )
    data_dir: str = setting("runs/data", "Folder of built datasets.", path=paths.Kind.LOCAL)
    manual_dir: str = setting(
        "",
        'Folder of files that cannot or need not be downloaded; "" for none.',
        path=paths.Kind.LOCAL_OR_NONE,
    )
    invalid_rows: str = setting(
        "error",
        'Rows of source files that cannot be used, such as one without an answer: "error" stops '
        'at the first, "skip" leaves them out and counts them by reason.',
        choices=INVALID_ROWS,
    )
    max_image_pixels: int = setting(
        MAX_IMAGE_PIXELS,
        "Pixels of an image above which it is not decoded.",
        at_least=1,
        at_most=2**31 - 1,
    )
    image_page: int = setting(
        0,
        "Page of images that have several, as TIFF files and animations may, from 1; 0 refuses "
        "them.",
        at_least=0,
        at_most=2**31 - 1,
    )
    columns: Mapping[str, str] = setting(
        {},
        'Columns of files of your own, by what they hold, as in {"image": "picture"}; '
        "docs/your_data.md lists the names that are found without.",
    )
    encoding: str = setting("utf-8", "Encoding of tables of your own.")
    answer_separator: str = setting(
        "", 'Text between several answers or findings in one cell; "" if each has one.'
    )
    question: str = setting(
        QUESTION, "Question about images of your own that have a class or findings alone."
    )
    closed_answers: tuple[str, ...] = setting(
        (),
        "Answers that make a question of your own files closed, beside yes and no in the language "
        "that its row names, or in any of thirty where it names none.",
    )
    test_share: float = setting(
        0.2,
        "Share of the patients of your own files that become test examples if these name no split; "
        "of the images where they name no patients.",
        above=0,
        below=1,
    )
    validation_share: float = setting(
        0.1,
        "Share of each client's training patients (of its images where no patients are known) that "
        "are held out for validation, where the dataset releases no validation split; 0 for no "
        "validation, with which the last round is taken.",
        at_least=0,
        below=1,
        earlier=0.0,
    )
    split_seed: int = setting(0, "Seed of these two splits.", at_least=0, **SEED)
    evaluated_examples: int = setting(
        0,
        "Most test examples of a client, and most validation examples, that are evaluated; "
        "`split_seed` draws the same ones in every run. 0 for all.",
        at_least=0,
        at_most=2**31 - 1,
    )
    question_length: int = setting(
        20,
        "Tokens of a question, with the first and last special token; longer ones lose their end, "
        "and their number is printed.",
        at_least=3,
    )
    max_unknown_share: float = setting(
        0.2,
        "Share of the tokens in a client's questions that the tokenizer may not know; more ends "
        "the run before it starts.",
        at_least=0,
        at_most=1,
    )
    minimum_answer_count: int = setting(
        1, "Occurrences in training from which an answer is in the vocabulary.", at_least=1
    )
    answer_length: int = setting(
        8, "Tokens of an answer that is written, with its end.", at_least=2
    )
    image_fit: str = setting(
        "stretch",
        'Way to put an image of any shape on a square canvas: "stretch" makes it a square, "pad" '
        "keeps its aspect ratio and pads it (ViLT alone).",
        choices=FITS,
    )
    canvas_size: int = setting(
        0,
        'Side of that square with "pad", in pixels; 0 for the model\'s image size.',
        at_least=0,
    )

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        self.require(len(self.datasets) > 0, "datasets", "one dataset or more")
        datasets = len(self.datasets)
        allowed = f"1 rule or {datasets}, one per dataset"
        self.require(len(self.partition) in (1, datasets), "partition", allowed)
        allowed = f"0 where config.data.image_fit = {self.image_fit!r}"
        self.require(self.image_fit == "pad" or self.canvas_size == 0, "canvas_size", allowed)

        try:
            self.read_options  # noqa: B018 (checks the options of own tables)
        except BuildError as error:
            raise ConfigError(f"config.data: {error}") from error

    @property
    def read_options(self) -> ReadOptions:
        """Options of the builders that read source files."""
        tables = TableOptions(
            columns=self.columns,
            encoding=self.encoding,
            answer_separator=self.answer_separator,
            question=self.question,
            test_share=self.test_share,
            split_seed=self.split_seed,
            closed_answers=self.closed_answers,
        )
        return ReadOptions(self.invalid_rows, self.max_image_pixels, tables, self.image_page)
