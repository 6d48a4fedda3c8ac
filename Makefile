# `make serve`, `make train` and `make test` set up a fresh machine by themselves. Everything is
# installed into .venv, from lock files with a hash for every package.

VENV    := .venv
BIN     := $(VENV)/bin
LOCKS   := requirements
# Takes the first interpreter of a supported version; `make PYTHON=/path/to/python3.12 serve` overrides.
PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
             $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
             >/dev/null 2>&1 && command -v $$p && break; done)
INSTALL  = $(BIN)/python -m pip install --quiet --disable-pip-version-check
PROJECT  = $(INSTALL) --no-deps --no-build-isolation --editable .
SERVED  := --extra signatures --extra access --extra audit --extra postgresql --extra redis --extra slides --extra tracing
LOCK     = $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
             --no-annotate --custom-compile-command 'make lock' pyproject.toml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve sizing train model test test-fast test-exhaustive attack lint format doctor bench-access bench-gpu bench-serving bench-sizing bench-slides bench-study bench-trust bench-training sbom licences audit release lock lock-peers lock-clients clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/serve.stamp  ## run the service on http://127.0.0.1:8000 (settings: OSTEO_*)
	@exec $(BIN)/osteo serve

train: $(VENV)/train.stamp  ## install what osteo-train needs (TensorFlow), without the test tools
	@echo "Installed. Next: $(BIN)/osteo-train --help"

model: $(VENV)/train.stamp  ## train and release a bundle (OSTEO_DATA_DIR, OSTEO_WEIGHTS, OSTEO_FEATURE_TABLE; MODELS_DIR=...)
	@$(BIN)/osteo-train release $(if $(MODELS_DIR),--models-dir $(MODELS_DIR))

doctor: $(VENV)/serve.stamp  ## check the installation, the bundle and its golden tiles
	@$(BIN)/osteo doctor

# One worker per core, at most four, since each imports TensorFlow. The tests of one file run on one
# worker and share its fixtures; tests/conftest.py orders the files, the longest first. The pytest
# plugin of Schemathesis takes seconds to import in every process, and no test needs it. An empty
# PYTHONDONTWRITEBYTECODE lets Python keep what it compiles, as pytest does with its rewritten tests;
# otherwise every worker and every process that a test starts compiles the same files again.
PYTEST  := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --maxprocesses 4 \
             --dist loadfile --no-loadscope-reorder -p no:schemathesis

test: $(VENV)/dev.stamp  ## run the whole test suite
	@$(PYTEST)

test-fast: $(VENV)/dev.stamp  ## run the tests that need no server, TensorFlow or real tiles (a minute)
	@$(PYTEST) -m "not slow and not tensorflow and not real_tiles and not attack and not exhaustive"

test-exhaustive: $(VENV)/dev.stamp  ## run what takes long: enumerations, images, replaced replicas (10 minutes, 12 more for a first image gpu)
	@$(PYTEST) -m exhaustive

attack: $(VENV)/dev.stamp  ## send hostile input to a running service, show what each file cost (8 minutes at most)
	@timeout --signal=INT --kill-after=30s 8m $(BIN)/python -m pytest -n 0 -m attack tests/attacks

lint: $(VENV)/dev.stamp  ## check style, formatting, types and import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --num-workers 2
	@$(BIN)/lint-imports

format: $(VENV)/dev.stamp  ## apply ruff's fixes and formatting
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench-serving: $(VENV)/dev.stamp  ## benchmark the service and its peers, update docs/benchmarks.md (needs wrk)
	@$(BIN)/python -m benchmarks.serving --write-docs $(BENCH)

bench-access: $(VENV)/dev.stamp  ## benchmark access control and the audit, update docs/benchmarks.md
	@$(BIN)/python -m benchmarks.access --write-docs $(BENCH)

bench-sizing: $(VENV)/dev.stamp  ## measure what docs/sizing.md plans with on 1 and 2 cores, update it (4 minutes, root)
	@$(BIN)/python -m benchmarks.sizing measure --write-docs $(BENCH)

sizing: $(VENV)/serve.stamp  ## plan replicas, cores and memory: make sizing PLAN='--tiles-per-day 2000'
	@$(BIN)/python -m benchmarks.sizing plan $(PLAN)

bench-gpu: $(VENV)/dev.stamp  ## benchmark the GPU of this machine, update docs/gpu.md (needs wrk and requirements/gpu.lock)
	@$(BIN)/python -m benchmarks.gpu --write-docs $(BENCH)

bench-slides: $(VENV)/dev.stamp  ## benchmark whole slides from the command to the report, update docs/slides.md
	@$(BIN)/python -m benchmarks.slides --write-docs $(BENCH)

bench-study: $(VENV)/dev.stamp  ## benchmark cached features, update docs/study.md (needs OSTEO_WEIGHTS)
	@$(BIN)/python -m benchmarks.study --write-docs $(BENCH)

bench-trust: $(VENV)/dev.stamp  ## benchmark assessment and evidence maps, update docs/benchmarks.md
	@$(BIN)/python -m benchmarks.trust --write-docs $(BENCH)

bench-training: $(VENV)/dev.stamp  ## benchmark reading of tiles and memory, update docs/scale.md
	@$(BIN)/python -m benchmarks.training --write-docs $(BENCH)

sbom: $(VENV)/dev.stamp  ## write bills of materials to dist (OPTIONS="--image NAME")
	@$(BIN)/python -m deploy.release sbom $(OPTIONS)

licences: $(VENV)/dev.stamp  ## write the licences of what the images contain to dist
	@$(BIN)/python -m deploy.release licences $(OPTIONS)

audit: $(VENV)/dev.stamp  ## look the locked packages up in a database of vulnerabilities (needs the network)
	@$(BIN)/python -m deploy.release audit $(OPTIONS)

release: $(VENV)/dev.stamp  ## check a tag and build everything from it: TAG=v1.2.0 (docs/supply-chain.md)
	@$(BIN)/python -m deploy.release release $(or $(TAG),$(error Which tag? make release TAG=v1.2.0)) $(OPTIONS)

lock: $(VENV)/dev.stamp  ## update requirements/*.lock from pyproject.toml
	@$(LOCK) --upgrade --extra dev -o $(LOCKS)/dev.lock
	@$(LOCK) -c $(LOCKS)/dev.lock --extra build $(SERVED) -o $(LOCKS)/serve.lock
	@$(LOCK) -c $(LOCKS)/dev.lock --extra build $(SERVED) --extra train -o $(LOCKS)/train.lock
	@$(LOCK) -c $(LOCKS)/dev.lock --extra build $(SERVED) --extra gpu -o $(LOCKS)/gpu.lock

lock-peers: $(VENV)/dev.stamp  ## update the lock files of benchmarks/peers
	@for peer in benchmarks/peers/*/; do \
	  (cd $$peer && $(CURDIR)/$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes \
	    --python-version 3.11 --no-annotate --custom-compile-command 'make lock-peers' \
	    requirements.in -o requirements.lock) || exit 1; done

lock-clients: $(VENV)/dev.stamp  ## update the lock files of the tools that tests install (needs npm)
	@for folder in tests/clients/tools tests/access/oidc tests/api/slides/tus; do (cd "$$folder" && \
	  $(CURDIR)/$(BIN)/uv pip compile --quiet --upgrade --universal \
	  --generate-hashes --python-version 3.11 --no-annotate \
	  --custom-compile-command 'make lock-clients' requirements.in -o requirements.lock && \
	  npm install --package-lock-only) || exit 1; done
	@cd tests/deploy/kubernetes/tools && $(CURDIR)/$(BIN)/uv pip compile --quiet --upgrade --universal \
	  --generate-hashes --python-version 3.11 --no-annotate --no-deps \
	  --custom-compile-command 'make lock-clients' requirements.in -o requirements.lock && \
	  npm install --package-lock-only

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@if ! $(or $(PYTHON),false) -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then \
	  echo "osteo-tiles needs Python 3.11, 3.12 or 3.13 with venv and pip: install one (Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; fi
	@echo "Creating $(VENV) with $(PYTHON)" >&2
	@$(PYTHON) -m venv $(VENV)

# The pins of serve.lock are a subset of train.lock's, and those of dev.lock's. So a larger install
# that is already there is brought up to date instead.
$(VENV)/serve.stamp: $(LOCKS)/serve.lock pyproject.toml | $(VENV)/bin/python
	@if [ -e $(VENV)/dev.stamp ]; then \
	  $(MAKE) --no-print-directory $(VENV)/dev.stamp; \
	elif [ -e $(VENV)/train.stamp ]; then \
	  $(MAKE) --no-print-directory $(VENV)/train.stamp; \
	else \
	  echo "Installing the service into $(VENV) (once; about a minute)" >&2; \
	  $(INSTALL) --require-hashes -r $(LOCKS)/serve.lock && $(PROJECT); \
	fi
	@touch $@

$(VENV)/train.stamp: $(LOCKS)/train.lock pyproject.toml | $(VENV)/bin/python
	@if [ -e $(VENV)/dev.stamp ]; then \
	  $(MAKE) --no-print-directory $(VENV)/dev.stamp; \
	else \
	  echo "Installing TensorFlow and the training tools into $(VENV) (once; a few minutes)" >&2; \
	  $(INSTALL) --require-hashes -r $(LOCKS)/train.lock && $(PROJECT); \
	fi
	@touch $@ $(VENV)/serve.stamp

$(VENV)/dev.stamp: $(LOCKS)/dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing TensorFlow and the test tools into $(VENV) (once; a few minutes)" >&2
	@$(INSTALL) --require-hashes -r $(LOCKS)/dev.lock
	@$(PROJECT)
	@touch $@ $(VENV)/train.stamp $(VENV)/serve.stamp
