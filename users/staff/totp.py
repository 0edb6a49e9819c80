"""The second factor of staff: a code from an app, required after the password (docs/decisions/0008)."""

import base64
import secrets
import time
from datetime import timedelta
from math import ceil
from typing import Any
from urllib.parse import quote, urlencode

import django_otp
from django import forms
from django.conf import settings
from django.contrib.auth import logout
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django_otp.middleware import OTPMiddleware

from core.secrets import CannotOpen, Secret
from users import audit, limits
from users.models import StaffDevice, User

WRONG_CODE = "This code is incorrect or was already used. Wait for the next code and try again."
UNREADABLE = (
    "Codes cannot be checked because an encryption key is missing on the server. Ask the server administrator to "
    "restore the key or to run: manage.py reset_totp EMAIL"
)
ISSUER = "Workspace Phones"
KEY_BYTES = 20
PENDING_KEY = "totp_key"
PASSWORD_AT = "password_at"
# After this, the password is required again, so that an old session cannot set up a new device.
PASSWORD_LASTS = timedelta(minutes=10)


class TotpMiddleware(OTPMiddleware):
    """Adds `request.user.is_verified()`: whether this session gave a code of the user's current device."""

    def __call__(self, request: HttpRequest) -> Any:
        if request.path.startswith("/api/"):
            return self.get_response(request)
        return super().__call__(request)

    def _device_from_persistent_id(self, persistent_id: str) -> StaffDevice | None:
        return StaffDevice.objects.filter(pk=persistent_id).first()


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=16,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}),
    )


def ask_for_code(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show the page after the password: ask for a code, or set up a device if the user has none.

    Args:
        request: from a staff member whose password was correct.
        context: the context that every admin page needs.
    """
    if time.time() - request.session.get(PASSWORD_AT, 0) > PASSWORD_LASTS.total_seconds():
        logout(request)
        return HttpResponseRedirect(f"{reverse('admin:login')}?{urlencode({'next': next_url(request)})}")
    user: Any = request.user
    device = StaffDevice.objects.filter(user=user).first()
    form = CodeForm(request.POST if request.method == "POST" else None)
    status, headers = 200, {}
    if form.is_valid():
        code = form.cleaned_data["code"].replace(" ", "")
        try:
            if verified := check_code(user, device, code) if device else enrol(request, code):
                django_otp.login(request, verified)
                request.session.cycle_key()
                audit.record("login")
                return HttpResponseRedirect(next_url(request))
            form.add_error("code", WRONG_CODE)
        except CannotOpen:
            form.add_error("code", UNREADABLE)
            status = 503
        except limits.LimitReached as refusal:
            minutes = ceil(refusal.retry_after_s / 60)
            form.add_error("code", f"Too many incorrect codes. Try again in {minutes} min.")
            status, headers = 429, refusal.headers
    title = "Enter your code" if device else "Set up two-factor authentication"
    context |= {"form": form, "next": next_url(request), "title": title}
    if not device:
        key = pending_key(request)
        context |= {"key": in_groups(key), "qr": qr_code(address_of(user, key))}
    return TemplateResponse(request, "admin/totp.html", context, status=status, headers=headers)


def check_code(user: User, device: StaffDevice, code: str) -> StaffDevice | None:
    """Return the device if the code is correct, else None. Wrong codes are counted. Raises LimitReached."""
    with limits.hold(("codes", user.pk)) as guess:
        if device.verify_token(code):
            return device
        guess.spend()
    audit.record("totp.failed", outcome="wrong_code")
    return None


def enrol(request: HttpRequest, code: str) -> StaffDevice | None:
    """Store the key that this session was shown, if the code is correct for it. Returns the new device or None."""
    user: Any = request.user
    device = StaffDevice(user=user, secret=Secret.seal(pending_key(request)))
    step = device.step_of(code)
    if step is None:
        return None
    device.last_step = step
    try:
        with transaction.atomic():
            device.save(force_insert=True)
    except IntegrityError:  # set up in another window in the meantime
        return None
    request.session.pop(PENDING_KEY)
    audit.record("totp.enrolled")
    return device


def pending_key(request: HttpRequest) -> str:
    """Return the key that this session is shown. Other sessions get another one, even with the same password."""
    kept = Secret(request.session.get(PENDING_KEY, ""))
    if not kept.is_readable():
        key = base64.b32encode(secrets.token_bytes(KEY_BYTES)).decode()
        kept = Secret.seal(key)
        request.session[PENDING_KEY] = kept.sealed
    return kept.open()


def reset_device(user: User) -> None:
    """Delete a user's device. The next sign-in sets up a new one; open sessions are blocked until then."""
    StaffDevice.objects.filter(user=user).delete()
    audit.record("totp.reset", workspace_id=user.workspace_id, detail=user.email)


def address_of(user: User, key: str) -> str:
    # https://github.com/google/google-authenticator/wiki/Key-Uri-Format, read 2026-11-23
    label = quote(f"{ISSUER}:{user.email}")
    return f"otpauth://totp/{label}?{urlencode({'secret': key, 'issuer': ISSUER}, quote_via=quote)}"


def qr_code(text: str) -> str:
    import segno  # loaded only when a device is set up

    return segno.make(text, micro=False).svg_inline(scale=5, light="#fff")


def in_groups(key: str) -> str:
    return " ".join(key[start : start + 4] for start in range(0, len(key), 4))


def next_url(request: HttpRequest) -> str:
    url = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return url if is_ours else reverse("admin:index")


def is_signed_in(request: HttpRequest) -> bool:
    """Whether this staff member has passed every factor that is required."""
    return not settings.STAFF_TOTP or request.user.is_verified()  # type: ignore[union-attr]
