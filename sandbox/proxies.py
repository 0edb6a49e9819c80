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


def nginx(folder: Path, port: int, server: int, *, is_tls: bool) -> list[str]:
    """Our file with local ports and logs, wrapped like Debian's /etc/nginx/nginx.conf. Returns the command."""
    site = (DEPLOY / "nginx.conf").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{server}")
    site = site.replace("/var/log/nginx", str(folder)).replace("listen 443", f"listen 127.0.0.1:{port}")
    site = re.sub(r"\n +listen \[::\].*", "", site)
    if is_tls:
        site = re.sub(r"/etc/letsencrypt/\S+/(\w+\.pem)", rf"{folder}/\1", site)
    else:
        site = re.sub(r"\n +ssl_.*", "", site).replace(" ssl;", ";")
    (folder / "nginx.conf").write_text(AROUND_NGINX.format(folder=folder, site=site))
    return ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", str(folder / "nginx.log")]


def caddy(folder: Path, port: int, server: int, *, is_tls: bool) -> list[str]:
    """Our file with a local port, with our own certificate or without TLS. Returns the command."""
    file = (DEPLOY / "Caddyfile").read_text()
    local, address = "admin off\n\tauto_https off\n\tdefault_sni phones.example.com", f"http://127.0.0.1:{port}"
    if is_tls:
        address = f"https://phones.example.com:{port}"
        file = file.replace("\tlog\n", f"\tlog\n\ttls {folder}/fullchain.pem {folder}/privkey.pem\n")
    file = file.replace("{$PUBLIC_URL:https://phones.example.com}", address)
    file = file.replace("{$PHONES_SERVER:127.0.0.1:8000}", f"127.0.0.1:{server}")
    (folder / "Caddyfile").write_text(file.replace("\n{\n", f"\n{{\n\t{local}\n", 1))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


PROXIES = {"nginx": nginx, "caddy": caddy}


def found(name: str) -> bool:
    return bool(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"))


@contextlib.contextmanager
def behind(name: str, server: int, folder: Path, *, is_tls: bool = False) -> Iterator[int]:
    """Run a proxy in front of the server at this port; yields the port of the proxy. It writes its logs to the folder.

    Args:
        is_tls: terminate TLS with fullchain.pem and privkey.pem in the folder, a certificate for phones.example.com.
    """
    port = free_port()
    env = os.environ | {"HOME": str(folder), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    command = PROXIES[name](folder, port, server, is_tls=is_tls)
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
