"""Shows what djongo does, with the real one. `make djongo-evidence` runs it; output.txt is what it printed.

It makes two virtual environments, with djongo's own pins and with Django 5.2, and a MongoDB of its own, all of them in
a temporary folder that is gone afterwards. With `--dump FILE` it also writes the database of an early build on djongo,
as the tests of adopt_djongo_database restore it. Needs Python 3.11, the last one with distutils, which Django 3.1
imports, and a package index.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from bson import json_util
from pymongo import MongoClient

from tests.support.replica_set import ReplicaSet

HERE = Path(__file__).resolve().parent
CURRENT = ("django==5.2.19", "pymongo==4.20.0", "pytz==2026.6")


def run(*command: str, **env: str) -> tuple[int, str]:
    """A command's exit status and all that it printed."""
    done = subprocess.run(
        command,
        cwd=HERE,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def environment(folder: Path, *requirements: str) -> str:
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    for each in requirements:
        status, output = run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *each.split())
        if status:
            sys.exit(output)
    return python


def say(title: str, text: str) -> None:
    print(f"## {title}\n{text.strip()}\n", flush=True)


def dump(client: "MongoClient", name: str) -> str:
    """A database as canonical Extended JSON, a document in a line, so that the types stay and a change can be read.

    https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/ (read 2026-11-23)
    """
    options = json_util.CANONICAL_JSON_OPTIONS
    parts = []
    for collection in sorted(client[name].list_collection_names()):
        lines = []
        for kind, rows in (
            ("indexes", client[name][collection].list_indexes()),
            ("documents", client[name][collection].find().sort("_id")),
        ):
            texts = ",\n".join(json_util.dumps(row, json_options=options) for row in rows)
            lines.append(f'"{kind}": [\n{texts}\n]')
        parts.append(f'"{collection}": {{\n' + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def show(folder: Path, replica_set: ReplicaSet, dump_to: Path | None) -> None:
    early = environment(folder / "pins", f"-r {HERE / 'requirements.txt'} setuptools<70")
    current = environment(folder / "current", " ".join(CURRENT), "--no-deps djongo==1.3.7")
    server = replica_set.url("")

    def on_djongo(python: str, database: str, *arguments: str) -> tuple[int, str]:
        return run(
            python, "-W", "ignore", *arguments,
            DJANGO_SETTINGS_MODULE="early.settings", EVIDENCE_DATABASE=database, EVIDENCE_SERVER=server,
        )  # fmt: skip

    _, output = run(early, "-m", "pip", "freeze", "--disable-pip-version-check")
    say("What is installed with djongo's pins", output)

    status, output = run(
        current, "-m", "pip", "install", "--dry-run", "--disable-pip-version-check", "django>=5.2", "djongo==1.3.7"
    )
    wanted = re.compile(r"Cannot install|requested|depends on|ResolutionImpossible")
    kept = [line.split(": for help")[0] for line in output.splitlines() if wanted.search(line)]
    say('pip install "django>=5.2" "djongo==1.3.7"', "\n".join([*kept, f"exit status {status}"]))

    status, output = on_djongo(early, "facts", "-m", "django", "migrate")
    warned = len(re.findall("does not support", output))
    say("migrate, Django 3.1.12", f"exit status {status}, {warned} warnings that something is not supported")
    status, output = on_djongo(early, "facts", "-m", "early.facts")
    say("Unique constraints, Django 3.1.12", output)

    status, output = on_djongo(current, "current", "-m", "django", "migrate")
    names = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*", output, re.MULTILINE)
    clause = re.findall(r"FAILED SQL: .*", output)
    say(
        "migrate, Django 5.2.19 with djongo 1.3.7 (--no-deps)",
        "\n".join([*names[-1:], *clause[:3], f"exit status {status}"]),
    )

    if dump_to:
        for module in ("django migrate", "early.rows"):
            status, output = on_djongo(early, "early", "-m", *module.split())
            if status:
                sys.exit(output)
        with replica_set.member(replica_set.ports[0]) as client:
            dump_to.write_text(dump(client, "early"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dump", type=Path)
    options = parser.parse_args()
    if sys.version_info[:2] != (3, 11):
        sys.exit("Django 3.1 runs on no Python that is newer than 3.11. Use: make djongo-evidence PYTHON3=python3.11")
    dump_to = options.dump.resolve() if options.dump else None
    with tempfile.TemporaryDirectory() as folder, ReplicaSet() as replica_set:
        show(Path(folder), replica_set, dump_to)


if __name__ == "__main__":
    main()
