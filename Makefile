# Everything that is done with this repository from a shell; `make` alone lists it.
# Settings: PYTHON (a Python 3.11 or newer), VENV (the environment, made here), ARGS (for `run`),
# JOBS (processes that share the tests).

VENV ?= .venv
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
	done)
BIN := $(VENV)/bin
JOBS ?= 2
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile

# Modules are compiled at their first import, not one after the other by pip: let it be kept.
export PYTHONDONTWRITEBYTECODE =

# With two threads on two busy cores a small step takes 25 times as long as with one.
test quick faults test-cpus bench models: export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install run test quick faults test-cpus lint format conf bench models smollm2 wheel clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with everything that is needed here

# The stamp is younger than what it depends on, so that a second `make install` has nothing to do.
# Unpacking keeps one core busy, so that three go on side by side: torch, and two halves of the rest.
$(STAMP): pyproject.toml constraints.txt hashes.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer: name one, make PYTHON=..."; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "Debian: apt install python3-venv"; exit 1; }
	awk '/==/ { half = !half } { print > ("$(VENV)/half" half+0 ".txt") }' hashes.txt
	$(PIP) --no-deps -c constraints.txt torch & torch=$$!; \
	$(PIP) --no-deps --require-hashes -r $(VENV)/half0.txt & half=$$!; \
	$(PIP) --no-deps --require-hashes -r $(VENV)/half1.txt && wait $$half && wait $$torch
	$(PIP) -c constraints.txt -e ".[dev,sweep,slurm,gguf,solvers,lora]"
	@touch $@

run: install ## Run the embedded experiment (ARGS="method=pcgrad seed=1" changes it)
	$(BIN)/unlearn $(ARGS)

test: install ## Run every test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

quick: install ## Run the tests but the slow ones
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow and not faults"

faults: install ## Run the whole fault harness: a hundred kills, damaged files, bad input
	$(BIN)/python -m pytest tests/faults -n $(JOBS) --dist worksteal -m ""

test-cpus: install ## Run the tests that train as several kinds of CPU would, in both precisions
	$(BIN)/python tests/support/cpus.py -n $(JOBS) --dist loadfile

lint: install ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## Put the code into the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

conf: install ## Write what the parts declare into conf/ and the tables of docs/
	$(BIN)/python docs/conf_from_parts.py

bench: install ## Measure the start, a step and an evaluation; say what moved
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.step
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.baselines

models: install ## Try every architecture and write docs/models.md
	$(BIN)/python -m benchmarks.models --write

smollm2: install ## Fetch the pretrained SmolLM2-135M (93 MB) for model=smollm2_135m
	$(BIN)/python -m unlearn.models.fetch_smollm2

wheel: install ## Build the wheel into dist/
	$(BIN)/python -m build --outdir dist .

clean: ## Remove what builds and checks left behind (.venv and runs stay)
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +
