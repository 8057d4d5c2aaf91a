# Everything in a virtual environment of this folder; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all soak lint
unexport PYTHONDONTWRITEBYTECODE  # the tests' many processes would all compile cohort and themselves

demo: .venv/installed  ## Train four students of 100 digits that teach each other, and the same four alone.
	$(BIN)/python scripts/launch_cohort.py --k 4 --train-subset 100 --batch-size 20 --epochs 100 --eval-every 100 --baseline

# Other plugins, which came with libraries, would only be imported, by each process of the tests.
PLUGINS = --disable-plugin-autoload -p xdist -p pytest_timeout
PYTEST = $(BIN)/python -m pytest $(PLUGINS) --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: .venv/installed  ## All tests but the slow ones; those that need a GPU or CIFAR-100 skip where there is none.
	$(PYTEST)

test-all: .venv/installed  ## Those too that start many processes, and have a quicker sibling.
	$(PYTEST) -m ""

soak: .venv/installed  ## Cohorts with a node cut off, if root and ip are there, and 25 runs with a fault each; minutes.
	$(BIN)/python -m pytest -m slow tests/faults/test_node_cut_off.py
	$(BIN)/python -m tests.faults.soak

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("cohort needs Python 3.11 or newer; try make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@
