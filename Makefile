# Everything one needs to run, test and measure Askonce. Only Python 3.11 to 3.13, make and a package index are assumed;
# tests need PostgreSQL's programs too, and install them where they may.
# Arguments: make run ARGS="--port 3002", make test ARGS="-k window". An interpreter: make run PYTHON=python3.13

.PHONY: run dashboard test check lint soak cluster bench docs clean
.DEFAULT_GOAL := run
export PYTHON
# Two processes test side by side, a file at a time: half of the time is spent waiting for servers to start and die.
SIDE_BY_SIDE := -n 2 --dist loadfile

run:
	@scripts/bootstrap run
	@scripts/dashboard || echo "The dashboard could not be built (see above); everything else works without it." >&2
	@exec .venv/bin/askonce serve $(ARGS)

# The web pages under /ui/; built once, until their sources change.
dashboard:
	@scripts/bootstrap run
	@scripts/dashboard

test:
	@scripts/bootstrap dev
	@scripts/dashboard
	@scripts/testbed
	@exec .venv/bin/pytest $(SIDE_BY_SIDE) -m "not soak" $(ARGS)

# What to run before every commit; under two minutes.
check: lint
	@scripts/testbed
	@exec .venv/bin/pytest $(SIDE_BY_SIDE) -m "not soak and not process" $(ARGS)

lint:
	@scripts/bootstrap dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

# Many rounds of what test does a few of.
soak:
	@scripts/bootstrap dev
	@scripts/testbed
	@exec .venv/bin/pytest --timeout 3600 -m "soak or process" $(ARGS)

# Three nodes of two gateways, Redis and PostgreSQL on this machine, with the echo of a script for a model; Ctrl-C ends all.
cluster:
	@scripts/bootstrap dev
	@scripts/testbed
	@exec .venv/bin/python -m tests.system.cluster

bench:
	@scripts/bootstrap dev
	@exec .venv/bin/python -m bench $(ARGS)

# The pages that are made from code.
docs:
	@scripts/bootstrap dev
	.venv/bin/askonce config --reference > docs/settings.md

clean:
	rm -rf .venv .uv .node dashboard/dist dashboard/node_modules dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
