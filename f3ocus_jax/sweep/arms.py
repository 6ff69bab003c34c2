"""Methods of a sweep with their own settings, named and ordered as the paper does."""

import dataclasses

REFERENCE = "f3ocus"
"""Method that the others are compared with."""

TITLES = {
    "fd": "FD",
    "last_k": "Last-k",
    "magnitude": "Magnitude",
    "fishmask": "FishMask",
    "gradflow": "GradFlow",
    "gradflow_preserve": "GradFlow (preserve)",
    "grasp": "GraSP",
    "snip": "SNIP",
    "rgn": "RGN",
    "synflow": "SynFlow",
    "fedselect": "FedSelect",
    "spt": "SPT",
    "lntk": "LNTK",
    "full": "Full",
    "adap": "Adap (all)",
    "feddat": "FedDAT",
    "ln": "LN",
    "lora": "LoRA",
    "bias": "Bias",
    "promptfl": "PromptFL",
    "f3ocus": "F³OCUS",
    "selective": "Selective (Sun et al.)",
    "fedhello_triangle": "Fed-HeLLo (triangle)",
    "fedhello_inverted_triangle": "Fed-HeLLo (inverted triangle)",
    "fedhello_bottleneck": "Fed-HeLLo (bottleneck)",
    "fedhello_uniform": "Fed-HeLLo (uniform)",
    "fedhello_random_bottleneck": "Fed-HeLLo (random bottleneck)",
    "fedhello_fisher": "Fed-HeLLo (Fisher)",
    "fednova": "FedNova",
    "scaffold": "SCAFFOLD",
}
"""Methods as the paper writes them, in its order, then those after the paper."""

PEFT = ("full", "adap", "feddat", "ln", "lora", "bias", "promptfl", "fednova", "scaffold")
"""Methods that train all layers, in a unit of their own."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """Method with the settings that differ from its config; what a row of a table holds."""

    method: str
    setting: str = ""

    @property
    def title(self) -> str:
        """Name in tables and figures."""
        name = TITLES.get(self.method, self.method)
        return f"{name} ({self.setting})" if self.setting else name

    @property
    def order(self) -> tuple[int, str, str]:
        """Key that sorts arms as the paper's tables do, others last."""
        known = list(TITLES)
        place = known.index(self.method) if self.method in known else len(known)
        return place, self.method, self.setting
