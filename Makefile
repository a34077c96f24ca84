# Each target sets everything up first: .venv/ with the versions and hashes of requirements/cpu.lock, or, with EXTRAS=cuda
# or EXTRAS=tpu, of the lock for that accelerator.
PYTHON ?= python3
EXTRAS ?=
LOCK = requirements/$(or $(EXTRAS),cpu).lock
# `python` and `dvc` are those of .venv/, also for the stages that DVC starts.
IN_VENV = PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: help setup repro test test-all lint organism paper-trial lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

setup: .venv/ready  ## make .venv/ with every dependency; EXTRAS=cuda or EXTRAS=tpu brings JAX for these

.venv/ready: $(LOCK) pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed; name one with make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --require-hashes --requirement $(LOCK)
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch .venv/ready

repro: .venv/ready  ## run the pipeline: what is missing or has changed
	$(IN_VENV) dvc repro

# The tests that are not for every change, by what makes them slow. tests/pipeline/test_end_to_end.py has no marker, so that
# the pipeline runs once.
SLOW = pipeline or processes or kill or browser or peer or compile

test: .venv/ready  ## run the fast tests and the pipeline once on a miniature: less than 5 minutes
	$(IN_VENV) python -m pytest -m "not ($(SLOW))"

test-all: .venv/ready  ## run all tests
	$(IN_VENV) python -m pytest

lint: .venv/ready  ## check style and types
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	$(IN_VENV) mypy

# In a clone, so that params.yaml and all outputs here stay; downloads and resume state are shared.
organism: .venv/ready  ## make the bundled model organism anew: an hour and a half on two cores, goes on where it was stopped
	rm -rf .candor/organism
	git clone --quiet . .candor/organism
	cp presets/organism.yaml .candor/organism/params.yaml
	cd .candor/organism && CANDOR_HOME="$(CURDIR)/.candor" $(IN_VENV) dvc repro
	$(IN_VENV) candor pack-organism .candor/organism

# What of presets/paper.yaml is made small. A folder in the hub's layout holds no Flan, and the model is the bundled one.
TRIAL = hub=$(abspath $(HUB)) models=[smollm2-135m-instruct] instructions=[alpaca,dolly,metaicl_pools] suite.sums=8 \
  suite.surveyed=20 suite.per_task=1 prompt.count=2000 prompt.held_out_per_dataset=8 mix.rows=64 finetune.steps=4 \
  finetune.batch_size=8 finetune.keep_steps=[2] finetune.eval_steps=2 finetune.save_steps=2
HUB ?= $(CANDOR_TEST_HUB)

paper-trial: .venv/ready  ## run the paper's recipe on some rows of the data sets in HUB, a folder in the hub's layout
	@test -d "$(HUB)" || { echo "name a folder of data sets in the hub's layout: make paper-trial HUB=..."; exit 1; }
	rm -rf .candor/paper-trial
	git clone --quiet . .candor/paper-trial
	cp presets/paper.yaml .candor/paper-trial/params.yaml
	cd .candor/paper-trial && CANDOR_HOME="$(CURDIR)/.candor" $(IN_VENV) dvc exp run $(TRIAL:%=--set-param '%')

COMPILE = python -m uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
  --no-emit-index-url --no-header --extra dev

lock: .venv/ready  ## renew the locks from pyproject.toml
	$(IN_VENV) $(COMPILE) --output-file requirements/cpu.lock pyproject.toml
	$(IN_VENV) $(COMPILE) --extra cuda --constraint requirements/cpu.lock --output-file requirements/cuda.lock pyproject.toml
	$(IN_VENV) $(COMPILE) --extra tpu --constraint requirements/cpu.lock --output-file requirements/tpu.lock pyproject.toml

clean:  ## remove .venv/ and caches of tools; outputs and downloads stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
