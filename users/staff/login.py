"""Sign-in by e-mail and password, and the lockout of those who guess (docs/decisions/0008)."""

import hashlib
from math import ceil
from threading import BoundedSemaphore
from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from users import limits
from users.addresses import counted_address

# Hashing a password occupies a core for half a second. There is one process per core: with more than one hash at a time
# in each, sign-ins would starve the webhooks.
HASHED_AT_ONCE = 1
RETRY_AFTER_S = 1

places = BoundedSemaphore(HASHED_AT_ONCE)


class LoginForm(AdminAuthenticationForm):
    username = forms.EmailField(
        label="E-mail", widget=forms.EmailInput(attrs={"autofocus": True, "autocomplete": "username"})
    )
    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "The e-mail address or password is incorrect, or the account is not a staff account.",
    }

    def clean_username(self) -> str:
        return self.cleaned_data["username"].lower()


class StaffBackend(ModelBackend):
    """Signs staff in. Each attempt is counted before its password is hashed (docs/decisions/0004).

    Unknown addresses are locked out like known ones, and the correct password of a customer's user counts as wrong, so
    that the reply reveals neither.
    """

    def authenticate(
        self, request: HttpRequest | None, username: Any = None, password: Any = None, **kwargs: Any
    ) -> Any:
        """Return the user, or None. Raises LimitReached after too many failures, LimitHeld if too many come at once."""
        if request is None or username is None or password is None:
            return None
        # Checked first because it is free: most of a burst is turned away without a database query.
        if not places.acquire(blocking=False):
            raise limits.LimitHeld(RETRY_AFTER_S)
        try:
            with limits.hold(*guesses_of(request, username), wait_s=0) as guess:
                user = super().authenticate(request, username=username, password=password)
                if user is None:
                    guess.spend()
                return user
        finally:
            places.release()

    def user_can_authenticate(self, user: Any) -> bool:
        return user.is_staff and super().user_can_authenticate(user)


def guesses_of(request: HttpRequest, email: str) -> list[tuple[str, str]]:
    """Return what wrong passwords count against: e-mail plus client address, and the client address alone."""
    address = counted_address(request)
    both = hashlib.sha256(f"{email} {address}".encode()).hexdigest()
    return [("passwords", both), ("address_passwords", address)]


def locked_out(request: HttpRequest, refusal: limits.LimitReached, context: dict[str, Any]) -> HttpResponse:
    """Return the lockout page: what happened, and when to try again."""
    context |= {"title": "Too many failed sign-ins", "minutes": ceil(refusal.retry_after_s / 60)}
    return TemplateResponse(request, "admin/locked_out.html", context, status=429, headers=refusal.headers)
