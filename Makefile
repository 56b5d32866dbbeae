# Two commands do everything on a fresh machine: `make benchmark` and `make test`. Both set up what they need.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
SUITE ?= mini
CORES ?= all
WORKERS ?= 2
TESTS ?= tests
# Folder of local archives and weights, for suites that read real data (SUITE=princeton).
DATA ?=

BIN := .venv/bin
PYTHON_FILES := workflow_scripts tests benchmarks
export PYTHONHASHSEED := 0

.PHONY: help .venv setup benchmark test lint format lock clean

help:
	@echo "make benchmark [SUITE=mini|nano|princeton] [DATA=folder]   run a suite and show its table"
	@echo "make test                                                 run the tests"
	@echo "make setup | lint | format | lock | clean"

# Does nothing where it was done with this lock file.
.venv:
	@envs/set_up "$(PYTHON)" .venv requirements.lock

setup: .venv
	@PYTHONPATH=workflow_scripts $(BIN)/python -m pointlift.rendering.preflight --install

benchmark: setup
	@$(BIN)/python workflow_scripts/run_benchmark.py --suite "$(SUITE)" --cores "$(CORES)" --data "$(DATA)"

test: setup
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) $(TESTS)

lint: .venv
	$(BIN)/ruff check $(PYTHON_FILES)
	$(BIN)/ruff format --check $(PYTHON_FILES)
	$(BIN)/mypy
	$(BIN)/snakefmt --check --compact-diff Snakefile rules
	$(BIN)/codespell
	$(BIN)/snakemake --lint --config suite=nano

format: .venv
	$(BIN)/ruff check --fix $(PYTHON_FILES)
	$(BIN)/ruff format $(PYTHON_FILES)
	$(BIN)/snakefmt Snakefile rules
	$(BIN)/python workflow_scripts/describe_settings.py docs/configuration.md

# The lock names packages, versions and hashes, never where they come from. Needs uv.
lock:
	uv pip compile pyproject.toml --extra develop --universal --python-version 3.11 --no-emit-index-url \
	  --no-annotate --no-header --generate-hashes -o requirements.lock

clean:
	rm -rf results .snakemake
