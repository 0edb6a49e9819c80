"""Slow tests. SAMPLE_SEED selects some of their cases (tests/support/sampling.py); without it all run."""

from collections.abc import Iterator

import pytest

from sandbox.sandbox import Sandbox
from tests.support.killing import Killer


@pytest.fixture(scope="session")
def killer(django_db_setup: None, running_sandbox: Sandbox) -> Iterator[Killer]:
    killer = Killer(running_sandbox)
    yield killer
    killer.stop()
