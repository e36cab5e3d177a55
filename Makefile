# Everything a developer or a CI machine calls. Each target sets itself up on a fresh clone.

PYTHON ?= python3
BIN := .venv/bin
# Small networks on shared cores are fastest with one thread; the library itself leaves torch's setting alone.
export OMP_NUM_THREADS ?= 1

EXPERIMENTS := experiments/foundation.toml experiments/mammography-paper.toml

.PHONY: demo test test-slow lint format results tables bench clean

demo: .venv/ready  ## train on embedded data, compare with simple detectors, leave a model and a picture in demo/
	$(BIN)/da3d demo -o demo

test: .venv/ready  ## the test suite, in a few minutes
	$(BIN)/python -m pytest -n 2

test-slow: .venv/ready  ## the checks that take more than a minute each
	$(BIN)/python -m pytest -m slow

lint: .venv/ready  ## style, types, and the layers of the architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

results: .venv/ready  ## measure again what docs/results.md shows (hours), then write its tables
	for file in $(EXPERIMENTS); do $(BIN)/da3d experiment run $$file --jobs 2 || exit; done
	$(MAKE) tables

tables: .venv/ready  ## write the tables of docs/results.md and README.md from the records
	for file in $(EXPERIMENTS); do $(BIN)/da3d experiment table $$file --into docs/results.md || exit; done
	$(BIN)/da3d experiment table experiments/foundation.toml --metric auc --into README.md

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

bench: .venv/ready  ## speed, as medians and spread
	$(BIN)/python benchmarks/startup.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache demo build dist
