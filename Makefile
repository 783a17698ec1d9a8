# `make demo` and `make test` each make their own virtual environment: on a fresh machine with Python one of them is the only command needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PATHS := monai_fss tests bundles examples

.PHONY: demo test long fast lint label clean

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/monai-fss demo --output demo

lint: $(STAMP)
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/ruff check $(PATHS)
	$(BIN)/mypy monai_fss examples

# Two processes of one thread each: most tests keep a single core busy. A file's tests share fixtures, so they stay
# together, and files go in their order: the long ones, of commands and bundles, come first.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: lint
	$(TESTS) -m "not long"

# What `make test` shows with one example, with all: ONNX of every network.
long: $(STAMP)
	$(TESTS) -m long

# While you work: without the tests that train, register, or start interpreters, and without real scans.
fast: lint
	$(TESTS) -m "not slow and not real"

# MONAI Label needs older libraries than the package itself: an environment of its own, and the tests of a real server.
# sam2, which it asks for, is built by the PyTorch that is there: pip would fetch another one to build it, of gigabytes.
LABEL := .venv-label
LABEL_STAMP := $(LABEL)/.installed
APP := monai_fss/apps/label_app/template

$(LABEL_STAMP): setup.cfg pyproject.toml $(APP)/requirements.txt
	$(PYTHON) -m venv $(LABEL)
	$(LABEL)/bin/python -m pip install --quiet torch==2.13.0 setuptools wheel
	$(LABEL)/bin/python -m pip install --quiet --no-build-isolation --no-deps sam2==1.1.0
	$(LABEL)/bin/python -m pip install --quiet -r $(APP)/requirements.txt -e . pytest pytest-timeout dcmqi==1.5.7
	$(LABEL)/bin/python tests/label/torchvision_shim.py
	touch $(LABEL_STAMP)

label: $(LABEL_STAMP)
	PATH="$(CURDIR)/$(LABEL)/bin:$$PATH" OMP_NUM_THREADS=1 $(LABEL)/bin/python -m pytest -s tests/label

clean:
	rm -rf $(VENV) $(LABEL) build dist demo *.egg-info
