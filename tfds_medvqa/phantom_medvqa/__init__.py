"""Phantoms of nine medical imaging modalities, drawn on the spot, with questions about them."""
