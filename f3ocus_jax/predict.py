"""python -m f3ocus_jax.predict --workdir runs/x --image f.png --question "…": what is shown?"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import decode_image
from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.errors import ConfigError, DataError
from f3ocus_jax.evaluation import findings_f1
from f3ocus_jax.evaluation.written_answers import Decoding, decoding_of
from f3ocus_jax.federation import run_folder
from f3ocus_jax.models import base, head
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.report import record_files
from f3ocus_jax.types import Batch, Params


def define_flags() -> None:
    """Adds what is asked about which image."""
    flags.DEFINE_string("image", None, "image file, PNG or JPEG", required=True)
    help_text = "what is asked about it, or the report that goes with it"
    flags.DEFINE_string("question", None, help_text, required=True)
    flags.DEFINE_integer("top", 5, "how many answers are printed", lower_bound=1)
    help_text = "whose thresholds tell which findings are present; the mean of all unless given"
    flags.DEFINE_string("client", "", help_text)
    _command_line.define_round()


def main() -> None:
    """Prints the most probable answers, and every finding, for what the run's model is for."""
    workdir, settings = _command_line.existing_workdir(), flags.FLAGS
    foundation, params, round = run_folder.load_model(workdir, settings.round)
    config = run_folder.read_run(workdir).config
    batch = read_example(foundation, config.data, pathlib.Path(settings.image), settings.question)
    decoding = decoding_of(foundation, config.evaluation, config.data.answer_length)
    if decoding is not None:
        print("\n".join(describe_written(foundation, params, batch, decoding, settings.top)))
        print(f"round {round} of {workdir}")
        return
    outputs = head.split(base.apply(foundation.model, params, batch), batch)
    answers_BC, findings_BF = jax.device_get(outputs)
    if foundation.answers:
        print("\n".join(describe_answers(answers_BC[0], foundation.answers, settings.top)))
    if foundation.findings:
        thresholds_F = read_thresholds(workdir, round, settings.client)
        print("\n".join(describe_findings(findings_BF[0], foundation.findings, thresholds_F)))
    print(f"round {round} of {workdir}")


def describe_answers(logits_C: np.ndarray, answers: Sequence[str], top: int) -> Iterator[str]:
    """Yields a line for each of the `top` most probable answers."""
    probabilities_C = np.asarray(jax.nn.softmax(logits_C))
    for answer in np.argsort(-probabilities_C)[:top]:
        yield f"{probabilities_C[answer]:6.1%}  {answers[answer]}"


def describe_written(
    foundation: Foundation, params: Params, batch: Batch, decoding: Decoding, top: int
) -> Iterator[str]:
    """Yields the answer that a model writes, then how likely it is to write those it was taught.

    Args:
      foundation: of the run; its model has a generator.
      params: of the model.
      batch: one example.
      decoding: how the model writes.
      top: how many of the taught answers are told, the likeliest first.
    """
    generator = foundation.model.generator
    if generator is None:
        raise ValueError("this model has an answer head and writes nothing")
    rank = dataclasses.replace(decoding, name="rank").make_decode(generator)
    probabilities_C = np.exp(jax.jit(rank)(params, batch)[0])
    likeliest = np.argsort(-probabilities_C)
    if decoding.name == "rank":
        answer = foundation.answers[likeliest[0]]
    else:
        ids_BA = jax.jit(decoding.make_decode(generator))(params, batch)
        answer = decoding.tokens.decode(ids_BA)[0]
    yield f"{decoding.name}: {answer}"
    for place in likeliest[:top]:
        yield f"{probabilities_C[place]:6.1%}  {foundation.answers[place]}"


def describe_findings(
    logits_F: np.ndarray, findings: Sequence[str], thresholds_F: np.ndarray
) -> Iterator[str]:
    """Yields a line for every finding, the most probable first."""
    probabilities_F = np.asarray(jax.nn.sigmoid(logits_F))
    for place in np.argsort(-probabilities_F, kind="stable"):
        is_present = probabilities_F[place] >= thresholds_F[place]
        verdict = "present" if is_present else "absent"
        yield f"{probabilities_F[place]:6.1%}  {verdict:<7}  {findings[place]}"


def read_thresholds(workdir: pathlib.Path, round: int, client: str) -> np.ndarray:
    """Reads from which probability on a finding counts as present.

    Args:
      workdir: of the run.
      round: whose record holds them.
      client: the hospital that chose them; "" for the mean of all that saw the finding.

    Returns:
      thresholds_F.

    Raises:
      ConfigError: for a client that chose none.
    """
    kept = record_files.read_records(workdir / "records.jsonl")
    (record,) = (each for each in kept if each.round == round)
    chosen = {each.client: each.thresholds for each in record.clients if each.thresholds}
    if client:
        if client not in chosen:
            raise ConfigError(f"--client={client!r} has no thresholds; choose {', '.join(chosen)}")
        return np.array(chosen[client])
    values_KF = np.array(list(chosen.values()))
    saw_KF = values_KF < findings_f1.NEVER
    total_F = np.where(saw_KF, values_KF, 0.0).sum(axis=0)
    return np.where(
        saw_KF.any(axis=0), total_F / np.maximum(saw_KF.sum(axis=0), 1), findings_f1.NEVER
    )


def read_image(path: pathlib.Path, frame: Canvas) -> tuple[np.ndarray, tuple[int, int]]:
    """Reads an image file.

    Args:
      path: of the file.
      frame: the canvas it is put on.

    Returns:
      As `images.place`.

    Raises:
      DataError: if the file is no image.
      FileNotFoundError: if there is no such file.
    """
    encoded = path.read_bytes()
    try:
        return decode_image(encoded, frame)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"--image={path} cannot be read as an image: {error}") from error


def read_example(
    foundation: Foundation, config: DataConfig, image: pathlib.Path, question: str
) -> Batch:
    """Makes a batch of one example, which asks for all that the model can tell.

    Args:
      foundation: of the run.
      config: of its data.
      image: file, as of `read_image`.
      question: what is asked about it.

    Returns:
      The batch.
    """
    frame = foundation.frame(config)
    canvas_HWC, size = read_image(image, frame)
    input_ids_BT, mask_BT = foundation.tokenizer.encode([question], config.question_length)
    findings = len(foundation.findings)
    return Batch(
        images_BHWC=canvas_HWC[None],
        input_ids_BT=input_ids_BT,
        attention_mask_BT=mask_BT,
        labels_B=np.zeros(1, np.int32),
        example_mask_B=np.ones(1, np.float32),
        targets_BF=np.zeros((1, findings), np.int8) if findings else None,
        image_size_B2=np.array([size], np.int32) if frame.keeps_aspect else None,
    )


if __name__ == "__main__":
    define_flags()
    _command_line.run(main)
