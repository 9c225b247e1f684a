# `make quickstart` runs the main job, `make test` passes the tests; both create what they need in .venv.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: quickstart lint fast test docs test-latest clean evidence evidence-ablation evidence-algorithms evidence-audit evidence-base
.PHONY: evidence-cuda evidence-quickstart evidence-report evidence-resume evidence-stages evidence-statistics

quickstart: .venv/installed
	$(BIN)/groundrl train quickstart --overwrite

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Before each commit: all but the tests that are marked slow.
fast: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --dist loadfile -m "not slow"

# The site, in build/site: strict, so that a link without a target fails. It needs no network.
docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

test: lint docs
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --dist loadfile

# The newest versions that the ranges of pyproject.toml allow, in an environment of its own; torch is the pinned one
# unless TORCH="torch" is given.
TORCH ?= $(shell grep '^torch==' constraints.txt)
test-latest:
	test -x .venv-latest/bin/python || $(PYTHON) -m venv .venv-latest
	.venv-latest/bin/pip install --quiet "$(TORCH)"
	.venv-latest/bin/pip install --quiet --upgrade --upgrade-strategy eager "$(TORCH)" --editable ".[dev,docs]"
	OMP_NUM_THREADS=1 .venv-latest/bin/pytest --numprocesses logical --dist loadfile

evidence: evidence-base evidence-quickstart evidence-audit evidence-report evidence-algorithms evidence-resume
evidence: evidence-stages evidence-statistics evidence-ablation

evidence-base: .venv/installed
	$(BIN)/python -m evidence.base

evidence-quickstart: .venv/installed
	$(BIN)/python -m evidence.quickstart

evidence-audit: .venv/installed
	$(BIN)/python -m evidence.audit

evidence-report: .venv/installed
	$(BIN)/python -m evidence.report

evidence-algorithms: .venv/installed
	$(BIN)/python -m evidence.algorithms

evidence-resume: .venv/installed
	$(BIN)/python -m evidence.resume

evidence-cuda: .venv/installed
	$(BIN)/python -m evidence.cuda

evidence-stages: .venv/installed
	$(BIN)/python -m evidence.stages

evidence-statistics: .venv/installed
	$(BIN)/python -m evidence.statistics

# 8 seeds: half an hour on two cores. It goes on where it was.
evidence-ablation: .venv/installed
	$(BIN)/groundrl sweep ablation name=ablation-8 seeds=8 --processes 2 --runs runs/evidence
	cp runs/evidence/ablation-8/ablation.md evidence/results/ablation.md
	cp runs/evidence/ablation-8/results.parquet evidence/results/ablation.parquet
	cp runs/evidence/ablation-8/ablation.png docs/pictures/ablation.png

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch first and by its exact version: pip then takes the CPU build where one is offered, and nothing replaces it.
.venv/torch: .venv/bin/python constraints.txt
	$(BIN)/pip install --quiet "$$(grep '^torch==' constraints.txt)"
	touch $@

.venv/installed: .venv/torch pyproject.toml
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev,docs]"
	touch $@

clean:
	rm -rf .venv .venv-latest build *.egg-info
