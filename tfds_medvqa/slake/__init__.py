"""SLAKE: questions about radiology images in English and Chinese."""
