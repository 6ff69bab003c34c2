"""Differential privacy: clipping, noise, and the accountant that turns them into epsilon."""
