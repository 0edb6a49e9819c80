"""The settings as a new process reads them, without the process: hundreds of these take less time than one."""

import os
import runpy
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.core.exceptions import ImproperlyConfigured

from core import redaction
from tests.support import PROJECT

GOOD = {
    "SECRET_KEY": "a-key-for-tests-only-0123456789-abcdefghijklmnop",
    "CREDENTIAL_KEYS": "YSBrZXkgZm9yIHRoZSB0ZXN0cywgMzIgYnl0ZXMuLi4=",
    "PUBLIC_URL": "https://phones.example.com",
    "ENV_FILE": os.devnull,
}


def start(**variables: str | None) -> dict[str, Any]:
    """The settings with these variables and no others; None leaves one of GOOD out. Raises ImproperlyConfigured."""
    environment = {name: value for name, value in (GOOD | variables).items() if value is not None}
    with patch.dict(os.environ, environment, clear=True), patch.object(redaction, "_hidden", []):
        return runpy.run_path(str(PROJECT / "workspace" / "settings.py"))


def faults(**variables: str | None) -> list[str]:
    """What is said about these variables, a sentence each. Empty if the start succeeds."""
    try:
        start(**variables)
    except ImproperlyConfigured as error:
        return str(error).splitlines()
    return []


def with_file(folder: Path, contents: str | bytes, **variables: str | None) -> dict[str, str | None]:
    """The variables for a start with this `.env` and nothing else."""
    file = folder / ".env"
    file.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    return dict.fromkeys(GOOD) | {"ENV_FILE": str(file)} | variables
