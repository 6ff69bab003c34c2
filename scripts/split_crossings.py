"""Count patients and images that cross the splits of datasets, as runs read them.

usage: python scripts/split_crossings.py DATASET... [--data FOLDER] [--data_dir DIR]

A dataset is named as in `config.data.datasets`; FOLDER holds its source files (docs/data.md). Where
it releases no validation split, that of a run is counted. Prints a row of Markdown per dataset.
"""

import argparse

from f3ocus_jax.data.crossings import count_splits, find_crossings
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_tables
from f3ocus_jax.data.settings import DataConfig
from tfds_medvqa.common.errors import BuildError

SHORT = {"train": "train", "validation": "val", "test": "test"}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--data", default="", help="folder of the source files")
    parser.add_argument("--data_dir", default=DataConfig().data_dir, help="folder of the builds")
    given = parser.parse_args()
    print("| dataset | images | patients | shared by | patients | equal images | near images |")
    print("|---|---|---|---|---|---|---|")
    for dataset in given.datasets:
        config = DataConfig(
            datasets=(dataset,),
            manual_dir=given.data,
            data_dir=given.data_dir,
            duplicates="keep",
            partition=("dataset",),
        )
        try:
            clients, _ = read_tables(config, Canvas(64))
        except BuildError as error:
            raise SystemExit(f"error: {dataset}: {error}") from error
        counts = count_splits(clients)
        images = " / ".join(str(each.images) for each in counts.values())
        patients = " / ".join(str(each.patients) for each in counts.values())
        for found in find_crossings(clients):
            pair = f"{SHORT[found.first]}, {SHORT[found.second]}"
            shared = f"{found.patients} | {found.equal} | {found.near}"
            print(f"| `{dataset}` | {images} | {patients} | {pair} | {shared} |")


if __name__ == "__main__":
    main()
