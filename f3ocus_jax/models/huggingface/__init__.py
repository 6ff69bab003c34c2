"""Weights to and from Hugging Face directories."""
