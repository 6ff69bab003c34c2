"""TFDS builders of the medical visual question answering datasets."""
