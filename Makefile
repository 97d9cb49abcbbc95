# Everything from a fresh clone with nothing but Python (3.11 or newer) and make:
#
#   make demo     the reference scenario on this machine, step by step
#   make serve    the same nodes and balancer, kept running for a browser
#   make test     the whole test suite
#   make lint     style, types and layers
#
# The large campaigns, see docs/testing.md:
#
#   make swarm SEEDS=100000       seeded plans in the simulator; SEEDS=5000-5999 for a range
#   make explore MINUTES=10       plans that Hypothesis makes up
#   make lifecycle                tests of the node's processes that take long; root
#   make rolling ROUNDS=2         rolling restarts behind HAProxy, every server and way
#   make planted                  planted bugs that the suite must notice
#   make drill ROUNDS=2           the operator's drill of docs/operations/drill.md; needs root
#   make faults RUNS=3            faults on real processes; needs root
#   make balancers                every scenario with every balancer; prints the table
#   make fuzz INPUTS=10000000     everything that reads bytes
#   make dashboard-test           the status page in a real Chromium
#   make servers                  every app server: kills, reloads, stops; ARGS="--only uwsgi"
#   make lowest                   adapters, wire, replica and sessions with the oldest dependencies
#   make frameworks               the frameworks' own session tests, downloaded, against ours
#   make bench                    every benchmark, small; ARGS="request http" for some, see
#                                 docs/performance.md
#
# PYTHON=python3.12 chooses an interpreter, ARGS="-k settings" reaches pytest or the demo.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
ROUNDS ?= 2
SEEDS ?= 1000
MINUTES ?= 10
RUNS ?= 3
INPUTS ?= 1000000
PLANS ?= 60
PORTS ?=
TESTS ?= tests/adapters tests/wire tests/replica tests/session

.PHONY: demo serve test lint clean swarm explore planted faults balancers fuzz servers frameworks

demo: $(VENV)/.demo
	$(BIN)/clustersession demo $(ARGS)

serve: $(VENV)/.demo
	$(BIN)/clustersession demo --serve $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

# Of the examples, what only a server's own process can import has no types to check.
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases --exclude '(gunicorn\.conf|uwsgi_app|granian_app|waitress_app|mod_wsgi_app)' examples
	$(BIN)/lint-imports

swarm: $(VENV)/.dev
	$(BIN)/python -m tests.simulation.swarm $(SEEDS) $(ARGS)

explore: $(VENV)/.dev
	$(BIN)/python -m tests.simulation.exploring --minutes $(MINUTES) $(ARGS)

.PHONY: lifecycle rolling drill

lifecycle: $(VENV)/.dev
	$(BIN)/python -m pytest -m "extended or not extended" tests/lifecycle tests/agent tests/rolling $(ARGS)

rolling: $(VENV)/.dev
	$(BIN)/python -m tests.rolling.run --rounds $(ROUNDS) $(ARGS)

drill: $(VENV)/.dev
	for round in $$(seq $(ROUNDS)); do $(BIN)/python -m pytest tests/drill $(ARGS) || exit 1; done

planted: $(VENV)/.dev
	$(BIN)/python -m tests.planted.run --jobs 2 $(ARGS)

faults: $(VENV)/.dev
	$(BIN)/python -m tests.faults.campaign --runs $(RUNS) --nodes 3,4,5 $(ARGS)

balancers: $(VENV)/.dev
	$(BIN)/python -m tests.balancers.table $(ARGS)

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzzing.run --inputs $(INPUTS) $(ARGS)
	$(BIN)/python -m tests.fuzzing.hostile --plans $(PLANS) --steps 3000
	$(BIN)/python -m tests.fuzzing.ports $(PORTS)

frameworks: $(VENV)/.dev
	$(BIN)/python -m tests.frameworks.run $(ARGS)

.PHONY: lowest

lowest: .venv-lowest/.test
	.venv-lowest/bin/python -m pytest $(TESTS) $(ARGS)

.PHONY: dashboard-test

dashboard-test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "extended or not extended" tests/tools/dashboard $(ARGS)

servers: $(VENV)/.dev
	$(BIN)/python -m tests.servers.run $(ARGS)

.PHONY: bench

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks --small $(ARGS)

clean:
	rm -rf $(VENV) .venv-lowest build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "clustersession needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)

# The marks are newer than what they stand for; a change of pyproject.toml makes them stale.
$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ $(VENV)/.demo

.venv-lowest/.test: pyproject.toml tests/lowest.txt
	test -e .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint tests/lowest.txt --editable '.[test]'
	@touch $@
