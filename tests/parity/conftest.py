"""Leaves this folder out where torch, the extra `parity`, is not installed."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["*.py"]
