"""System checks at start: what is worth a warning. What cannot work stops the settings (workspace/variables.py)."""

from pathlib import Path

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from workspace.values import host_of, is_loopback
from workspace.variables import misspellings

WORKSPACE = "workspace"


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


@register(WORKSPACE)
def check_names(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """A misspelled setting has no effect."""
    return [Warning(f"{name} {what}", id="workspace.W002") for name, what in misspellings(settings.VARIABLES).items()]


@register(WORKSPACE)
def check_socket(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    if not settings.BIND.startswith("unix:") or settings.TRUSTED_PROXY_COUNT:
        return []
    text = "BIND is a UNIX socket and TRUSTED_PROXY_COUNT is 0, so all clients count as one for the rate limits."
    return [Warning(text, hint="Set TRUSTED_PROXY_COUNT=1.", id="workspace.W003")]


@register(Tags.security, deploy=True)
def check_production(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    if is_loopback(host_of(settings.PUBLIC_URL)):
        return [Error("PUBLIC_URL points at this machine, so carriers cannot reach it.", id="workspace.E005")]
    if not settings.STAFF_TOTP:
        return [Error("STAFF_TOTP is off, so a password alone gives access to the admin.", id="workspace.E006")]
    return []
