"""A mongod that is no member of a replica set is refused at start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.ports import free_ports
from sandbox.replica_set import mongod


@pytest.mark.skipif(mongod() is None, reason="there is no mongod that runs on this machine")
def test_a_server_alone_is_refused_at_start_with_the_reason(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "data").mkdir()
    command = [
        str(mongod()),
        "--dbpath",
        str(tmp_path / "data"),
        "--port",
        str(port),
        "--bind_ip",
        "127.0.0.1",
        "--nounixsocket",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            env = os.environ | {
                "DATABASE_URL": f"mongodb://127.0.0.1:{port}/d",
                "BIND": f"127.0.0.1:{free_ports(1)[0]}",
            }
            for started in (["manage.py", "migrate"], ["manage.py", "serve"]):
                ended = subprocess.run(
                    [sys.executable, *started], env=env, capture_output=True, text=True, timeout=60, check=False
                )
                assert ended.returncode != 0
                assert "is not a replica set" in ended.stderr
                assert "rs.initiate()" in ended.stderr
                assert "Traceback" not in ended.stderr
        finally:
            server.kill()
