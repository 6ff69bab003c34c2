"""Synthetic phantoms of nine medical imaging modalities, with questions about them."""
