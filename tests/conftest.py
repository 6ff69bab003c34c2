"""Sets four CPU devices before JAX loads, strict ranks, and where the real data is found."""

import os
import pathlib

FORCED_DEVICES = "--xla_force_host_platform_device_count=4"
if FORCED_DEVICES not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FORCED_DEVICES}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder with the real medical images: $F3OCUS_DATA, or shared/data beside the checkout."""
    folder = pathlib.Path(os.environ.get("F3OCUS_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real medical images are absent: no folder {folder} (set F3OCUS_DATA)")
    return folder
