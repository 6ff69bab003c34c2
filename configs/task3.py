"""Task 3 of F³OCUS: MedVQA-FL, nine hospitals with one modality each; see medvqa_fl.py."""

import pathlib
import runpy

get_config = runpy.run_path(str(pathlib.Path(__file__).with_name("medvqa_fl.py")))["get_config"]
