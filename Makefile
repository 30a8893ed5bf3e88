# Each target prepares what it needs (tools/bootstrap) and can be repeated.
# After any of them, `.venv/bin/esteira` is the command line.
.DEFAULT_GOAL := help
# Our own code is compiled once, not by each of the hundreds of processes that a run of the tests
# starts, also on a machine that writes no bytecode otherwise.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup demo demo-drift test test-long coverage lint format lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: ## the environments and the Pulumi engine, without running anything
	@tools/bootstrap

demo: setup ## bring the platform up on this machine and run the ML loop on real flights
	@.venv/bin/esteira demo

demo-drift: setup ## nine months pass on that platform: drift, alarm, retraining, release
	@.venv/bin/esteira demo --drift

# More workers than processors: much of the time is spent waiting for what a test has set going.
test: setup ## the tests, but for the long ones
	@.venv/bin/python -m pytest -m "not long" -n 4 --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

test-long: setup ## the long tests: kills without end, whole plans side by side
	@.venv/bin/python -m pytest -m long -n 2 --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

coverage: setup ## all tests, and which lines they run
	@.venv/bin/python -m pytest --cov --cov-report=term:skip-covered -n 3 --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

lint: setup ## formatting, lint, types, one-way imports, workflows
	@.venv/bin/ruff format --check --quiet . && .venv/bin/ruff check --quiet .
	@.venv/bin/lint-imports --no-cache >.esteira/lint-imports.log || (cat .esteira/lint-imports.log; exit 1)
	@.venv/bin/pyright --warnings
	@tools/check-workflows

format: setup ## rewrite the code as the linter wants it
	@.venv/bin/ruff format --quiet . && .venv/bin/ruff check --fix --quiet .

lock: ## compile the hashed locks anew from pyproject.toml
	@tools/lock

clean: ## stop the local cloud and remove everything this checkout made
	@tools/clean
