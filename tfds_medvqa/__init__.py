"""TFDS builders of the medical visual question answering datasets."""

from tfds_medvqa.common import interrupts

if interrupts.is_command("tfds_medvqa"):
    # Here, since a command imports large libraries before its first own line.
    interrupts.end_at_once(interrupts.ANEW)
