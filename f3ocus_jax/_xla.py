"""XLA flag that keeps jaxlib 0.10 from compiling some sums wrongly on CPUs, and compiled programs
that are kept from one process to the next.

jaxlib 0.10 hands a sum over the last axis of a product, whose other factor is broadcast along the
first axis, to YNNPACK as one fusion. The result is right in the first slice alone: the gradient of
a LayerNorm or an RMSNorm under `jax.vmap` is off by tens of per cent in arrays of half a million
numbers (it is right up to 280 000). The flag and the fusion exist for CPUs alone.

This module must not import JAX: `import f3ocus_jax` imports it.
"""

import fcntl
import functools
import importlib.metadata
import os
import pathlib
import stat
import sys
from collections.abc import Mapping, Sequence

from f3ocus_jax.errors import CompilerError, ConfigError
from tfds_medvqa.common.printable import printable

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
WITHOUT_SUMS = f"{FLAG}=-reduce"
"""Disables the fusion of sums and keeps those of matrix products, which are right and fast."""

CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""JAX's own variable for the folder of compiled programs."""

MAX_CACHE_BYTES = 1 << 30
"""Size of that folder beyond which the programs that were used longest ago are deleted.

JAX looks at every program of the folder when it adds one, 0.05 ms each: a larger folder would cost
more than it saves. The limit needs the package filelock, which huggingface_hub brings.
"""

MIN_COMPILE_SECONDS = 0.2
"""Time of compiling from which on a program is kept."""

PROGRAM, LAST_USE = "-cache", "-atime"
"""Ends of the names of JAX's two files of a program, of which it writes the second last."""

LOCK = ".lockfile"
"""Name of the file that JAX locks while it reads or writes a program."""


def set_flags() -> None:
    """Disables the fusion of sums on CPUs; has an effect until JAX first uses a device."""
    add_flags([], of_affected=[WITHOUT_SUMS])


def add_flags(flags: Sequence[str], *, of_affected: Sequence[str]) -> None:
    """Adds flags to the environment variable `XLA_FLAGS`, except those that it already sets.

    Args:
      flags: Flags such as "--xla_backend_optimization_level=0".
      of_affected: Flags for jaxlib 0.10 alone. Other versions may not know them, and an unknown
        flag ends the program.
    """
    affected = importlib.metadata.version("jaxlib").startswith("0.10.")
    for flag in [*flags, *(of_affected if affected else ())]:
        given = os.environ.get("XLA_FLAGS", "")
        if flag.partition("=")[0] not in given:
            os.environ["XLA_FLAGS"] = f"{given} {flag}".strip()


def keep_programs(folder: str) -> None:
    """Makes JAX keep compiled programs in a folder, for this process and later ones.

    Whoever can write there can make this user run any program: nobody else may. Without a folder
    of this user's own that can be used, one line says why, and no program is kept.

    Args:
      folder: Folder, made if absent; "" for that of `$JAX_COMPILATION_CACHE_DIR`, or else one of
        this user's own; "off" to keep none.

    Raises:
      ConfigError: If a folder that is given belongs to another user or to one without a name, or
        others can write to it.
      OSError: If it cannot be made or written to.
    """
    if folder == "off":
        _configure({"jax_enable_compilation_cache": False})
    elif folder:
        _keep_in(pathlib.Path(folder).expanduser().absolute())
    elif not os.environ.get(CACHE_VARIABLE):
        try:
            _keep_in(own_folder())
        except (ConfigError, OSError, RuntimeError) as error:  # the last without any home
            line = f"compiled programs are not kept for later processes: {error}"
            print(printable(line), file=sys.stderr, flush=True)


def _keep_in(path: pathlib.Path) -> None:
    """Makes JAX keep programs in a folder that is this user's alone."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"--compilation_cache: {path} belongs to another user, or others can write to it, and "
            "programs that are kept there are run: choose a folder of your own, or off"
        )
    _check_names(path)
    _delete_partial_programs(path)
    _configure(
        {
            CACHE_VARIABLE.lower(): str(path),
            "jax_compilation_cache_max_size": MAX_CACHE_BYTES,
            "jax_persistent_cache_min_compile_time_secs": MIN_COMPILE_SECONDS,
        }
    )


def _check_names(path: pathlib.Path) -> None:
    """Raises ConfigError without names of user and group, which JAX looks up to limit a folder."""
    try:
        path.owner(), path.group()
    except KeyError as error:
        raise ConfigError(
            f"--compilation_cache: JAX cannot limit the size of {path}, as the number of its owner "
            f"or group has no name: choose off, or set ${CACHE_VARIABLE}, which has no limit"
        ) from error


def _delete_partial_programs(path: pathlib.Path) -> None:
    """Deletes what processes left that were killed, or found the disk full, while they wrote.

    JAX would read such a program in vain each time, and could not delete any old one beside it.

    Raises:
      OSError: If nothing can be written or locked there; JAX would warn of every program.
    """
    probe = path / f".writable-{os.getpid()}"
    try:
        probe.write_bytes(bytes(4096))
    finally:
        probe.unlink(missing_ok=True)
    with (path / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # Another process is at work, and has looked before.
            return
        names = set(os.listdir(path))
        for name in names:
            if name.endswith(PROGRAM) and name.removesuffix(PROGRAM) + LAST_USE not in names:
                (path / name).unlink()


def _configure(options: Mapping[str, str | float | bool]) -> None:
    """Sets options of JAX for this process, which may not have imported it, and its children."""
    for name, value in options.items():
        os.environ[name.upper()] = str(value)
        if "jax" in sys.modules:
            sys.modules["jax"].config.update(name, value)


def own_folder() -> pathlib.Path:
    """Returns the folder of this user's compiled programs.

    Raises:
      RuntimeError: If this user has no home.
    """
    given = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    root = given if given.is_absolute() else pathlib.Path.home() / ".cache"
    return root / "f3ocus_jax" / "programs"


@functools.cache
def check() -> None:
    """Compares a compiled gradient that is known to be affected with the one in NumPy.

    Raises:
      CompilerError: If they differ.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    def normalised(x: jax.Array) -> jax.Array:
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5)

    @jax.jit
    def gradients(x: jax.Array, cotangents: jax.Array) -> jax.Array:
        return jax.vmap(lambda one: jax.vjp(normalised, x)[1](one)[0])(cotangents)

    draw = np.random.default_rng(0)
    x = draw.standard_normal((16, 17, 64), np.float32)
    cotangents = draw.standard_normal((32, *x.shape), np.float32)
    scale = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5)
    right = scale * (cotangents - scale**2 * x * (x * cotangents).mean(axis=-1, keepdims=True))
    worst = np.abs(np.asarray(gradients(x, cotangents)) - right).max()
    if not worst < 1e-3:
        raise CompilerError(
            f"this compiler's gradients are wrong by {float(worst):.2g}: set XLA_FLAGS="
            f"{WITHOUT_SUMS} before Python starts, or import f3ocus_jax before JAX is used"
        )
