"""How large is a BLIP, and which sizes are possible?"""

import dataclasses
from typing import ClassVar

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models.blip.config import GroundedConfig


@dataclasses.dataclass(frozen=True)
class BlipConfig(GroundedConfig):
    """Sizes of a BLIP for question answering.

    The defaults are those that transformers takes for what a config.json does not name. The sizes
    of the text encoder are those of the decoder, too.
    """

    NAME = "BLIP"
    STAGES: ClassVar[dict[str, str]] = {"text": "fusion", "vision": "vision"}

    selectable: str = "text"

    def __post_init__(self) -> None:
        super().__post_init__()
        # transformers makes the decoder look at states of the image's width, which are the text's.
        image, text = self.vision_config.hidden_size, self.text_config.hidden_size
        if image != text:
            allowed = f"text_config.hidden_size = {text}"
            raise ConfigError(f"BLIP vision_config.hidden_size = {image}, must be {allowed}")
