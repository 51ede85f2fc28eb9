# Each line below is one that anyone could type.

PYTHON ?= python3
BIN := .venv/bin
N_PROCESSES ?= 2
# Where torch comes from. Its CPU build is enough and spares gigabytes; for a CUDA build:
#   make .venv TORCH_INDEX=https://pypi.org/simple
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# Everything that is only kept to be quick the next time lies in .cache: compiled kernels, fonts, findings.
export NUMBA_CACHE_DIR := $(CURDIR)/.cache/numba
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.cache/hypothesis
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint test-only format bench image peers clean

help:
	@echo "make demo    install, make a virtual cohort, run both levels, tell where the reports are"
	@echo "make test    install, then style, types, import contracts and all tests"
	@echo "make lint    style, types and import contracts only"
	@echo "make format  let ruff write the style"
	@echo "make bench   measure everything again and fill the figures in; the machine should be idle"
	@echo "make peers   install the registration tools that python -m benchmark.peers runs beside ours, in .peers"
	@echo "make image   build the container image with Docker; without: container/without-docker.sh build"
	@echo "make clean   remove the environment, the demo and all caches"

.venv: pyproject.toml constraints.txt version
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo "Python 3.11 or 3.12 is needed, got: $$($(PYTHON) --version 2>&1). Name one that you have: make demo PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "Python's venv is needed to install anything. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-deps --retries 1 --index-url $(TORCH_INDEX) $$(grep '^torch==' constraints.txt) || \
	  echo "No torch from $(TORCH_INDEX): the next line takes the one that pip finds elsewhere."
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch .venv

demo: .venv
	rm -rf demo
	$(BIN)/python -m bidsapp.demo cohort demo/bids
	$(BIN)/python run.py demo/bids demo/out participant --nprocs $(N_PROCESSES)
	$(BIN)/python run.py demo/bids demo/out group
	@echo
	@echo "The virtual cohort is in demo/bids, the results are in demo/out. Open in a browser:"
	@ls $(CURDIR)/demo/out/*.html | sed 's|^|  file://|'

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy bidsapp benchmark
	$(BIN)/lint-imports

test-only: .venv
	$(BIN)/python -m pytest -n $(N_PROCESSES) --dist worksteal

test: lint test-only

format: .venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

image:
	docker build --tag metsatlas --build-arg VERSION=$$(cat version) --build-arg REVISION=$$(git rev-parse HEAD) \
	  --build-arg CREATED=$$(date --utc +%Y-%m-%dT%H:%M:%SZ) .

bench: .venv
	$(BIN)/python -m benchmark.measure
	$(BIN)/python -m benchmark.engine
	$(BIN)/python -m benchmark.roofline
	$(BIN)/python -m benchmark.calibration --docs docs
	$(BIN)/python -m benchmark.group_scale
	$(BIN)/python -m benchmark.dispatch
	$(BIN)/python -m benchmark.faults
	$(BIN)/python -m benchmark.gpu_memory
	$(BIN)/python -m benchmark.rounding
	$(BIN)/python -m benchmark.summary
	$(BIN)/python -m benchmark.figures
	$(BIN)/python -m benchmark.readme

# In an environment of their own: their pins would fight with ours.
peers: .peers

.peers: benchmark/peers/requirements.txt
	rm -rf .peers
	$(PYTHON) -m venv .peers
	.peers/bin/pip install --quiet --no-deps --retries 1 --index-url $(TORCH_INDEX) $$(grep '^torch==' $<) || \
	  echo "No torch from $(TORCH_INDEX): the next line takes the one that pip finds elsewhere."
	.peers/bin/pip install --quiet --requirement $<
	touch .peers

clean:
	rm -rf .venv .peers .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis demo build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
