# Every target installs what it needs; a second call installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup ops demo test test-reference test-fast test-slurm lint format bench bench-data bench-eval bench-ops lock clean

help:  ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(INSTALLED): requirements.lock pyproject.toml setup.py $(wildcard src/ops/csrc/*)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --reinstall-package privface --editable .
	@test -f src/ops/_C.so || echo "operators not compiled, they run as plain PyTorch; make ops tells why"
	@touch $@

setup: $(INSTALLED)  ## create .venv with the locked versions, and compile the operators if there is a compiler

ops:  ## compile the operators anew; fails without a compiler
	@PRIVFACE_BUILD=1 $(MAKE) --no-print-directory --what-if=setup.py setup

demo: setup  ## render faces, train a recogniser on them, evaluate it; about 6 minutes on 2 cores
	@$(BIN)/python train.py experiment=arcface name=demo ckpt_path=last

test: setup  ## the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slurm"

test-reference: setup  ## what uses the operators, in plain PyTorch as without a compiler
	@PRIVFACE_OPS=reference $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" \
		tests/ops tests/losses tests/models tests/eval

test-fast: setup  ## the tests that take under ten seconds each
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slurm: setup  ## jobs on a real SLURM of one node, which this installs on Debian if it may
	@test -x /usr/sbin/slurmctld || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm; } > /dev/null || \
		echo "SLURM cannot be installed here: its tests are skipped"
	@$(BIN)/python -m pytest -m slurm tests/slurm

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

# Large outputs would otherwise be mapped and cleared by the system at every call, which costs more than computing them.
bench-ops: export MALLOC_MMAP_THRESHOLD_ = 4294967296
bench-ops: export MALLOC_TRIM_THRESHOLD_ = 8589934592
bench-ops: export MALLOC_TOP_PAD_ = 268435456
bench-ops: setup  ## how fast the operators are, against the usual formulation; one thread
	@$(BIN)/python -m benchmarks.ops

lock: setup  ## compute requirements.lock anew
	@$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--no-header --no-annotate --extra dev --extra slurm --extra sweep pyproject.toml --output-file requirements.lock

clean:  ## remove the environment and caches; runs/ and data/ stay
	rm -rf $(VENV) build src/ops/_C.so *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
