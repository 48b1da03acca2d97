PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
# Two test workers share two cores: torch keeps to one thread in each.
PYTEST := OMP_NUM_THREADS=1 MLFLOW_DISABLE_TELEMETRY=true $(BIN)/pytest

.DEFAULT_GOAL := help
.PHONY: help demo test soak check simulate lint format constraints clean

help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.installed  ## Run the quickstart study, print its table, write its report
	@$(BIN)/ablate run quickstart --fuse auto --no-report
	@$(BIN)/ablate report quickstart

test: lint  ## Lint, types and the quick tests
	@$(PYTEST) -m "not soak" -n 2

soak: $(VENV)/.installed-dev  ## The long tests: kills, servers, a browser, a fresh installation
	@$(PYTEST) -m soak --timeout 1200 || { code=$$?; test $$code -eq 5 || exit $$code; }

check: test  ## Everything that .ci/run runs
	@$(MAKE) --no-print-directory soak

simulate: $(VENV)/.installed-dev  ## Prove the statistics by simulation; rewrites docs/statistics.md
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.simulate

lint: $(VENV)/.installed-dev  ## ruff and mypy --strict
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary

format: $(VENV)/.installed-dev  ## Rewrite the code as ruff wants it
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

constraints: $(VENV)/.installed-dev  ## Pin what .venv holds now in constraints.txt
	@sed -n '/^#/p' constraints.txt > constraints.new
	@$(BIN)/python -m pip freeze --exclude ablations 2>/dev/null | sed 's/+cpu$$//' | LC_ALL=C sort -f >> constraints.new
	@mv constraints.new constraints.txt

clean:  ## Remove .venv, caches and builds; runs/ and reports/ stay
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	@find ablations tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'ablations needs Python 3.11 or newer: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@[ -d $(VENV) ] && echo 'updating $(VENV)' || echo 'creating $(VENV) (about two minutes)'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo 'adding the test tools to $(VENV)'
	@$(PIP) -e '.[dev]'
	@touch $@
