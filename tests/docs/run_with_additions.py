"""Runs a federation that uses everything that docs/contributing.md adds, in the current folder."""

import pathlib
import runpy

import numpy as np
from PIL import Image

import f3ocus_jax

HEADER = "image,question,answer,client"


def write_files(folder: pathlib.Path) -> None:
    """Writes four images, and the same sixteen questions for every split."""
    folder.mkdir()
    for number in range(4):
        pixels = np.full((32, 32, 3), 60 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    rows = [
        f"{number % 4}.png,is this dark?,{'yes' if number % 4 < 2 else 'no'},{client}"
        for client in ("north", "south")
        for number in range(8)
    ]
    for split in ("train", "validation", "test"):
        (folder / f"{split}.csv").write_text("\n".join([HEADER, *rows, ""]))


def main() -> None:
    """Runs one round with the new dataset, family, score, selector and setting."""
    write_files(pathlib.Path("own_files"))
    config = runpy.run_path("configs/table_vqa.py")["get_config"]("tiny")
    config.data.manual_dir = "own_files"
    config.data.data_dir = "built"
    config.model.family = "vilt_mean"
    config.importance.score = "taylor"
    config.selection.algorithm = "even"
    config.training.second_momentum = 0.99
    config.federated.rounds = 1
    config.federated.budgets = (1,)
    record = f3ocus_jax.run(config, "run")[-1]
    # Both clients score all layers alike, so only an even deal gives them different ones.
    assert [client.layers for client in record.clients] == [[0], [1]]
    assert record.selection is not None
    assert record.selection.algorithm == "even"


if __name__ == "__main__":
    main()
