"""Inputs of a model's blocks and readout beside the hidden states."""

from typing import Any

from flax import struct


@struct.dataclass
class Context:
    """Inputs of the blocks of the selectable stack, and of the submodules after it.

    A family sets those that its selectable stack and later submodules use; the others are None.

    Attributes:
      attention_inputs: Attention inputs of the text blocks: the additive bias_B11T of an encoder,
        or those that a language model makes.
      mask_BT: 1 for the tokens of image and question, 0 for padding.
      text_BTD: Question without the image, where it is not the input of the blocks: its embeddings,
        or its states after a text encoder.
      image_BSD: States of the image encoder.
      image_index_B: int32, index of the first image token among those of the question.
      last_index_B: int32, index of the question's last token, the image's tokens included.
      words: Word embeddings of the language model, and its other tables of the input.
      answers: (ids_BA, mask_BA), target answers of training.
    """

    attention_inputs: Any
    mask_BT: Any = None
    text_BTD: Any = None
    image_BSD: Any = None
    image_index_B: Any = None
    last_index_B: Any = None
    words: Any = None
    answers: Any = None
