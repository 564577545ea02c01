# `make` alone lists the commands. PYTHON names the interpreter that creates the environment; ARGS are
# options of set-up, for every command: make demo ARGS=--cpu-ops.
PYTHON ?= python3
ARGS ?=
VENV := .venv
ORIGINAL := .venv-original
RUN := $(VENV)/bin/python
RUN_ORIGINAL := $(ORIGINAL)/bin/python
# Only set-up itself ends with the command to type next.
HINT := $(if $(filter-out setup setup-original,$(MAKECMDGOALS)),--no-hint)
DEMO := tools/train.py configs/detection/mask_rcnn_casvit-xs_demo_shapes.py
# Test files are distributed over one process per core; each takes a gigabyte or two.
TESTS := -m pytest -q -n logical --maxprocesses 4 --dist loadfile --durations=10
BENCH := $(RUN) tools/bench.py
# Folder that `make bench` writes to, and the precisions of its inference measurements.
SPEED ?= work_dirs/speed
PRECISION ?= fp32 bf16
MASK_RCNN := mask_rcnn_casvit-m_fpn_1x_coco
MODELS := retinanet_casvit-m_fpn_1x_coco $(MASK_RCNN) semantic_fpn_casvit-m_40k_ade20k-512x512
SPEED_RECORDS := $(addprefix $(SPEED)/,$(addsuffix .json,\
	inference training training_bf16 models models_training peers area batch))

# Folder that `make deploy` writes to, and the demos that it exports.
FORMATS ?= work_dirs/formats
FORMAT_RECORDS := $(addprefix $(FORMATS)/,$(addsuffix .json,mask_rcnn_casvit-xs_demo_shapes \
	retinanet_casvit-xs_demo_shapes semantic_fpn_casvit-xs_demo_shapes casvit-xs_demo_shapes))

.DEFAULT_GOAL := help
.PHONY: help setup demo test long security reliability bench traffic deploy heads index lint format setup-original test-original demo-original clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup:  ## create the environment .venv, or check that it is up to date
	@$(PYTHON) tools/install.py --venv $(VENV) $(HINT) $(ARGS)

demo: setup  ## train Mask R-CNN with CAS-ViT on the generated dataset
	$(RUN) $(DEMO) --overwrite

test: setup  ## run the tests
	$(RUN) $(TESTS)

long: setup  ## run the tests that take minutes, and show their results
	$(RUN) -m pytest -m long -s --durations=0

security: setup  ## try hostile and damaged files at everything that reads weights or datasets
	$(RUN) -m pytest -q -m "long or not long" tests/test_models/test_checkpoint \
		$(wildcard tests/test_engine/test_resume/*.py tests/*/test_hostile_*.py)

reliability: setup  ## kill runs and take hosts away from them, and resume
	$(RUN) -m pytest -q -m "long or not long" tests/test_engine/test_exact \
		tests/test_engine/test_resume tests/test_engine/test_full_disk.py \
		tests/test_runs/test_two_processes.py tests/test_runs/test_long_hosts.py \
		tests/test_runs/test_long_slurm.py

bench: setup  ## run all measurements of the page on speed, in an hour and a quarter
	$(BENCH) --variants reference fused compiled --precision $(PRECISION) --seconds 1 \
		--out $(SPEED)/inference.json
	$(BENCH) --mode training --turns 5 --seconds 1.5 --out $(SPEED)/training.json
	$(BENCH) --mode training --variants reference eager folded --precision bf16 \
		--turns 5 --seconds 1.5 --out $(SPEED)/training_bf16.json
	$(BENCH) --sizes xs s m t --variants fused static --peers --turns 5 --seconds 0.4 \
		--out $(SPEED)/peers.json
	$(BENCH) --sizes xs m --variants fused --image-size 256 512 1024 2048 \
		--turns 3 --seconds 0.5 --out $(SPEED)/area.json
	$(BENCH) --sizes xs m --variants fused --image-size 256 --batch-size 1 2 4 8 16 32 \
		--turns 3 --seconds 0.5 --out $(SPEED)/batch.json
	$(BENCH) --configs $(MASK_RCNN) --mode training --variants reference eager folded \
		--turns 3 --seconds 3 --out $(SPEED)/models_training.json
	$(BENCH) --configs $(MODELS) --turns 5 --seconds 2 --out $(SPEED)/models.json
	$(BENCH) --page $(SPEED)/speed.md --records $(SPEED_RECORDS)

traffic: setup  ## measure what machines send each other in a step, and how fast shards are read
	$(RUN) -m pytest -m long -s tests/test_benchmark/test_long_traffic.py \
		tests/test_datasets/test_shards/test_long_loading.py

deploy: setup $(FORMAT_RECORDS)  ## train the demos, and measure them in all formats, in an hour and a half
	$(BENCH) --page $(FORMATS)/deploy_tables.md --records $(FORMAT_RECORDS)

# The classifier's pipeline does not resize images. What has been trained or measured is kept: remove
# the folder to start again.
$(FORMATS)/%.json: $(FORMATS)/%/trained
	$(BENCH) --formats --evaluate --precision fp32 fp16 --configs $* --checkpoint $(<D)/$$(cat $(<D)/last_checkpoint) \
		$(if $(filter casvit-%,$*),--image-size 64) --out $@

.PRECIOUS: $(FORMATS)/%/trained
$(FORMATS)/%/trained:
	$(RUN) -m casvit train $* --resume --work-dir $(@D)
	touch $@

heads: setup  ## try the heads of mmdet and mmseg with CAS-ViT, and write docs/heads.md
	$(RUN) tools/heads.py

index: setup  ## write the list of published models, in OpenMMLab's format
	$(RUN) tools/model_index.py

lint: setup  ## check style, formatting and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: setup  ## format the code
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

setup-original:
	@$(PYTHON) tools/install.py --venv $(ORIGINAL) --line original $(HINT) $(ARGS)

test-original: setup-original  ## run the tests and the demo on the original OpenMMLab line
	$(RUN_ORIGINAL) $(TESTS)
	$(RUN_ORIGINAL) $(DEMO) --overwrite --work-dir work_dirs/demo_original

demo-original: setup-original  ## run only the demo on the original OpenMMLab line
	$(RUN_ORIGINAL) $(DEMO) --overwrite --work-dir work_dirs/demo_original

clean:  ## remove environments and builds, but keep runs and checkpoints
	rm -rf $(VENV) $(ORIGINAL) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
