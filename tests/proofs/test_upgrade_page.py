"""The commands of docs/upgrade.md, from a database of commit 378a120 to this version and back again.

The system's part is played by short scripts: `git clone` copies the production image's files, `make install` leads to
this environment, `runuser` changes no user, and `systemctl` starts and stops the server.
"""

import json
import os
import re
import shlex
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from sandbox.ports import free_port
from tests.support import PROJECT
from tests.support.compose import DEPLOY, Image
from tests.support.early import EARLY

pytestmark = pytest.mark.only("sqlite", reason="MongoDB brings its own tools, which are not installed here")

SCRIPTS = {
    "python": f'exec {shlex.quote(sys.executable)} "$@"',
    "git": '[ "$1 $2" = "clone SOURCE" ] && cp -R "$ROOT/source" "$3"',
    "make": '[ "$1 $3" = "-C install" ] && mkdir -p "$2/.venv/bin" && cp "$ROOT/bin/python" "$2/.venv/bin"',
    "runuser": '[ "$1 $2 $3" = "-u phones --" ] && shift 3 && exec "$@"',
    "systemctl": """
        echo "$@" >>"$ROOT/systemctl.log"
        case $1 in
          start)
            cd "$ROOT/srv/phones" && [ ! -e manage.py ] && exit
            .venv/bin/python manage.py serve >>"$ROOT/server.log" 2>&1 &
            echo $! >"$ROOT/pid" ;;
          stop)
            if [ -e "$ROOT/pid" ]; then
              kill "$(cat "$ROOT/pid")" && tail --pid "$(cat "$ROOT/pid")" -f /dev/null && rm "$ROOT/pid"
            fi ;;
        esac""",
}


class Machine:
    """Folders that stand for those of a machine on which commit 378a120 runs."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        for name in ("srv/phones", "data", "units", "bin", "source/deploy"):
            (root / name).mkdir(parents=True)
        Image(root / "source")
        (root / "source/deploy/systemd").symlink_to(DEPLOY / "systemd")
        for name, script in SCRIPTS.items():
            (root / "bin" / name).write_text(f"#!/bin/sh\nset -eu\n{script}\n")
            (root / "bin" / name).chmod(0o755)
        with closing(sqlite3.connect(self.database)) as early:
            early.executescript((EARLY / "378a120.sql").read_text())
        self.database.chmod(0o600)

        old = root / "srv/phones"
        (old / "deploy/systemd").mkdir(parents=True)
        (old / "deploy/systemd/phones-web.service").write_text("the previous one")
        (old / ".venv/bin").mkdir(parents=True)
        (old / ".venv/bin/python").symlink_to(root / "bin/python")
        kept = {name: os.environ[name] for name in ("SECRET_KEY", "CREDENTIAL_KEYS", "PUBLIC_URL", "ALLOWED_HOSTS")}
        variables = kept | {"DATABASE_URL": f"sqlite:///{self.database}", "BIND": f"127.0.0.1:{self.port}"}
        (old / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        (old / ".env").chmod(0o600)

    @property
    def database(self) -> Path:
        return self.root / "data/db.sqlite3"

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": f"{self.root}/bin:/usr/bin:/bin", "ROOT": str(self.root)}

    def shell(self, commands: str) -> subprocess.CompletedProcess[str]:
        """Run commands of the page, with this machine's folders and port."""
        for theirs, ours in (("/srv", "srv"), ("/var/lib/phones", "data"), ("/etc/systemd/system", "units")):
            commands = re.sub(rf"(?<![\w\"]){theirs}\b", str(self.root / ours), commands)
        done = subprocess.run(
            ["sh", "-euc", commands.replace(":8000", f":{self.port}")], env=self.env, capture_output=True, text=True,
            timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    def manage(self, *arguments: str) -> str:
        return self.shell(f"cd /srv/phones && .venv/bin/python manage.py {shlex.join(arguments)}").stdout


def steps() -> dict[str, str]:
    """The commands of each section that has some to run here."""
    page = (PROJECT / "docs/upgrade.md").read_text()
    sections = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return {title: block for title, text in sections for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)}


def dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return list(database.iterdump())


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        yield machine
    finally:
        machine.shell("systemctl stop")


def test_the_page_leads_to_this_version_and_back_again(machine: Machine) -> None:
    titles = ["1. Install beside", "2. Stop and back up", "3. Migrate", "4. Restart", "Back again"]
    assert list(steps()) == titles
    *there, back = steps().values()
    before = dump(machine.database)

    machine.shell("\n".join(there))  # with set -e, and ends with a look at /readyz
    backup, link = machine.root / "data/before-upgrade.sqlite3", machine.root / "srv/phones"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert dump(backup) == before != dump(machine.database)
    assert stat.S_IMODE((link / ".env").stat().st_mode) == 0o600
    shown = {file.name for file in (machine.root / "units").iterdir()}
    assert shown == {"phones-web.service", "phones-worker.service"}

    with closing(sqlite3.connect(machine.database)) as database:
        ((workspace,),) = database.execute("SELECT _id FROM users_workspace").fetchall()
        numbers = {number for (number,) in database.execute("SELECT number FROM phones_phonenumber")}
    made = machine.manage("create_token", "--workspace", workspace)
    headers = {"Authorization": f"Bearer {json.loads(made)['token']}"}
    url = f"http://127.0.0.1:{machine.port}/api/call"
    phones, calls = (requests.get(f"{url}/{path}", headers=headers, timeout=20).json() for path in ("phones", "calls"))
    assert {phone["phoneNumber"] for phone in phones["data"]["items"]} == numbers and len(numbers) == 4
    assert len(calls["data"]["items"]) == 1

    machine.shell(f"old=/srv/phones-old\n{back}")
    assert dump(machine.database) == before
    assert link.resolve() == machine.root / "srv/phones-old"
    assert (machine.root / "units/phones-web.service").read_text() == "the previous one"
    asked = [line for line in (machine.root / "systemctl.log").read_text().splitlines() if line != "daemon-reload"]
    assert asked == ["stop phones-web phones-worker", "start phones-web phones-worker"] * 2
