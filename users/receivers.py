"""Record sign-ins in the audit trail. Connected by users/apps.py."""

import time
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from users import audit, limits
from users.actor import actor_context, current_actor
from users.models import User
from users.staff.login import guesses_of
from users.staff.totp import PASSWORD_AT


@receiver(user_logged_in)
def note_login(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    request.session[PASSWORD_AT] = time.time()
    with actor_context("staff", user.email, current_actor().address):
        audit.record("login", outcome="code_needed" if settings.STAFF_TOTP else "ok")


@receiver(user_logged_out)
def note_logout(sender: Any, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    if user:
        audit.record("logout")


@receiver(user_login_failed)
def note_failure(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    # During a lockout, attempts are rejected without a row of their own: the row of the lockout stands for them.
    with actor_context("staff", credentials["username"], current_actor().address):
        audit.record("login.failed", outcome="invalid_credentials")
        if request and limits.is_used_up(*guesses_of(request, credentials["username"])):
            audit.record("login.locked", outcome="throttled")
