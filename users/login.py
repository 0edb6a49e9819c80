"""Signing in by e-mail and password, and what happens to those who guess (docs/decisions/0008)."""

from datetime import timedelta
from math import ceil
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.signals import user_login_failed
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from users.addresses import client_address

COOL_OFF: timedelta = settings.AXES_COOLOFF_TIME
# A whole office may share an address.
ACCOUNTS_PER_ADDRESS = 4


class LoginForm(AdminAuthenticationForm):
    username = forms.EmailField(
        label="E-mail", widget=forms.EmailInput(attrs={"autofocus": True, "autocomplete": "username"})
    )
    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "The e-mail address or the password is not right, or they are not those of a staff account.",
    }

    def clean_username(self) -> str:
        return self.cleaned_data["username"].lower()

    def confirm_login_allowed(self, user: Any) -> None:
        try:
            super().confirm_login_allowed(user)
        except forms.ValidationError:
            # The password of a customer's user counts as wrong like any other, so that nothing tells that it is right.
            user_login_failed.send(__name__, credentials={"username": user.get_username()}, request=self.request)
            raise self.get_invalid_login_error() from None


class Handler(AxesDatabaseHandler):
    """Failures of an e-mail address from one client address, and of a client address whatever it tries.

    The second limit is four times the first. Limits know nothing of accounts: unknown ones are locked like others.
    """

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        of_both, of_address = (
            sum(attempts.values_list("failures_since_start", flat=True))
            for attempts in self.get_user_attempts(request, credentials)
        )
        return max(of_both, of_address // ACCOUNTS_PER_ADDRESS)

    def reset_user_attempts(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        # Who signs in has proved to be one user, not that all guesses from this address were harmless.
        of_both: QuerySet[AccessAttempt] = self.filter_user_attempts(request, credentials)[0]
        return of_both.delete()[0]


def forget_what_was_typed(sender: Any, instance: AccessAttempt, **kwargs: Any) -> None:
    """Before an attempt is saved: only who, from where and how often is kept of it."""
    instance.get_data = instance.post_data = instance.http_accept = ""


def locked_out(request: HttpRequest, response: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """The page for those who guessed too often: what happened, and when to try again."""
    last = AccessAttempt.objects.filter(ip_address=client_address(request)).order_by("-attempt_time").first()
    over_at = (last.attempt_time if last else timezone.now()) + COOL_OFF
    wait_s = max(1, ceil((over_at - timezone.now()).total_seconds()))
    context = {**admin.site.each_context(request), "title": "Too many tries", "minutes": ceil(wait_s / 60),
               "limit": settings.LOGIN_FAILURES}  # fmt: skip
    return TemplateResponse(
        request, "admin/locked_out.html", context, status=429, headers={"Retry-After": str(wait_s)}
    ).render()
