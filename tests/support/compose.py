"""The services of deploy/, as processes of this machine: there is no Docker engine in the tests.

What Docker would do is done by hand: the image's folder is made by the Dockerfile's own lines, each service gets its
command and its environment from the compose files, and the names of hosts become addresses of this machine. Where
bubblewrap works, a service runs as the image's user and sees no more than Docker would show it, read-only if the files
say so.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support import PROJECT

DEPLOY = PROJECT / "deploy"
APP, VOLUME = "/srv/phones", "/var/lib/phones"


def services(*names: str) -> dict[str, dict[str, Any]]:
    """Each service of these files in deploy/, of which each changes those before it."""
    merged: dict[str, dict[str, Any]] = {}
    for name in names:
        for service, given in yaml.safe_load((DEPLOY / name).read_text())["services"].items():
            before = merged.setdefault(service, {})
            environment = before.get("environment", {}) | given.get("environment", {})
            merged[service] = before | given | {"environment": environment}
    return merged


@cache
def can_confine() -> bool:
    """Whether bubblewrap is there and may make namespaces."""
    command = ["bwrap", "--ro-bind", "/", "/", "--unshare-user", "true"]
    return (
        shutil.which("bwrap") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


class Image:
    """The folder, the environment, the user and the commands that the Dockerfile makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.user = ""
        self.command: list[str] = []
        self.healthcheck: list[str] = []
        text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            if word == "COPY":
                self.copy(*rest.split())
            elif word == "RUN" and rest.startswith("["):  # the others are the system's
                subprocess.run([sys.executable, *json.loads(rest)[1:]], cwd=self.folder, check=True)
            elif word == "ENV":
                self.env |= pairs(rest)
            elif word == "LABEL":
                self.labels |= pairs(rest)
            elif word == "USER":
                self.user = rest
            elif word == "HEALTHCHECK":
                self.healthcheck = json.loads(rest.partition("CMD ")[2])
            elif word == "CMD":
                self.command = json.loads(rest)

    def copy(self, *words: str) -> None:
        *sources, target = words
        admitted = set(re.findall(r"^!(\S+)", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
        assert admitted >= set(sources), f"{sources} are left out by Dockerfile.dockerignore"
        for source in map(PROJECT.joinpath, sources):
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.sqlite3*")
                shutil.copytree(source, self.folder / target, ignore=ignored)
            else:
                shutil.copy(source, self.folder / target / source.name)


def pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(text))


class Stack:
    """Services that run, by their names."""

    def __init__(self, folder: Path, files: list[str], here: dict[str, str], *, is_confined: bool) -> None:
        """Make the image.

        Args:
            folder: an empty one, for the image, the volumes and the logs.
            files: of deploy/.
            here: what the addresses and ports of the files are on this machine.
            is_confined: run the services with bubblewrap.
        """
        self.folder, self.here, self.is_confined = folder, here, is_confined
        for name in ("image", "logs", "phones"):
            (folder / name).mkdir()
        self.image = Image(folder / "image")
        self.services = services(*files)
        self.dotenv: dict[str, str] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def on_this_machine(self, text: str) -> str:
        return re.sub("|".join(map(re.escape, self.here)), lambda found: self.here[found[0]], text)

    def env(self, name: str, **variables: str) -> dict[str, str]:
        """The environment of a service. Nothing of ours comes along."""
        given = self.image.env | self.dotenv | self.services[name]["environment"] | variables
        path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
        return {"PATH": path} | {name: self.on_this_machine(value) for name, value in given.items()}

    def command(self, name: str, command: list[str]) -> list[str]:
        first, *rest = [self.on_this_machine(word) for word in command]
        found = [sys.executable if first == "python" else first, *rest]
        return [*self.confinement(self.services[name]), *found] if self.is_confined else found

    def confinement(self, service: dict[str, Any]) -> list[str]:
        """bubblewrap's command for what the service may see and write to."""
        user, _, group = self.image.user.partition(":")
        words = [
            "bwrap",
            "--unshare-user",
            "--uid",
            user,
            "--gid",
            group,
            "--dev",
            "/dev",
            "--ro-bind",
            "/proc",
            "/proc",
        ]
        for path in ("/usr", "/etc", "/bin", "/lib", "/lib64"):
            words += ["--ro-bind-try", path, path]
        for path in service.get("tmpfs", []):
            words += ["--tmpfs", path]
        for path in {sys.base_prefix, sys.prefix, os.path.realpath(sys.prefix)}:
            words += ["--ro-bind", path, path]
        words += ["--ro-bind", str(self.image.folder), APP, "--dir", VOLUME]
        for volume in service.get("volumes", []):
            source, target, *options = volume.split(":")
            is_file = source.startswith(".")
            if target.startswith(APP):  # Docker makes a folder where there is none
                (self.image.folder / Path(target).relative_to(APP)).mkdir(exist_ok=True)
            words += ["--ro-bind" if options == ["ro"] else "--bind"]
            words += [str((DEPLOY if is_file else self.folder) / source), target]
        return [*words, *(["--remount-ro", "/"] if service.get("read_only") else []), "--chdir", APP]

    def run(self, name: str, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose exec` or `run` would."""
        return subprocess.run(
            self.command(name, command), cwd=self.image.folder, env=self.env(name, **variables), capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip

    def create_workspace(self) -> dict[str, Any]:
        made = self.run("web", ["python", "manage.py", "create_workspace", "Acme", "--email", "ann@acme.example"])
        assert made.returncode == 0, made.stderr
        created: dict[str, Any] = json.loads(made.stdout)
        return created

    def start(self, name: str, *, under: str = "", **variables: str) -> "subprocess.Popen[bytes]":
        """Start a service, perhaps several times under different names."""
        service, under = self.services[name], under or name
        if not self.is_confined:
            for volume in service.get("volumes", []):
                source, target, *_ = volume.split(":")
                if source.startswith("."):
                    (self.image.folder / Path(target).name).symlink_to((DEPLOY / source).resolve())
        with (self.folder / "logs" / under).open("wb") as log:
            command = self.command(name, service.get("command") or self.image.command)
            env = self.env(name, **variables)
            self.running[under] = subprocess.Popen(
                command, cwd=self.image.folder, env=env, stdout=log, stderr=log, start_new_session=True
            )
        return self.running[under]

    def stop(self, name: str) -> int:
        """Send SIGTERM to the first process of the service alone, as Docker does. Returns its exit status."""
        process = self.running[name]
        pid = process.pid
        if self.is_confined:  # bubblewrap waits for it
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        os.kill(pid, signal.SIGTERM)
        grace = re.fullmatch(r"(\d+)s", self.services[name.rstrip("0123456789")].get("stop_grace_period", "10s"))
        assert grace
        return process.wait(int(grace[1]))

    def said(self, name: str) -> str:
        return (self.folder / "logs" / name).read_text()

    def wait_for(self, name: str, text: str) -> None:
        give_up_at = time.monotonic() + 30
        while text not in self.said(name):
            assert time.monotonic() < give_up_at and self.running[name].poll() is None, self.said(name)
            time.sleep(0.1)

    @contextlib.contextmanager
    def ended(self) -> Iterator["Stack"]:
        """Nothing runs any more after this block."""
        try:
            yield self
        finally:
            for process in self.running.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
