"""python -m f3ocus_jax.predict --workdir runs/x --image f.png --question "…": what is shown?"""

import pathlib

import jax
import numpy as np
from absl import flags

from f3ocus_jax import commands, experiment
from f3ocus_jax.data.reading import DataError, decode_image
from f3ocus_jax.models import base
from f3ocus_jax.types import Batch


def define_flags() -> None:
    """Adds what is asked about which image."""
    flags.DEFINE_string("image", None, "image file, PNG or JPEG", required=True)
    flags.DEFINE_string("question", None, "what is asked about it", required=True)
    flags.DEFINE_integer("top", 5, "how many answers are printed", lower_bound=1)
    commands.define_round()


def main() -> None:
    """Prints the most probable answers."""
    workdir = commands.existing_workdir()
    foundation, params, round = experiment.load_model(workdir, flags.FLAGS.round)
    pixels_HWC = read_image(pathlib.Path(flags.FLAGS.image), foundation.image_size)
    input_ids_BT, mask_BT = foundation.tokenizer.encode(
        [flags.FLAGS.question], experiment.read_run(workdir).config.data.question_length
    )
    batch = Batch(
        images_BHWC=pixels_HWC[None],
        input_ids_BT=input_ids_BT,
        attention_mask_BT=mask_BT,
        labels_B=np.zeros(1, np.int32),
        example_mask_B=np.ones(1, np.float32),
    )
    probabilities_C = np.asarray(jax.nn.softmax(base.apply(foundation.model, params, batch)[0]))
    for answer in np.argsort(-probabilities_C)[: flags.FLAGS.top]:
        print(f"{probabilities_C[answer]:6.1%}  {foundation.answers[answer]}")
    print(f"round {round} of {workdir}")


def read_image(path: pathlib.Path, size: int) -> np.ndarray:
    """Reads an image file.

    Args:
      path: of the file.
      size: side of the result, in pixels.

    Returns:
      uint8 [size, size, 3].

    Raises:
      DataError: if the file is no image.
      FileNotFoundError: if there is no such file.
    """
    encoded = path.read_bytes()
    try:
        return decode_image(encoded, size)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"--image={path} cannot be read as an image: {error}") from error


if __name__ == "__main__":
    define_flags()
    commands.run(main)
