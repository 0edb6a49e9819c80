"""System checks of the settings at start. Each message has an id and names the variable."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from core.secrets import is_key

WORKSPACE = "workspace"
BLANK = re.compile(r"\s")
# A key with fewer characters, or fewer distinct ones, can be guessed; keys from documentation are known.
KEY_LENGTH, KEY_CHARACTERS = 32, 5
PLACEHOLDER = re.compile(r"change.?me|replace.?me|secret.?key|placeholder|example|django-insecure", re.IGNORECASE)
LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}


@register(WORKSPACE)
def check_credential_keys(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    how = 'Make one with: python -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'
    if not settings.CREDENTIAL_KEYS:
        return [Error("CREDENTIAL_KEYS is not set.", hint=how, id="workspace.E001")]
    bad = [place for place, key in enumerate(settings.CREDENTIAL_KEYS, 1) if not is_key(key)]
    if bad:
        text = f"CREDENTIAL_KEYS: key {bad[0]} of {len(settings.CREDENTIAL_KEYS)} is not url-safe base64 of 32 bytes."
        return [Error(text, hint=how, id="workspace.E002")]
    return []


@register(WORKSPACE)
def check_secret_key(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    key = settings.SECRET_KEY
    if len(key) >= KEY_LENGTH and len(set(key)) >= KEY_CHARACTERS and not PLACEHOLDER.search(key):
        return []
    text = f"SECRET_KEY can be guessed: it must be random, with at least {KEY_LENGTH} characters."
    return [Error(text, hint="Make one with: openssl rand -hex 32", id="workspace.E007")]


@register(WORKSPACE)
def check_debug(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """DEBUG is only for a server that BIND, PUBLIC_URL and TRUSTED_PROXY_COUNT all keep on this machine."""
    exposed = {
        "BIND": not is_on_this_machine(settings.BIND),
        "PUBLIC_URL": host_of(settings.PUBLIC_URL) not in LOOPBACK_HOSTS,
        "TRUSTED_PROXY_COUNT": settings.TRUSTED_PROXY_COUNT > 0,
    }
    exposed_by = [name for name, is_exposed in exposed.items() if is_exposed]
    if settings.DEBUG and exposed_by:
        reasons = " and ".join(exposed_by)
        text = f"DEBUG is on, but others can reach this server ({reasons}): error pages would show them the settings."
        return [Error(text, hint="Turn DEBUG off.", id="workspace.E008")]
    return []


def host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def is_on_this_machine(bind: str) -> bool:
    """Whether an address can be reached only from this machine."""
    try:
        address = urlsplit(f"//{bind}")
        return bind.startswith("unix:") or (address.hostname in LOOPBACK_HOSTS and address.port is not None)
    except ValueError:
        return False


@register(WORKSPACE)
def check_urls(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    urls = {f"{name.upper()}_API_URL": url for name, url in settings.CARRIER_API_URLS.items()}
    urls["PUBLIC_URL"] = settings.PUBLIC_URL
    problems: list[CheckMessage] = []
    for variable, url in urls.items():
        try:
            parts, port = urlsplit(url), urlsplit(url).port
        except ValueError:
            parts, port = urlsplit(""), None
        plain = parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
        if not parts.hostname or BLANK.search(url) or port == 0 or not (parts.scheme == "https" or plain):
            problems.append(
                Error(f"{variable} must be an https:// address (http only on this machine).", id="workspace.E003")
            )
        elif parts.query or parts.fragment or parts.username:
            problems.append(Error(f"{variable} must have no query, fragment or credentials.", id="workspace.E004"))
    return problems


@register(WORKSPACE)
def check_files(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """manage.py and the server create files that only their user can read; these may have been created otherwise."""
    database = settings.DATABASES["default"]
    files = [settings.ENV_FILE, *([database["NAME"]] if database["ENGINE"] == "core.databases.sqlite" else [])]
    open_to_others = [file for file in map(Path, files) if file.is_file() and file.stat().st_mode & 0o077]
    return [
        Warning(
            f"{file.name} can be read by other users of this machine.", hint=f"chmod 600 {file}", id="workspace.W001"
        )
        for file in open_to_others
    ]


@register(Tags.security, deploy=True)
def check_production(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    if host_of(settings.PUBLIC_URL) in LOOPBACK_HOSTS:
        return [Error("PUBLIC_URL points at this machine, so carriers cannot reach it.", id="workspace.E005")]
    if not settings.STAFF_TOTP:
        return [Error("STAFF_TOTP is off, so a password alone gives access to the admin.", id="workspace.E006")]
    return []
