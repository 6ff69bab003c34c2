"""Measurement of a model on the clients' test splits."""
