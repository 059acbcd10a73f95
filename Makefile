# The two commands of the README are `make demo` and `make test`; both set up all they need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types bench clean

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[embedded,pydantic,dev]'
	touch $@

demo: $(VENV)/ready
	$(BIN)/zart demo

lint: $(VENV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/ready
	$(BIN)/mypy
	$(BIN)/pyright

test: lint types
	$(BIN)/pytest

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .zart .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
