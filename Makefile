# `make demo` and `make test` set up everything they need; nothing else is required to start.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Ray's local clusters need no secrets and no telemetry here.
export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: demo test check docs format rehearse tiny-base benchmarks clean help

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
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not chaos'

check: $(STAMP) docs  ## lint, types, layering, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layering.py

docs: $(STAMP)  ## the documentation as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

rehearse: $(STAMP)  ## a cluster of three nodes on this machine, one of which dies (some ten minutes on two quiet cores)
	$(BIN)/python -m tests.rehearsal

format: $(STAMP)  ## apply the formatter
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The speech, an untrained model, shards, two stages of training, evaluation, and into the package.
TINY := runs/tiny-base
tiny-base: $(STAMP)  ## train the tiny base model of this package again (about an hour on two cores)
	$(BIN)/python -m asr_ray.testing.speech --out $(TINY)/speech --locales en-US,es-ES \
		--train 6000 --validation 60 --test 100 --seed 1 --workers 2
	$(BIN)/python -m asr_ray.testing.tiny_base --out $(TINY)/random.nemo --seed 1
	for split in train validation test; do \
		$(BIN)/python jobs/prepare.py --set tokenizer=$(TINY)/random.nemo --set out=$(TINY)/data/$$split \
			--set "corpora=[{path: $(TINY)/speech/*/$$split.jsonl, source: espeak}]" || exit; done
	$(BIN)/python jobs/train.py --config configs/runs/tiny-base.yaml
	$(BIN)/python jobs/train.py --config configs/runs/tiny-base-contexts.yaml
	$(BIN)/python jobs/evaluate.py --set "models={tiny: $(TINY)/contexts/best.nemo}" \
		--set data=$(TINY)/data/test --set out=$(TINY)/contexts/evaluation
	$(BIN)/python -m asr_ray.testing.tiny_base --adopt $(TINY)/contexts

benchmarks: $(STAMP)  ## the measurements of docs/benchmarks.md
	$(BIN)/python -m tests.benchmarks.loss
	$(BIN)/python -m tests.benchmarks.planning
	$(BIN)/python -m tests.benchmarks.loader
	$(BIN)/python -m tests.benchmarks.scoring
	$(BIN)/python -m tests.benchmarks.streaming

clean:  ## remove what the demo wrote
	rm -rf runs
