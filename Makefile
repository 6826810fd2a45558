# `make` lists what there is. Everything happens in .venv; nothing is installed outside it.

PYTHONS := python3.13 python3.12 python3.11 python3 python
FITS := import ssl, venv, ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# A .venv whose Python was removed or does not fit goes before anything is compared with its stamps.
ifneq ($(wildcard .venv),)
  ifneq ($(shell $(BIN)/python -c "$(FITS)" 2>/dev/null && echo fits),fits)
    $(info The Python of .venv is gone: making it anew.)
    $(shell rm -rf .venv)
  endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup run test slow check lock compatibility bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.development ## make .venv and install all of it, locked by hash (again only when something changed)

run: .venv/.runtime ## start everything: http://127.0.0.1:11434
	@exec $(BIN)/python manage.py up

test: .venv/.development ## run the tests that take seconds
	$(BIN)/pytest -m "not slow" $(ARGS)

slow: .venv/.development ## run the tests that take minutes
	$(BIN)/pytest -m slow $(ARGS) || [ $$? -eq 5 ]  # 5: there are none

check: .venv/.development ## ruff, mypy --strict, templates, migrations, Django's own checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	[ -z "$$(find templates -name '*.html' 2>/dev/null)" ] || $(BIN)/djlint --quiet --check --lint templates
	$(BIN)/python manage.py makemigrations --settings tests.no_database --check --dry-run
	$(BIN)/python manage.py check

check: export CORRAL_DATA = $(CURDIR)/.venv/check-data # not yours: reading the settings makes secrets there

lock: .venv/.development ## pin the newest versions that pyproject.toml allows, with hashes
	$(BIN)/pip-compile $(LOCK) --output-file=requirements.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK) --extra=dev --output-file=requirements-dev.lock pyproject.toml

LOCK := --upgrade --allow-unsafe --generate-hashes --strip-extras --quiet \
	--no-emit-index-url --no-emit-find-links --no-emit-options

compatibility: .venv/.development ## write the table of docs/compatibility.md from the tests that carry the checks
	$(BIN)/python -m pytest -p tests.compatibility.plugin --compatibility=.venv/compatibility.json \
	  tests/api -k test_conformance
	$(BIN)/python -m tests.compatibility.page .venv/compatibility.json

bench: .venv/.development ## measure against llama.cpp's own server (docs/benchmarks.md)
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove .venv and caches; your data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis static-root
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- .venv, by stamps: each is newer than what it was made from ---

# One Python after the other: the first that runs and can make a venv (a version manager's shim may do neither).
.venv/bin/python:
	@for python in $(PYTHONS); do \
	  if $$python -c "$(FITS)" 2>/dev/null; then \
	    echo "Making .venv with $$($$python --version)"; \
	    exec $$python -m venv --clear .venv; \
	  fi; \
	done; \
	echo "Corral needs Python 3.11, 3.12 or 3.13 with venv (on Debian: apt install python3-venv)." >&2; exit 1

.venv/.runtime: requirements.lock pyproject.toml | .venv/bin/python
	@$(call install,requirements.lock)

.venv/.development: requirements-dev.lock pyproject.toml | .venv/bin/python
	@$(call install,requirements-dev.lock)
	@touch .venv/.runtime

define install
set -e; \
if ! $(BIN)/python -c "import llama_cpp" 2>/dev/null; then \
  echo "Installing $(1). llama.cpp is compiled for this machine, once: 3 to 15 minutes."; \
  echo "(A C++ compiler is needed; for a GPU build see docs/operations.md.)"; \
fi; \
$(PIP) install --require-hashes --requirement $(1); \
$(PIP) install --no-deps --editable .; \
touch $@
endef
