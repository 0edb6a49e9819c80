"""One version, wherever it is told."""

import re
import subprocess
import sys
import tomllib

from tests.support import PROJECT
from workspace import __version__


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and project["version"] == newest[1] == __version__


def test_the_version_is_told_without_settings() -> None:
    command = [sys.executable, "manage.py", "version"]
    told = subprocess.run(command, cwd=PROJECT, env={}, capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"Workspace Phones {__version__} ")
