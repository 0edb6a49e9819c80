"""`make demo`, as a new user sees it: short, and all that it invites to works."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

import sandbox.demo
from sandbox.postgresql import programs
from sandbox.replica_set import mongod
from tests.support import PROJECT
from tests.support.live import run_manage
from tests.support.sampling import one_of

WITHIN_S = 240
# In a folder of its own. Its first address is one that another process took after the demo had found it free.
CODE = """
import sys
from pathlib import Path
import sandbox.demo as demo
taken, demo.DEMO_DIR, sys.argv[1:] = sys.argv[1], Path(sys.argv[2]), ["--database", sys.argv[3]]
free_address = demo.free_address
demo.free_address = lambda ports=(8000, 0): taken if ports[0] else free_address(ports)
sys.exit(demo.main())
"""


@contextmanager
def demo(folder: Path, taken: str, engine: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    printed = folder / "printed.txt"
    env = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")} | {"COLUMNS": "80"}
    with printed.open("wb") as out:
        command = [sys.executable, "-c", CODE, taken, str(folder / ".demo"), engine]
        process = subprocess.Popen(command, cwd=PROJECT, env=env, stdout=out, stderr=out)
    try:
        yield process, printed
    finally:
        process.kill()
        process.wait()


def wait_for(text: str, process: subprocess.Popen[bytes], printed: Path) -> str:
    give_up_at = time.monotonic() + WITHIN_S
    while text not in printed.read_text():
        assert time.monotonic() < give_up_at and process.poll() is None, printed.read_text()
        time.sleep(0.2)
    return printed.read_text()


def sign_in(url: str, email: str, password: str) -> requests.Response:
    browser = requests.Session()
    page = browser.get(f"{url}/", timeout=30)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token and page.url.startswith(f"{url}/admin/login/")
    form = {"username": email, "password": password, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
    return browser.post(page.url, data=form, headers={"Referer": page.url}, timeout=30)


FOUND = {"sqlite": True, "mongodb": mongod() is not None, "postgresql": programs() is not None}


@pytest.mark.parametrize("engine", one_of([engine for engine, is_here in FOUND.items() if is_here]))
def test_it_is_short_and_all_that_it_invites_to_works(engine: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with demo(tmp_path, taken, engine) as (process, printed):
            said = wait_for("manage.py check_phones", process, printed)
            tour, _, turn = said.partition("Your turn")
            assert len(tour.splitlines()) < 60
            assert tour.splitlines()[0].startswith("Preparing"), "it says at once what it does"

            url = re.findall(r"server runs at (http://\S+) until", turn)[0]
            assert taken not in url and requests.get(f"{url}/readyz", timeout=30).ok

            logins = re.findall(r"^  (\w+@example\.com) +(\S+) ", turn, re.MULTILINE)
            assert [email.partition("@")[0] for email, _ in logins] == ["admin", "supervisor", "support"]
            for email, password in logins:
                reply = sign_in(url, email, password)
                assert (reply.status_code, reply.url) == (200, f"{url}/admin/"), email

            curl = turn[turn.index("curl ") : turn.index("}'") + 2].replace(".demo/", f"{tmp_path}/.demo/")
            added = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=60, check=True)
            assert json.loads(added.stdout)["code"] == 201

            env = {"PATH": os.environ["PATH"], "ENV_FILE": str(tmp_path / ".demo/env")}
            called = run_manage("sandbox", "call", "12125551234", env=env)
            assert called.returncode == 0 and "Heard: " in called.stdout, called.stderr
            checked = run_manage("add_phones", "docs/sample-numbers.csv", "--dry-run", env=env)
            assert "total 40, added 0, exists 21, failed 19" in checked.stdout, checked.stdout
            assert (tmp_path / ".demo/env").stat().st_mode & 0o777 == 0o600

            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    for log in ("serve.log", "worker.log"):
        assert "Traceback" not in (tmp_path / ".demo" / log).read_text()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/healthz", timeout=5)


@pytest.mark.parametrize(
    ("engine", "found", "told"),
    [("mongodb", "mongod", "make dev installs it"), ("postgresql", "programs", "apt-get install postgresql")],
)
def test_without_the_server_of_an_engine_it_says_how_to_get_it(
    engine: str, found: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.demo, found, lambda: None)
    with pytest.raises(SystemExit, match=told), sandbox.demo.running_database(engine):
        pass
