"""Flower as the engine: an app without code, its two halves, and the process of a site."""
