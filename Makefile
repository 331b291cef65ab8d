# Every target installs what it needs; a second call installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint format bench bench-data bench-eval lock clean

help:  ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(INSTALLED): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

setup: $(INSTALLED)  ## create .venv with the locked versions

demo: setup  ## render faces, train a recogniser on them, evaluate it; about 6 minutes on 2 cores
	@$(BIN)/python train.py experiment=arcface name=demo ckpt_path=last

test: setup  ## the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: setup  ## the tests that take under ten seconds each
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: setup  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup  ## let ruff rewrite the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup  ## the benchmarks, each a ratio in one run
	@for file in benchmarks/*.py; do $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; done

bench-data: setup  ## how fast images are loaded, against the usual loaders; about 5 minutes
	@$(BIN)/python -m benchmarks.data

bench-eval: setup  ## how long evaluation takes, against plain loops; about 6 minutes
	@$(BIN)/python -m benchmarks.evaluation

lock: setup  ## compute requirements.lock anew
	@$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--no-header --no-annotate --extra dev pyproject.toml --output-file requirements.lock

clean:  ## remove the environment and caches; runs/ and data/ stay
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
