# The commands of this project. Each one installs what it needs first.

PYTHON := .venv/bin/python

.PHONY: install dev demo test soak every-case e2e test-mongodb lint lock bench djongo-evidence

# PYTHON3 names the Python of a new environment. The script reads it.
install:
	@deploy/environment.sh install

dev:
	@deploy/environment.sh dev

# ARGS=--exit ends after the tour instead of serving on.
demo: install
	@$(PYTHON) -m workspace.demo $(ARGS)

# On SQLite, and then what asks a database on MongoDB. Of tests with very many cases some: all in `every-case`.
# ARGS="-n 0 -k name" for one test under a debugger.
# Databases lie in memory where there is room: no test is about a power cut. Tests wait more than they compute.
IN_MEMORY := $(shell [ "$$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {print $$4}')" -gt 8000000 ] 2>/dev/null && echo TMPDIR=/dev/shm)
TESTS := $(IN_MEMORY) $(PYTHON) -m pytest -n 3 --dist worksteal --ignore=tests/e2e --ignore=tests/failover
test: dev
	@$(TESTS) $(ARGS)
	@TEST_DATABASE=mongodb $(TESTS) --ignore-glob="*/test_sandbox*" $(ARGS)

# The proofs of SECURITY.md at length, on each engine; what was tried is printed in the end.
PROOFS := $(patsubst %,tests/test_%.py,fault_loops random_kills fuzzing leaks keys signatures)
soak: dev
	@SOAK=1 $(TESTS) $(PROOFS) $(ARGS)
	@SOAK=1 TEST_DATABASE=mongodb $(TESTS) $(PROOFS) $(ARGS)

every-case: dev
	@SOAK=1 $(TESTS) $(ARGS)
	@SOAK=1 TEST_DATABASE=mongodb $(TESTS) $(ARGS)

# The support desk in a real browser, on each engine; what it looks like is in build/screenshots/ afterwards.
e2e: dev
	@$(IN_MEMORY) $(PYTHON) -m pytest tests/e2e $(ARGS)
	@TEST_DATABASE=mongodb $(IN_MEMORY) $(PYTHON) -m pytest tests/e2e $(ARGS)

# Three mongod and two servers: a primary that steps down and dies under load; the services of deploy/ as processes.
test-mongodb: dev
	@$(IN_MEMORY) $(PYTHON) -m pytest -n 0 tests/failover $(ARGS)

lint: dev
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	PYTHONPATH=. $(PYTHON) -m mypy integrations phones workspace users

bench: dev
	$(PYTHON) -m bench.startup --check
	$(PYTHON) -m bench.add_phone --check
	$(PYTHON) -m bench.webhook --check
	$(PYTHON) -m bench.starving --check
	$(PYTHON) -m bench.list --check
	$(PYTHON) -m bench.desk --check
	$(PYTHON) -m bench.bulk --check
	$(PYTHON) -m bench.bulk_kills
	$(PYTHON) -m bench.database --check

# What djongo does, shown with the real one. ARGS="--dump tests/djongo/dump.json" makes the fixture anew.
djongo-evidence: dev
	@PYTHONPATH=. $(PYTHON) docs/djongo-evidence/reproduce.py $(ARGS)

# Resolve requirements*.in anew, for every Python from 3.11 on.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --upgrade requirements.in -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --upgrade requirements-dev.in -o requirements-dev.txt
