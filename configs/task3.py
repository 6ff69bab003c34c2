"""Task 3 of F³OCUS: MedVQA-FL, nine hospitals with one modality each; see configs/medvqa_fl.py."""

from configs.medvqa_fl import get_config

__all__ = ["get_config"]
