"""Contact sheet of phantoms, one row per client.

python -m tfds_medvqa.phantom_medvqa.contact_sheet --out sheet.png --shift 1 --zoom 2
"""

import argparse
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tfds_medvqa.phantom_medvqa.phantom_config import CLIENTS, PhantomConfig
from tfds_medvqa.phantom_medvqa.phantoms import make_phantom

GAP = 2
"""White pixels between two pictures."""


def contact_sheet(
    config: PhantomConfig, clients: Sequence[str] = CLIENTS, columns: int = 10
) -> np.ndarray:
    """Lays out the first pictures of each client.

    Args:
      config: Config of the dataset; its counts are not used.
      clients: Clients, one row each.
      columns: Images per row.

    Returns:
      uint8 [rows * (size + 2), columns * (size + 2), 3].
    """
    cell = config.image_size + GAP
    sheet_HWC = np.full((len(clients) * cell, columns * cell, 3), 255, np.uint8)
    for row, client in enumerate(clients):
        for column in range(columns):
            image_HWC = make_phantom(config, client, column).image_HWC
            top, left = row * cell, column * cell
            sheet_HWC[top : top + cell - GAP, left : left + cell - GAP] = image_HWC
    return sheet_HWC


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the sheet as a PNG and prints its path and rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="PNG file to write")
    parser.add_argument("--shift", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=64, help="pixels per side of one picture")
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--zoom", type=int, default=1, help="screen pixels per picture pixel")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=CLIENTS)
    options = parser.parse_args(arguments)
    config = PhantomConfig(image_size=options.size, seed=options.seed, shift=options.shift)
    sheet_HWC = contact_sheet(config, options.clients, options.columns)
    sheet_HWC = sheet_HWC.repeat(options.zoom, axis=0).repeat(options.zoom, axis=1)
    Image.fromarray(sheet_HWC).save(options.out)
    print(f"{options.out}: rows {', '.join(options.clients)}")


if __name__ == "__main__":
    main()
