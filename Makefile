# Each target first makes .venv/ with the versions and hashes in requirements/cpu.lock. With EXTRAS=cuda or EXTRAS=tpu it
# uses the lock file for that accelerator.
PYTHON ?= python3
EXTRAS ?=
LOCK = requirements/$(or $(EXTRAS),cpu).lock
# Puts `python` and `dvc` from .venv/ first on the path, also for the stages that DVC starts.
IN_VENV = PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: help setup repro test test-all lint organism paper-trial lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

setup: .venv/ready  ## make .venv/ with every dependency; EXTRAS=cuda or EXTRAS=tpu installs JAX for that accelerator

.venv/ready: $(LOCK) pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed; name one with make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --require-hashes --requirement $(LOCK)
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch .venv/ready

repro: .venv/ready  ## run the pipeline: all stages that are missing or out of date
	$(IN_VENV) dvc repro

# The tests that are not for every change, by what makes them slow. tests/pipeline/test_end_to_end.py has no marker, so that
# the pipeline runs once.
SLOW = pipeline or processes or kill or browser or peer or compile

test: .venv/ready  ## run the fast tests and the pipeline once on a miniature: about 10 minutes
	$(IN_VENV) python -m pytest -m "not ($(SLOW))"

test-all: .venv/ready  ## run all tests
	$(IN_VENV) python -m pytest

lint: .venv/ready  ## check style and types
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	$(IN_VENV) mypy

# Runs in a clone, so that params.yaml and the outputs here do not change; downloads and resume state are shared.
organism: .venv/ready  ## train the bundled model organism again: an hour and a half on two cores; resumes if it was stopped
	rm -rf .candor/organism
	git clone --quiet . .candor/organism
	cp presets/organism.yaml .candor/organism/params.yaml
	cd .candor/organism && CANDOR_HOME="$(CURDIR)/.candor" $(IN_VENV) dvc repro
	$(IN_VENV) candor pack-organism .candor/organism

# Small values for presets/paper.yaml, with the bundled model and without Flan, which a hub folder does not hold.
TRIAL = hub=$(abspath $(HUB)) models=[smollm2-135m-instruct] instructions=[alpaca,dolly,metaicl_pools] suite.sums=8 \
  suite.surveyed=20 suite.per_task=1 prompt.count=2000 prompt.held_out_per_dataset=8 mix.rows=64 finetune.steps=4 \
  finetune.batch_size=8 finetune.keep_steps=[2] finetune.eval_steps=2 finetune.save_steps=2
HUB ?= $(CANDOR_TEST_HUB)

paper-trial: .venv/ready  ## run the paper's recipe on a few rows of the data sets in HUB, a local folder with the hub's layout
	@test -d "$(HUB)" || { echo "name a folder of data sets in the hub's layout: make paper-trial HUB=..."; exit 1; }
	rm -rf .candor/paper-trial
	git clone --quiet . .candor/paper-trial
	cp presets/paper.yaml .candor/paper-trial/params.yaml
	cd .candor/paper-trial && CANDOR_HOME="$(CURDIR)/.candor" $(IN_VENV) dvc exp run $(TRIAL:%=--set-param '%')

COMPILE = python -m uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
  --no-emit-index-url --no-header --extra dev

lock: .venv/ready  ## update the lock files from pyproject.toml
	$(IN_VENV) $(COMPILE) --output-file requirements/cpu.lock pyproject.toml
	$(IN_VENV) $(COMPILE) --extra cuda --constraint requirements/cpu.lock --output-file requirements/cuda.lock pyproject.toml
	$(IN_VENV) $(COMPILE) --extra tpu --constraint requirements/cpu.lock --output-file requirements/tpu.lock pyproject.toml

clean:  ## remove .venv/ and tool caches, but not outputs and downloads
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
