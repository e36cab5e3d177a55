# Everything a developer or a CI machine calls. Each target sets itself up on a fresh clone.

PYTHON ?= python3
BIN := .venv/bin
# Small networks on shared cores are fastest with one thread; the library itself leaves torch's setting alone.
export OMP_NUM_THREADS ?= 1

# Experiments by the budget that their files name; none is listed twice.
QUICK = $(shell grep -rl --include='*.toml' '^budget = "quick"' experiments | sort)
PAPER = $(shell grep -rl --include='*.toml' '^budget = "paper"' experiments | sort)
JOBS ?= 2

.PHONY: demo test test-slow lint format reproduce-quick reproduce-paper tables figures bench clean

demo: .venv/ready  ## train on embedded data, compare with simple detectors, leave a model and a picture in demo/
	$(BIN)/da3d demo -o demo

test: .venv/ready  ## the test suite, in a few minutes
	$(BIN)/python -m pytest -n 2

test-slow: .venv/all  ## the checks that take more than a minute each, and those that need the large extras
	$(BIN)/python -m pytest -m slow

lint: .venv/ready  ## style, types, and the layers of the architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reproduce-quick: .venv/ready  ## run every quick experiment (2 h 20 min on two idle cores, by the sum of its records), write all tables and figures
	@status=0; for file in $(QUICK); do $(BIN)/da3d experiment run $$file --jobs $(JOBS) || status=1; done; exit $$status
	$(MAKE) tables figures

reproduce-paper: .venv/ready  ## the same with the papers' budgets: days to weeks on two cores
	@status=0; for file in $(PAPER); do $(BIN)/da3d experiment run $$file --jobs $(JOBS) || status=1; done; exit $$status
	$(MAKE) tables figures

tables: .venv/ready  ## write the tables of docs/results.md and README.md from the records
	@for file in $(QUICK) $(PAPER); do \
		name=$$(basename $$file .toml); \
		grep -q "^<!-- table: $$name -->" docs/results.md || continue; \
		test -d results/$$name || continue; \
		$(BIN)/da3d experiment table $$file --into docs/results.md || exit; \
	done
	$(BIN)/da3d experiment table experiments/foundation.toml --metric auc --into README.md

figures: .venv/ready  ## draw the figures of all experiments that have records, into figures/
	@for file in $(QUICK) $(PAPER); do \
		test -d results/$$(basename $$file .toml) || continue; \
		$(BIN)/da3d experiment figures $$file -o figures || exit; \
	done

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

.venv/all: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,bench,ray]"
	touch $@

bench: .venv/all  ## speed, as medians and spread, into the tables of docs/performance.md (an hour on two idle cores)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/serve.py
	test -z "$$DA3D_DATA" || $(BIN)/python benchmarks/fit_budget.py --all-rows
	test -z "$$DA3D_DATA" || $(BIN)/python benchmarks/beside_pyod.py
	test -z "$$DA3D_DATA" || $(BIN)/python benchmarks/onnx_model.py
	$(BIN)/python benchmarks/common.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache demo build dist
