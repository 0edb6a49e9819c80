"""The admin site: who has access, and how staff sign in."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path, resolve, reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.common import no_append_slash
from django.views.decorators.csrf import csrf_protect


class Autocomplete(AutocompleteJsonView):
    """Suggestions while somebody types. A model's `in_lists`, if it has one, is the text to choose by."""

    def serialize_result(self, obj: Any, to_field_name: str) -> dict[str, str]:
        result = super().serialize_result(obj, to_field_name)
        return {**result, "text": getattr(obj, "in_lists", result["text"])}


class StaffSite(AdminSite):
    """Django's site, with a second factor after the password where STAFF_TOTP is on."""

    site_header = site_title = "Workspace Phones"
    # The header links to the few pages that staff need.
    enable_nav_sidebar = False
    site_url = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # It deletes rows without calling a service. Models for which that is enough list it among their actions.
        self.disable_action("delete_selected")

    def has_permission(self, request: HttpRequest) -> bool:
        # Imported late: models are not available while the apps are being loaded.
        from users.staff.totp import is_signed_in

        return super().has_permission(request) and is_signed_in(request)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from users.limits import LimitHeld, LimitReached
        from users.staff.login import LoginForm, locked_out
        from users.staff.totp import next_url

        if request.method == "GET" and super().has_permission(request) and not self.has_permission(request):
            return HttpResponseRedirect(f"{reverse('admin:totp')}?{urlencode({'next': next_url(request)})}")
        self.login_form = LoginForm
        try:
            return super().login(request, extra_context)
        except LimitHeld:
            raise  # too many at this moment; workspace/pages.py has the page for it
        except LimitReached as refusal:
            return locked_out(request, refusal, self.each_context(request))

    @method_decorator(no_append_slash)
    def catch_all_view(self, request: HttpRequest, url: str) -> HttpResponse:
        """Redirect a page's address without its final slash, as Django does if APPEND_SLASH is on. It is off because of
        the API, which must not redirect."""
        page = resolve(f"{request.path_info}/").func
        if request.method == "GET" and not url.endswith("/") and getattr(page, "should_append_slash", True):
            return HttpResponseRedirect(request.get_full_path(force_append_slash=True))
        raise Http404

    def autocomplete_view(self, request: HttpRequest) -> HttpResponseBase:  # type: ignore[override]
        return Autocomplete.as_view(admin_site=self)(request)

    @method_decorator([never_cache, csrf_protect])
    def totp(self, request: HttpRequest) -> HttpResponse:
        from users.staff.totp import ask_for_code, next_url

        if not super().has_permission(request) or self.has_permission(request):
            return HttpResponseRedirect(next_url(request))
        return ask_for_code(request, {**self.each_context(request), "is_nav_sidebar_enabled": False})

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        from users import audit

        response: HttpResponse = super().password_change(request, extra_context)
        if isinstance(response, HttpResponseRedirect):
            audit.record("user.password", detail=request.user.get_username())
        return response

    def get_urls(self) -> list[URLResolver | URLPattern]:
        own = [path("totp/", self.totp, name="totp"), path("logout/", self.logout, name="logout")]
        return [*own, *super().get_urls()]
