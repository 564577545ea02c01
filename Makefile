# `make` alone lists the commands. PYTHON names the interpreter that the environment is made with.
PYTHON ?= python3
VENV := .venv
ORIGINAL := .venv-original
RUN := $(VENV)/bin/python
RUN_ORIGINAL := $(ORIGINAL)/bin/python
DEMO := tools/train.py configs/detection/mask_rcnn_casvit-xs_demo_shapes.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test long lint format setup-original test-original demo-original clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup:  ## make the environment .venv, or see that it is up to date
	@$(PYTHON) tools/install.py --venv $(VENV)

demo: setup  ## train Mask R-CNN with CAS-ViT on the generated data set
	$(RUN) $(DEMO)

test: setup  ## run the tests
	$(RUN) -m pytest -q --durations=10

long: setup  ## run the tests that take minutes, and show their figures
	$(RUN) -m pytest -m long -s --durations=0

lint: setup  ## check style and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: setup  ## bring the code into the format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

setup-original:
	@$(PYTHON) tools/install.py --venv $(ORIGINAL) --line original

test-original: setup-original  ## the tests and the demo on the original OpenMMLab line
	$(RUN_ORIGINAL) -m pytest -q --durations=10
	$(RUN_ORIGINAL) $(DEMO) --work-dir work_dirs/demo_original

demo-original: setup-original  ## the demo alone on the original OpenMMLab line
	$(RUN_ORIGINAL) $(DEMO) --work-dir work_dirs/demo_original

clean:  ## remove environments and builds; runs and checkpoints stay
	rm -rf $(VENV) $(ORIGINAL) build dist *.egg-info .pytest_cache .ruff_cache
