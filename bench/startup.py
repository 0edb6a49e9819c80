"""The time of `manage.py check` compared with a bare Django project with the admin and DRF and without SDKs.

Ratio of CPU seconds, the minimum of several interleaved runs each.
"""

import argparse
import base64
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.report import Line, finish

BASE_DIR = Path(__file__).resolve().parent.parent
RUNS = 9

BARE_SETTINGS = """
SECRET_KEY = "bare"
ROOT_URLCONF = "bare_urls"
USE_TZ = True
STATIC_URL = "static/"
CONTRIB = ["admin", "auth", "contenttypes", "sessions", "messages", "staticfiles"]
INSTALLED_APPS = [f"django.contrib.{name}" for name in CONTRIB] + ["rest_framework"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
BARE_URLS = """
from django.contrib import admin
from django.urls import path
from rest_framework.views import APIView

urlpatterns = [path("admin/", admin.site.urls), path("view", APIView.as_view())]
"""
BARE_MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "bare_settings"
execute_from_command_line(sys.argv)
"""


# Prints the names of all modules that `manage.py check` has loaded, as the last line.
LOADED = """
import atexit, json, runpy, sys
sys.argv = ["manage.py", "check"]
atexit.register(lambda: print(json.dumps(list(sys.modules))))
runpy.run_path("manage.py", run_name="__main__")
"""
# Modules that only some requests or commands need and that are slow to load.
HEAVY = {
    "bson", "cryptography", "drf_spectacular.openapi", "granian", "httpx", "openpyxl", "phonenumbers", "plivo",
    "pydantic", "pymongo", "pythonjsonlogger", "redis", "telnyx", "twilio",
}  # fmt: skip
MOST_MODULES = 245


@contextmanager
def bare_project() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        bare = Path(name)
        (bare / "bare_settings.py").write_text(BARE_SETTINGS)
        (bare / "bare_urls.py").write_text(BARE_URLS)
        (bare / "manage.py").write_text(BARE_MANAGE)
        yield bare


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "SECRET_KEY": "bench" * 12,
        "CREDENTIAL_KEYS": base64.urlsafe_b64encode(bytes(32)).decode(),
        "PUBLIC_URL": "https://phones.example.com",
        "ENV_FILE": os.devnull,
        "PYTHONDONTWRITEBYTECODE": "",  # or each run would compile our modules, and not those of the packages
    }


def counted() -> list[Line]:
    """The number of modules loaded in addition to the bare project's, and of those that must not be loaded."""
    with bare_project() as bare:
        ours, theirs = (loaded(directory) for directory in (BASE_DIR, bare))
    heavy = sorted(ours & HEAVY)
    print("loaded by manage.py check and heavy:", ", ".join(heavy) or "nothing")
    return [
        Line("manage.py check: modules beyond bare Django + DRF", len(ours - theirs), MOST_MODULES),
        Line("manage.py check: heavy modules", len(heavy), 0, exact=True),
    ]


def loaded(directory: Path) -> set[str]:
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, cwd=directory, env=environment(), check=True, stdout=subprocess.PIPE)
    return set(json.loads(done.stdout.splitlines()[-1]))


def cpu_s(directory: Path) -> float:
    """CPU seconds of one `manage.py check` in a directory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "manage.py", "check"]
    subprocess.run(command, cwd=directory, env=environment(), check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    with bare_project() as bare:
        for directory in (BASE_DIR, bare):
            cpu_s(directory)  # compiles the bytecode
        runs = [(cpu_s(BASE_DIR), cpu_s(bare)) for _ in range(RUNS)]
    ours, theirs = min(run[0] for run in runs), min(run[1] for run in runs)
    print(f"manage.py check: {ours:.2f} s of CPU; bare Django + DRF: {theirs:.2f} s")
    finish([Line("manage.py check / bare Django + DRF", ours / theirs, 1.3)], check=options.check)


if __name__ == "__main__":
    main()
