"""Sweeps: many federated runs over methods, families and seeds, and what they show together."""
