# Everything a newcomer needs is `make run` and `make test`; both install what they need first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# The one torch build that the tests ran on. Named alone and first, so that pip takes a CPU build
# that lies at hand instead of the newest release with its CUDA packages.
TORCH  ?= torch==2.13.0

.PHONY: help
help:  ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.installed  ## Install, start everything on this machine and print one address
	@$(BIN)/atelier up

.PHONY: test
test: $(VENV)/.browser  ## Install, check the style and run every test (under ten minutes)
	@$(MAKE) -j 2 --no-print-directory check tests

# Three processes on two cores: many tests wait. tests/conftest.py has their order.
.PHONY: tests
tests: $(VENV)/.browser  ## The tests alone
	$(BIN)/pytest -m "not nightly" -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: test-nightly
test-nightly: $(VENV)/.installed-dev $(VENV)/.browser  ## The tests that are too slow for every stop
	$(BIN)/pytest -m nightly

.PHONY: test-card
test-card: $(VENV)/.installed-dev  ## The engine on this machine's GPU
	ATELIER_TEST_CARD=1 $(BIN)/pytest tests/inference/engine/test_{kernels,text_recorded,card_paths,on_card}.py

.PHONY: check
check: $(VENV)/.installed-dev  ## Style, types, layers (the tidy test runs with the others)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: data
data: $(VENV)/.installed-dev  ## Rebuild the pocket model's pictures from their packages
	$(BIN)/python -m inference.training.art --out data/pocket

.PHONY: eval
eval: $(VENV)/.installed-dev  ## Judge the pocket models and rewrite docs/pocket.md
	$(BIN)/python -m inference.training.evaluate --model weights --out docs

.PHONY: eval-safety
eval-safety: $(VENV)/.installed-dev  ## Judge the prompt filter in eight languages and rewrite docs/safety.md
	$(BIN)/python -m inference.safety.learning.evaluate

.PHONY: bench
bench: $(VENV)/.installed-dev $(VENV)/.browser  ## Measure the pocket model and the page's latency
	$(BIN)/python -m inference.bench
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/money.py
	$(BIN)/python benchmarks/waiting.py
	$(BIN)/python benchmarks/bills.py
	$(BIN)/python benchmarks/safety.py
	$(BIN)/python benchmarks/watermark.py

.PHONY: clean
clean:  ## Remove the installation; pictures and database in .atelier stay
	rm -rf $(VENV) *.egg-info

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Atelier needs Python 3.11 or newer: PYTHON=/path/to/python3.11 make run"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing Atelier into $(VENV); this takes a few minutes, once."
	@$(BIN)/pip install -q -c constraints.txt "$(TORCH)" || { $(MAKE) -s install-failed; exit 1; }
	@$(BIN)/pip install -q -c constraints.txt -e '.[web,gpu]' || { $(MAKE) -s install-failed; exit 1; }
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/pip install -q -c constraints.txt -e '.[web,gpu,dev]' || { $(MAKE) -s install-failed; exit 1; }
	@touch $@

.PHONY: install-failed
install-failed:
	@echo "The installation stopped. The lines above say why; usually the disk is full (about 3 GB are"
	@echo "needed; df -h .), the package index cannot be reached, or a package has no build for this"
	@echo "machine and no compiler is there (on Debian and Ubuntu: apt install build-essential)."

# The browser tests drive Debian's Chromium.
$(VENV)/.browser: | $(VENV)/.installed-dev
	@if ! command -v chromium >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get install -y -qq chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium >/dev/null; }; \
	  else echo "No Chromium here: the browser tests will be skipped (apt install chromium)."; fi; fi
	@touch $@
