"""Sets four CPU devices before JAX loads, strict ranks, and where the real data is found."""

import atexit
import gc
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from tests.helpers.paths import REPOSITORY

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # read by JAX as it is imported
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers and commands inherit it
    # A font list in the home folder may be of an environment that is gone, and lack its fonts.
    os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="matplotlib")
    atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
    # Tests compile the same tiny programs often, and must not fill the folder of this user's runs.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled")
        atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax
import pytest

from f3ocus_jax import _xla

# Tests run tiny programs once, so compiling them is most of the time: without optimisations, by the
# older code generator, which takes half of the new one's time, and in one piece per program.
_xla.add_flags(
    ["--xla_force_host_platform_device_count=4", "--xla_backend_optimization_level=0"],
    of_affected=[
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    ],
)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files that take long first, so that no worker ends with one while the others idle."""
    long = [REPOSITORY / "tests" / folder for folder in ("commands", "federation")]
    items.sort(key=lambda item: not any(folder in item.path.parents for folder in long))


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder with the real medical images: $F3OCUS_DATA, or shared/data beside the checkout."""
    folder = pathlib.Path(os.environ.get("F3OCUS_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real medical images are absent: no folder {folder} (set F3OCUS_DATA)")
    return folder


@pytest.fixture(scope="session")
def real_builds(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the real images are built: `build` and `cache.load` do there only what is not done."""
    return tmp_path_factory.mktemp("real_builds")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of made-up datasets: what one test builds, the others find."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def full_precision() -> Iterator[None]:
    """Matrix products in float32, as torch's are: without it a GPU rounds their factors."""
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module", autouse=True)
def forget_compiled() -> Iterator[None]:
    """Frees compiled programs before they fill Linux's 65 530 memory mappings.

    Files that come later use what is left: tracing the same toy models again takes longer.
    """
    yield
    mappings = pathlib.Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
        gc.collect()
