# The commands of this project. `make install` is part of all the others.

PYTHON3 ?= python3
PYTHON  := .venv/bin/python
# An environment knows its path and its Python: it is made anew when they, or the requirements, have changed.
STAMP   := .venv/installed
WANTED  := $(CURDIR) $(shell cat requirements.txt requirements-dev.txt | cksum) $(shell $(PYTHON3) -VV 2>&1 | cksum)

.PHONY: install demo test e2e lint lock bench djongo-evidence

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

# On every core; ARGS="-n 0 -k name" for one test under a debugger.
test: install
	@$(PYTHON) -m pytest -n auto --ignore=tests/e2e $(ARGS)

# The support desk in a real browser, one after the other; what it looks like is in build/screenshots/ afterwards.
e2e: install
	@$(PYTHON) -m pytest tests/e2e $(ARGS)

lint: install
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	PYTHONPATH=. $(PYTHON) -m mypy integrations phones workspace users

bench: install
	$(PYTHON) -m bench.startup --check
	$(PYTHON) -m bench.add_phone --check
	$(PYTHON) -m bench.webhook --check
	$(PYTHON) -m bench.list --check
	$(PYTHON) -m bench.desk --check
	$(PYTHON) -m bench.bulk --check
	$(PYTHON) -m bench.bulk_kills

# What djongo does, shown with the real one. ARGS="--dump tests/djongo/dump.json" makes the fixture anew.
djongo-evidence: install
	@PYTHONPATH=. $(PYTHON) docs/djongo-evidence/reproduce.py $(ARGS)

# Resolve requirements*.in anew, for every Python from 3.11 on.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --upgrade requirements.in -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --upgrade requirements-dev.in -o requirements-dev.txt
