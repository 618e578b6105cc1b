# Both commands work from a bare clone with Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Contention between OpenMP threads that spin ruins timings on small machines.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test check bench evidence decisions clean

demo: $(VENV)/.installed
	$(BIN)/persona-audit scan examples/demo.jsonl

# One thread each: two processes that share two cores gain nothing from more.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks

evidence: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m audit.demo.evidence

decisions: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m audit.demo.decisions

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
