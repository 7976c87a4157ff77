# `make demo` and `make test` set up everything they need; nothing else is required to start.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Ray's local clusters need no secrets and no telemetry here.
export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: demo test check format tiny-base benchmarks clean help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@bash .ci/preflight $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## fine-tune a tiny model on synthetic Greek and Bulgarian, then open runs/demo/evaluation/report.html
	@$(BIN)/python jobs/demo.py

test: $(STAMP)  ## all tests that run without a GPU
	$(BIN)/python -m pytest -m 'not slow'

check: $(STAMP)  ## lint, types, layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layering.py

format: $(STAMP)  ## apply the formatter
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tiny-base: $(STAMP)  ## train the tiny base model of this package again (about an hour on two cores)
	$(BIN)/python jobs/demo.py --config configs/tiny-base.yaml

benchmarks: $(STAMP)  ## the measurements of docs/benchmarks.md
	$(BIN)/python -m tests.benchmarks.loss

clean:  ## remove what the demo wrote
	rm -rf runs
