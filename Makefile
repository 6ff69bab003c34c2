# `make demo` and `make test` need Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-slow parity format clean

demo: $(VENV)/.installed
	$(RUN) -m f3ocus_jax.pretrain --config configs/pretrain.py --workdir runs/foundation
	$(RUN) -m f3ocus_jax.train --config configs/phantom.py --workdir runs/demo

test: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(RUN) -m pytest --numprocesses auto --dist loadfile

test-slow: $(VENV)/.installed
	$(RUN) -m pytest -m slow

parity: $(VENV)/.installed-parity
	$(RUN) -m pytest -m parity --numprocesses auto --dist loadfile tests/parity

format: $(VENV)/.installed
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) runs build *.egg-info

# requirements.lock pins the versions; what is installed is named in pyproject.toml.
$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint requirements.lock --editable ".[test]"
	touch $@

$(VENV)/.installed-parity: $(VENV)/.installed
	$(RUN) -m pip install --quiet --constraint requirements.lock --editable ".[test,parity]"
	touch $@
