# make demo: train on the embedded digits and leave a checked int8 .tflite; make quick: tests of single modules, for the
# inner loop; make test: all tests; make slow: the long ones; make lint.
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo quick test slow lint clean

demo: $(VENV)/.base
	$(RUN) -m odn_keras.train --flagfile=flags/digits.txt --overwrite

# The model tests once more on the other backends: a backend is chosen once a process.
MODEL_TESTS := tests/networks/test_builder.py tests/networks/test_extraction.py tests/networks/test_normalization.py tests/growing/test_averaging.py tests/growing/test_checkpoint.py tests/growing/test_depth_growth.py tests/growing/test_distillation.py tests/growing/test_divergence.py tests/growing/test_growing_fit.py tests/growing/test_network_in_training.py tests/growing/test_optimally_deep_network.py tests/growing/test_optimizers.py tests/prune tests/utils/test_keras_backends.py -m "not slow and not one_backend"

# The files of tests are shared out among the cores, in the order of tests/conftest.py: the longest first.
PYTEST := $(RUN) -m pytest -n auto --dist=loadfile --no-loadscope-reorder

# What neither trains, converts nor starts a process.
QUICK_TESTS := tests/data tests/devices tests/networks/test_architectures.py tests/networks/test_cost.py tests/networks/test_memory_plan.py tests/growing/test_forecast.py tests/growing/test_growth_plan.py tests/growing/test_headline.py tests/growing/test_replay.py tests/growing/test_schedules.py tests/growing/test_snapshots.py tests/growing/test_stage.py tests/prune/test_groups.py tests/runs/test_growth_picture.py tests/runs/test_options.py tests/runs/test_output_folder.py tests/runs/report tests/runs/test_run_record.py tests/runs/test_verdict.py tests/deploy/tflite_file tests/deploy/chain/test_routing_picture.py tests/utils tests/test_files.py tests/test_build_file.py tests/test_folder_picture.py

quick: $(VENV)/.dev
	$(PYTEST) $(QUICK_TESTS) -m "not slow and not trains" $(ARGS)

test: $(VENV)/.dev
	$(PYTEST) $(ARGS)
	KERAS_BACKEND=jax $(PYTEST) $(MODEL_TESTS) $(ARGS)
	KERAS_BACKEND=torch $(PYTEST) $(MODEL_TESTS) $(ARGS)

slow: $(VENV)/.dev
	$(RUN) -m pytest -m slow $(ARGS)

lint: $(VENV)/.dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -e ".[tensorflow]"
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(RUN) -m pip install --quiet --disable-pip-version-check -e ".[tensorflow,jax,torch,qat,micro,serial,vela,dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
