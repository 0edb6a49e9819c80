"""A database that this process may read and not write: a file, folder or volume of another user."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT
from tests.support.live import MADE, template, template_folder

pytestmark = pytest.mark.only("sqlite", reason="about its files")
# Also of root, to whom permissions mean nothing otherwise.
HUMBLE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"] if os.geteuid() == 0 else []


def copy(folder: Path, *, beside: bool) -> Path:
    """A migrated database in a folder of its own.

    Args:
        beside: with the files that SQLite has while the database is in use.
    """
    folder.mkdir()
    file = folder / "db.sqlite3"
    shutil.copy(template().name, file)
    if beside:
        change = "c.execute(\"UPDATE users_workspace SET name = 'Used'\"); c.commit(); os._exit(0)"
        keep = f"import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); {change}"
        subprocess.run([sys.executable, "-c", keep, str(file)], check=True)
        assert (folder / "db.sqlite3-wal").stat().st_size
    return file


@pytest.mark.skipif(bool(HUMBLE) and not shutil.which("setpriv"), reason="there is no setpriv to be another user with")
def test_what_only_reads_goes_on_and_health_says_what_cannot_be_written(tmp_path: Path) -> None:
    """As for docusealco/docuseal issue 300, marcpope/cortendesk issue 24 and longfan3 in turt2live/matrix-dimension issue
    265: a volume of another user."""
    new, used, file_alone, folder_alone, log_alone, good = (
        copy(tmp_path / name, beside=name in ("used", "log"))
        for name in ("new", "used", "file", "folder", "log", "good")
    )
    for file in (*new.parent.iterdir(), *used.parent.iterdir(), file_alone, *log_alone.parent.glob("*-wal")):
        file.chmod(0o444)
    for file in (new, used, folder_alone):
        file.parent.chmod(0o555)
    token = json.loads((template_folder() / MADE).read_text())["token"]
    files = [new, used, file_alone, folder_alone, log_alone, good]
    command = [*HUMBLE, sys.executable, "-m", "tests.support.read_only", token, *map(str, files)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    for file in files:
        file.parent.chmod(0o755)
    assert done.returncode == 0, done.stderr
    *read_only, writable = map(json.loads, done.stdout.splitlines())
    blamed = [new, used, file_alone, folder_alone.parent, Path(f"{log_alone}-wal")]
    for told, path in zip(read_only, blamed, strict=True):
        (problem,) = told["problems"]
        assert problem.startswith(f"The database cannot be written: {path} is read-only")
        assert (told["readyz"], told["list"], told["stranger"]) == (503, 200, 401), path
        assert told["add"]["data"] == {"error": "internal_error", "field": None}
        assert "database" in told["add"]["errorMessage"]
        assert told["webhook"] == 403, "no account has this token"
        assert told.get("mended", 200) == 200, "no restart after chown"
    assert writable["problems"] == [] and writable["readyz"] == 200
    assert writable["add"]["data"]["error"] == "invalid_field"
    assert done.stderr.count("workspace.health [") == len(read_only)
    assert f"commands.serve [-] Not ready: The database cannot be written: {new}" in done.stderr, (
        "the start says so, too"
    )
