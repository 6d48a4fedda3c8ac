# Two commands do all set-up on a fresh machine: `make serve` and `make test`.
# Everything lands in .venv, from lock files that carry a hash for every package.

VENV    := .venv
BIN     := $(VENV)/bin
LOCKS   := requirements
# The first interpreter that is new enough wins; `make PYTHON=/path/to/python3.12 serve` overrides.
PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
             $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
             >/dev/null 2>&1 && command -v $$p && break; done)
INSTALL  = $(BIN)/python -m pip install --quiet --disable-pip-version-check
PROJECT  = $(INSTALL) --no-deps --no-build-isolation --editable .
LOCK     = $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
             --no-annotate --custom-compile-command 'make lock' pyproject.toml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test test-fast lint format lock lock-peers model doctor bench-serving bench-study bench-trust bench-training clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/serve.stamp  ## run the service on http://127.0.0.1:8000 (settings: OSTEO_*)
	@exec $(BIN)/osteo serve

# One worker a core, four at most (each imports TensorFlow); a file's tests stay together, with what they share.
PYTEST  := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test: $(VENV)/dev.stamp  ## run the whole test suite
	@$(PYTEST)

test-fast: $(VENV)/dev.stamp  ## run the tests that need neither TensorFlow nor real tiles
	@$(PYTEST) -m "not tensorflow and not real_tiles"

lint: $(VENV)/dev.stamp  ## ruff, formatting, mypy --strict, import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/dev.stamp  ## rewrite the code in the house's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

model: $(VENV)/dev.stamp  ## train and write a bundle (needs OSTEO_DATA_DIR, OSTEO_WEIGHTS; MODELS_DIR)
	@$(BIN)/osteo-train release $(if $(MODELS_DIR),--models-dir $(MODELS_DIR))

doctor: $(VENV)/serve.stamp  ## what is installed, which bundle, does it answer as released
	@$(BIN)/osteo doctor

bench-serving: $(VENV)/dev.stamp  ## measure the service against its peers and renew docs/benchmarks.md (needs wrk)
	@$(BIN)/python -m benchmarks.serving --write-docs $(BENCH)

bench-study: $(VENV)/dev.stamp  ## measure what cached features save a study, and renew docs/study.md (OSTEO_WEIGHTS)
	@$(BIN)/python -m benchmarks.study --write-docs $(BENCH)

bench-trust: $(VENV)/dev.stamp  ## measure what assessment and evidence maps add to one tile, and renew docs/benchmarks.md
	@$(BIN)/python -m benchmarks.trust --write-docs $(BENCH)

bench-training: $(VENV)/dev.stamp  ## measure how fast training reads tiles and what memory it takes, and renew docs/scale.md
	@$(BIN)/python -m benchmarks.training --write-docs $(BENCH)

lock: $(VENV)/dev.stamp  ## renew requirements/*.lock from pyproject.toml
	@$(LOCK) --upgrade --extra dev -o $(LOCKS)/dev.lock
	@$(LOCK) -c $(LOCKS)/dev.lock --extra build -o $(LOCKS)/serve.lock
	@$(LOCK) -c $(LOCKS)/dev.lock --extra build --extra train -o $(LOCKS)/train.lock
	@$(LOCK) -c $(LOCKS)/dev.lock --extra build --extra gpu -o $(LOCKS)/gpu.lock

lock-peers: $(VENV)/dev.stamp  ## renew the locks of benchmarks/peers
	@for peer in benchmarks/peers/*/; do \
	  (cd $$peer && $(CURDIR)/$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes \
	    --python-version 3.11 --no-annotate --custom-compile-command 'make lock-peers' \
	    requirements.in -o requirements.lock) || exit 1; done

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@if ! $(or $(PYTHON),false) -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then \
	  echo "osteo-tiles needs Python 3.11, 3.12 or 3.13 with venv and pip: install one (Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; fi
	@echo "Creating $(VENV) with $(PYTHON)" >&2
	@$(PYTHON) -m venv $(VENV)

# The serving pins are a subset of the development pins, so a development install also serves.
$(VENV)/serve.stamp: $(LOCKS)/serve.lock pyproject.toml | $(VENV)/bin/python
	@if [ -e $(VENV)/dev.stamp ]; then \
	  $(MAKE) --no-print-directory $(VENV)/dev.stamp; \
	else \
	  echo "Installing the service into $(VENV) (once; about a minute)" >&2; \
	  $(INSTALL) --require-hashes -r $(LOCKS)/serve.lock && $(PROJECT); \
	fi
	@touch $@

$(VENV)/dev.stamp: $(LOCKS)/dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing TensorFlow and the test tools into $(VENV) (once; a few minutes)" >&2
	@$(INSTALL) --require-hashes -r $(LOCKS)/dev.lock
	@$(PROJECT)
	@touch $@ $(VENV)/serve.stamp
