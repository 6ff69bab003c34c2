"""Config files that come with the package: found by name, read without a command line."""

import difflib
import os
import pathlib
import runpy

import ml_collections

from f3ocus_jax.errors import ConfigError

PACKAGE = pathlib.Path(__file__).resolve().parents[1]


def names() -> list[str]:
    """Returns the names of the shipped config files, such as "phantom", in alphabetical order."""
    return sorted(path.stem for path in _folder().glob("[!_]*.py"))


def locate(config: str | os.PathLike[str]) -> str:
    """Returns a config as `FILE` or `FILE:VARIANT`.

    Args:
      config: Path of a config file or name of a shipped one, with or without a variant, as in
        "configs/phantom.py:tiny", "phantom" or "task1:real5_lntk".

    Raises:
      ConfigError: If there is neither such a file nor such a shipped config; lists the latter.
    """
    name, colon, variant = os.fspath(config).partition(":")
    if pathlib.Path(name).is_file():
        return os.fspath(config)
    if not (_folder() / f"{name}.py").is_file():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"{name!r} is neither a file nor a shipped config ({', '.join(names())}){hint}"
        )
    return f"{_folder() / name}.py{colon}{variant}"


def read(config: str | os.PathLike[str]) -> ml_collections.ConfigDict:
    """Returns the settings of a config file.

    Args:
      config: Path or shipped name, as of `locate`.

    Raises:
      ConfigError: If there is no such config, or if it has no such variant.
    """
    path, _, variant = locate(config).partition(":")
    get_config = runpy.run_path(path).get("get_config")
    if get_config is None:
        raise ConfigError(f"config {path} defines no function get_config")
    try:
        return get_config(variant) if variant else get_config()
    except ValueError as error:
        raise ConfigError(f"config {path}: {error}") from error


def _folder() -> pathlib.Path:
    """Returns configs/ of an installed package, or else that of the checkout."""
    installed = PACKAGE / "_configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"
