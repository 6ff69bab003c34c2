"""Packages of the wheel; all else is in pyproject.toml.

The wheel holds configs/ as f3ocus_jax/_configs, so that no top-level package `configs` is installed
beside a user's own.
"""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        *find_namespace_packages(include=["f3ocus_jax*", "tfds_medvqa*"]),
        "f3ocus_jax._configs",
    ],
    package_dir={"f3ocus_jax._configs": "configs"},
)
