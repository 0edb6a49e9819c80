"""Runs the proxies configured in deploy/, with those files, in front of a local server."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from sandbox.ports import free_port

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
READY_WITHIN_S = 20
AROUND_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
worker_processes 1;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""


def nginx(folder: Path, port: int, server: int) -> list[str]:
    """Our file with local ports and without TLS, wrapped like Debian's /etc/nginx/nginx.conf. Returns the command."""
    site = (DEPLOY / "nginx.conf").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{server}")
    site = re.sub(r"\n +(ssl_.*|listen \[::\].*)", "", site).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    (folder / "nginx.conf").write_text(AROUND_NGINX.format(folder=folder, site=site))
    return ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", str(folder / "nginx.log")]


def caddy(folder: Path, port: int, server: int) -> list[str]:
    file = (DEPLOY / "Caddyfile").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{server}")
    file = file.replace("phones.example.com {", f"http://127.0.0.1:{port} {{").replace("\n{\n", "\n{\n\tadmin off\n", 1)
    (folder / "Caddyfile").write_text(file)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


PROXIES = {"nginx": nginx, "caddy": caddy}


def found(name: str) -> bool:
    return bool(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"))


@contextlib.contextmanager
def behind(name: str, server: int, folder: Path) -> Iterator[int]:
    """Run a proxy in front of the server at this port; yields the port of the proxy."""
    port = free_port()
    env = os.environ | {"HOME": str(folder), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    command = PROXIES[name](folder, port, server)
    with (folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out)
    try:
        give_up_at = time.monotonic() + READY_WITHIN_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < give_up_at and process.poll() is None, (folder / f"{name}.out").read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()
