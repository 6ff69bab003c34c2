"""Compiled programs on disk: whose folder is used, when none is, and what is found there later."""

import errno
import grp
import pathlib
import pwd
import stat
import warnings

import jax
import numpy as np
import pytest
from jax import monitoring
from jax.experimental.compilation_cache import compilation_cache

from f3ocus_jax import _xla
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import experiment
from tests.helpers.configs import read_config, without_times

DISABLED = {"jax_enable_compilation_cache": False}


@pytest.fixture
def options(monkeypatch):
    """The options of JAX that would be set, in a process without the folder of the tests."""
    found = {}
    monkeypatch.setattr(_xla, "_configure", found.update)
    monkeypatch.delenv(_xla.CACHE_VARIABLE)
    return found


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder of a user whose cache folder is that of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "f3ocus_jax" / "programs"


def test_programs_are_kept_in_a_folder_that_only_its_user_can_read_and_write(own, options):
    _xla.keep_programs("")
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert options == {
        "jax_compilation_cache_dir": str(own),
        "jax_compilation_cache_max_size": _xla.MAX_CACHE_BYTES,
        "jax_persistent_cache_min_compile_time_secs": _xla.MIN_COMPILE_SECONDS,
    }


def test_another_folder_or_none_can_be_given(own, options, tmp_path):
    _xla.keep_programs(str(tmp_path / "other"))
    assert options["jax_compilation_cache_dir"] == str(tmp_path / "other")
    options.clear()
    _xla.keep_programs("off")
    assert options == DISABLED
    assert not own.exists()


def test_jax_s_own_variable_is_taken_as_it_is(own, options, monkeypatch, tmp_path):
    monkeypatch.setenv(_xla.CACHE_VARIABLE, str(tmp_path / "jax"))
    _xla.keep_programs("")
    assert options == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(own, options, mode, capsys):
    own.mkdir(parents=True)
    own.chmod(mode)
    with pytest.raises(ConfigError, match="others can write to it"):
        _xla.keep_programs(str(own))
    _xla.keep_programs("")
    assert "others can write to it" in capsys.readouterr().err
    assert options == {}


def test_a_folder_of_another_user_is_refused(own, options, monkeypatch, capsys):
    monkeypatch.setattr(_xla.os, "getuid", lambda: own.parent.parent.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        _xla.keep_programs(str(own))
    _xla.keep_programs("")
    assert "belongs to another user" in capsys.readouterr().err
    assert options == {}


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def no_locks(*_, **__):
    raise OSError(errno.ENOLCK, "No locks available")


def no_home(*_):
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize(
    ("owner", "function", "broken"),
    [
        (pathlib.Path, "mkdir", no_space),
        (pathlib.Path, "write_bytes", no_space),
        (_xla.fcntl, "flock", no_locks),
    ],
)
def test_a_home_that_cannot_be_used_is_announced_and_stops_nothing(
    own, options, monkeypatch, capsys, owner, function, broken
):
    monkeypatch.setattr(owner, function, broken)
    _xla.keep_programs("")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("compiled programs are not kept for later processes: [Errno")
    assert options == {}
    with pytest.raises(OSError, match="No "):
        _xla.keep_programs(str(own))


def no_name(*_):
    raise KeyError("getpwuid(): uid not found: 54321")


@pytest.mark.parametrize(("module", "function"), [(pwd, "getpwuid"), (grp, "getgrgid")])
def test_neither_does_a_user_without_a_name_whose_programs_jax_cannot_limit(
    own, options, monkeypatch, capsys, module, function
):
    monkeypatch.setattr(module, function, no_name)
    _xla.keep_programs("")
    assert "or group has no name: choose off, or set $JAX_" in capsys.readouterr().err
    assert options == {}


@pytest.mark.parametrize("relative", ["", "cache"])
def test_neither_does_a_user_without_a_home(options, monkeypatch, capsys, relative):
    monkeypatch.setenv("XDG_CACHE_HOME", relative)
    monkeypatch.setattr(pathlib.Path, "home", no_home)
    _xla.keep_programs("")
    assert "not kept for later processes: Could not determine" in capsys.readouterr().err
    assert options == {}


@pytest.fixture
def events(monkeypatch):
    """What JAX says of kept programs, in a process that keeps them where a test says."""
    said = []

    def listen(event, **_):
        said.append(event.removeprefix("/jax/compilation_cache/"))

    names = ("jax_compilation_cache_dir", "jax_compilation_cache_max_size")
    before = {name: getattr(jax.config, name) for name in (*names, *DISABLED)}
    monitoring.register_event_listener(listen)
    yield said
    monitoring.unregister_event_listener(listen)
    start_afresh(**before)


def start_afresh(**options):
    """Forgets compiled programs as a new process has none, and sets options of JAX."""
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    jax.clear_caches()


def compile_in(folder):
    """Compiles a function with the programs of a folder; returns what JAX warns of."""
    start_afresh(jax_compilation_cache_dir=str(folder), jax_compilation_cache_max_size=1 << 20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jax.jit(lambda values: values**5 + 2)(np.ones(3, np.float32))
    return [str(each.message) for each in caught]


def test_a_program_that_was_cut_as_it_was_written_is_made_again(tmp_path, options, events):
    assert compile_in(tmp_path) == []
    (program,) = tmp_path.glob(f"*{_xla.PROGRAM}")
    program.write_bytes(program.read_bytes()[:100])
    (last_use,) = tmp_path.glob(f"*{_xla.LAST_USE}")
    last_use.unlink()
    (other := tmp_path / f"other{_xla.PROGRAM}").touch()
    _xla.keep_programs(str(tmp_path))
    assert not program.exists()
    assert not other.exists()
    events.clear()
    assert compile_in(tmp_path) == []
    assert compile_in(tmp_path) == []
    assert events.count("cache_misses") == events.count("cache_hits") == 1


@pytest.mark.extended
def test_a_second_start_compiles_nothing_and_has_the_records_of_one_without_programs(
    tmp_path, data_dir, events
):
    config = read_config("tiny_last_k", data_dir)
    records = []
    for cached in (False, True, True):
        start_afresh(
            jax_enable_compilation_cache=cached, jax_compilation_cache_dir=str(tmp_path / "kept")
        )
        events.clear()
        workdir = tmp_path / f"run {len(records)}"
        found = experiment.run(config, workdir, with_figures=False)
        records.append(without_times(found))
        if len(records) == 2:
            assert events.count("cache_misses") > 0
    assert events.count("cache_misses") == 0
    assert events.count("cache_hits") == events.count("compile_requests_use_cache") > 0
    assert records[0] == records[1] == records[2]
