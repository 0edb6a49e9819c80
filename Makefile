# The commands of this project. `make install` is part of all the others.

PYTHON3 ?= python3
PYTHON  := .venv/bin/python
# An environment knows its path and its Python: it is made anew when they, or the requirements, have changed.
STAMP   := .venv/installed
WANTED  := $(CURDIR) $(shell cat requirements.txt requirements-dev.txt | cksum) $(shell $(PYTHON3) -VV 2>&1 | cksum)

.PHONY: install demo test soak every-case e2e test-mongodb lint lock bench djongo-evidence

install:
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed. Name it: make install PYTHON3=python3.12"; exit 1; }
	@if [ "$$(cat $(STAMP) 2>/dev/null)" != "$(WANTED)" ]; then \
	  rm -rf .venv; \
	  $(PYTHON3) -m venv .venv || { echo "On Debian first: apt-get install python3-venv"; exit 1; }; \
	  $(PYTHON) -m pip install -qq --disable-pip-version-check -r requirements.txt -r requirements-dev.txt && \
	  $(PYTHON) -m pip check && echo "$(WANTED)" > $(STAMP); \
	fi

# ARGS=--exit ends after the tour instead of serving on.
demo: install
	@$(PYTHON) -m workspace.demo $(ARGS)

# On SQLite, and then what asks a database on MongoDB. Of tests with very many cases some: all in `every-case`.
# ARGS="-n 0 -k name" for one test under a debugger.
# Databases lie in memory where there is room: no test is about a power cut. Tests wait more than they compute.
IN_MEMORY := $(shell [ "$$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {print $$4}')" -gt 8000000 ] 2>/dev/null && echo TMPDIR=/dev/shm)
TESTS := $(IN_MEMORY) $(PYTHON) -m pytest -n 3 --dist worksteal --ignore=tests/e2e --ignore=tests/failover
test: install
	@$(TESTS) $(ARGS)
	@TEST_DATABASE=mongodb $(TESTS) --ignore-glob="*/test_sandbox*" $(ARGS)

# The proofs of SECURITY.md at length, on each engine; what was tried is printed in the end.
PROOFS := $(patsubst %,tests/test_%.py,fault_loops random_kills fuzzing leaks keys signatures)
soak: install
	@SOAK=1 $(TESTS) $(PROOFS) $(ARGS)
	@SOAK=1 TEST_DATABASE=mongodb $(TESTS) $(PROOFS) $(ARGS)

every-case: install
	@SOAK=1 $(TESTS) $(ARGS)
	@SOAK=1 TEST_DATABASE=mongodb $(TESTS) $(ARGS)

# The support desk in a real browser, on each engine; what it looks like is in build/screenshots/ afterwards.
e2e: install
	@$(IN_MEMORY) $(PYTHON) -m pytest tests/e2e $(ARGS)
	@TEST_DATABASE=mongodb $(IN_MEMORY) $(PYTHON) -m pytest tests/e2e $(ARGS)

# Three mongod and two servers: a primary that steps down and dies under load; the services of deploy/ as processes.
test-mongodb: install
	@$(IN_MEMORY) $(PYTHON) -m pytest -n 0 tests/failover $(ARGS)

lint: install
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	PYTHONPATH=. $(PYTHON) -m mypy integrations phones workspace users

bench: install
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
djongo-evidence: install
	@PYTHONPATH=. $(PYTHON) docs/djongo-evidence/reproduce.py $(ARGS)

# Resolve requirements*.in anew, for every Python from 3.11 on.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --upgrade requirements.in -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --upgrade requirements-dev.in -o requirements-dev.txt
