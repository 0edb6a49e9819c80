"""The numbers at the support desk: the list, and what can be done with one or several of them."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from core.errors import Refusal
from core.fields import OBJECT_ID
from core.secrets import CannotOpen
from integrations import CARRIERS, PROVIDERS
from integrations.errors import IntegrationError
from phones.api.audio import read_range, stream_audio
from phones.desk import outcomes, words
from phones.desk.filters import AddedFilter, CarrierFilter, HealthFilter, WorkspaceFilter
from phones.desk.forms import AddPhoneForm, ChangePhoneForm, MoveForm, RotateForm
from phones.desk.pages import DeskAdmin
from phones.desk.sentences import sentence
from phones.errors import LineBusy, NoSuchPhone, NumberRetired
from phones.models import Call, Line, PhoneNumber, Recording
from phones.numbers import readable
from phones.services import (
    add_phone,
    available_phones,
    change_phone,
    check_phone,
    enter_public_key,
    move_phone,
    remove_phone,
    rotate_auth_token,
)
from phones.services.call_log import active_numbers
from phones.services.checking import check_lines
from phones.services.phone_list import with_details
from phones.services.picking import write_cursor
from phones.services.rejected_webhooks import refused_webhooks
from phones.services.removing import remove_phones
from phones.services.searching import find_phones
from phones.services.slots import carrier_slot
from users.limits import LimitReached
from users.models import User

# How many numbers one confirmation may remove, and how many are removed before the page shows its progress.
MAX_REMOVED, REMOVED_PER_PAGE = 200, 8
SECRETS = method_decorator(sensitive_post_parameters("auth_token", "kept_token"))


class PhoneNumberAdmin(DeskAdmin):
    """Active and retired numbers. While a number is being added or removed, nobody owns it."""

    list_display = ["shown_number", "health", "carrier", "label", "owner", "workspace", "last_call", "added"]
    list_display_links = ["shown_number"]
    list_filter = [HealthFilter, CarrierFilter, ("created_at", AddedFilter), WorkspaceFilter]
    list_per_page = 50
    search_fields = ["number"]  # shows the search box; get_search_results() does the search
    search_help_text = "Any part of the number, the owner's e-mail address or the label"
    ordering = ["-created_at", "-pk"]
    actions = ["check_selected", "repair_selected", "remove_selected"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[PhoneNumber]:
        # Exclude the rare states: almost all rows are ACTIVE, and filtering on it makes planners pick a useless index.
        numbers = with_details(
            PhoneNumber.objects.exclude(state__in=PhoneNumber.UNFINISHED),
            Call.objects.filter(account__workspace=OuterRef("user__workspace")),
        )
        return numbers.select_related("user__workspace").order_by(*self.ordering)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PhoneNumber], search_term: str
    ) -> tuple[QuerySet[PhoneNumber], bool]:
        return find_phones(queryset, search_term), False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("<id>/check/", view(self.check_view), name="phones_phonenumber_check"),
            path("<id>/token/", view(self.rotate_view), name="phones_phonenumber_rotate"),
            path("<id>/move/", view(self.move_view), name="phones_phonenumber_move"),
            path("remove/", view(self.remove_several_view), name="phones_phonenumber_remove_several"),
            path("recordings/<id>/media", view(self.media_view), name="phones_recording_media"),
        ]
        return own + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Phone numbers", **(extra_context or {})})

    # -- the list ------------------------------------------------------------------------------------------------------

    @admin.display(description="Number")
    def shown_number(self, phone: PhoneNumber) -> str:
        return readable(phone.number)

    @admin.display(description="Owner")
    def owner(self, phone: PhoneNumber) -> str:
        return phone.user.email

    @admin.display(description="Workspace")
    def workspace(self, phone: PhoneNumber) -> str:
        return str(phone.user.workspace)

    @admin.display(description="Carrier")
    def carrier(self, phone: PhoneNumber) -> SafeString:
        hue, label = words.hue_of(phone.integration), PROVIDERS[phone.integration]
        return format_html('<span class="badge carrier {}">{}</span>', hue, label)

    @admin.display(description="Health")
    def health(self, phone: PhoneNumber) -> SafeString:
        return format_html('<span class="badge {}">{}</span>', phone.health, phone.health)

    @admin.display(description="Last call", empty_value="never")
    def last_call(self, phone: PhoneNumber) -> Any:
        return phone.last_call_at  # type: ignore[attr-defined]

    @admin.display(description="Added")
    def added(self, phone: PhoneNumber) -> Any:
        return phone.created_at

    @admin.action(description="Check selected numbers", permissions=["check"])
    def check_selected(self, request: HttpRequest, phones: QuerySet[PhoneNumber]) -> None:
        self.check_all(request, phones, repair=False)

    @admin.action(description="Check and repair selected numbers", permissions=["repair"])
    def repair_selected(self, request: HttpRequest, phones: QuerySet[PhoneNumber]) -> None:
        self.check_all(request, phones, repair=True)

    def check_all(self, request: HttpRequest, phones: QuerySet[PhoneNumber], *, repair: bool) -> None:
        retired = Q(state=PhoneNumber.State.RETIRED)
        for phone in phones.filter(retired):  # its line is another workspace's
            self.message_user(request, f"{readable(phone.number)}: {words.why_retired(phone)}", messages.WARNING)
        lines = Line.objects.filter(pk__in=list(phones.exclude(retired).values_list("line", flat=True)))
        with carrier_slot():
            for line, check in check_lines(lines, repair=repair):
                level, text = outcomes.of_check(check)
                self.message_user(request, f"{readable(line.number)}: {text}", level)

    @admin.action(description="Remove selected numbers…", permissions=["delete"])
    def remove_selected(self, request: HttpRequest, phones: QuerySet[PhoneNumber]) -> HttpResponse | None:
        """Ask for confirmation; `remove_several_view` removes the numbers."""
        chosen = list(phones[: MAX_REMOVED + 1])
        if len(chosen) > MAX_REMOVED:
            text = f"You can remove at most {MAX_REMOVED} numbers at a time. Nothing was removed. Select fewer numbers."
            self.message_user(request, text, messages.ERROR)
            return None
        removed_with = [phone.pk for phone in chosen]
        title = f"Remove {len(chosen)} number{pluralize(len(chosen))}?"
        rows = [
            {"phone": phone, "restored": words.restored_settings(phone, removed_with=removed_with)} for phone in chosen
        ]
        return self.render_page(request, "remove_several", title, rows=rows)

    def remove_several_view(self, request: HttpRequest) -> HttpResponse:
        """Remove the first few numbers and show the progress on a page that submits the remaining ones."""
        if request.method != "POST" or not self.has_delete_permission(request):
            raise PermissionDenied
        ids = [id for id in request.POST.getlist("id") if OBJECT_ID.fullmatch(id)][:MAX_REMOVED]
        remaining, is_paused = ids[REMOVED_PER_PAGE:], False
        try:
            with carrier_slot():
                self.remove_all(request, ids[:REMOVED_PER_PAGE])
        except LimitReached:
            remaining, is_paused = ids, True
        if not remaining:
            return redirect("admin:phones_phonenumber_changelist")
        total = max(len(ids), int(given) if (given := request.POST.get("total", "")).isdecimal() else 0)
        return self.render_page(
            request, "removing", f"Removing {total} number{pluralize(total)}",
            remaining=remaining, total=total, done=total - len(remaining), is_paused=is_paused,
        )  # fmt: skip

    def remove_all(self, request: HttpRequest, ids: list[str]) -> None:
        found = self.get_queryset(request).filter(pk__in=ids)
        for phone, restoration in remove_phones(found):
            if restoration:
                level, text = outcomes.OF_REMOVAL[restoration]
            elif found.filter(pk=phone.pk).exists():
                level, text = messages.ERROR, "could not be removed; see the log for the reason."
            else:
                level, text = messages.WARNING, "was removed by someone else at the same time."
            self.message_user(request, f"{readable(phone.number)} {text}", level)

    def has_check_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("phones.check_phonenumber")

    def has_repair_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("phones.repair_phonenumber")

    # -- one number ----------------------------------------------------------------------------------------------------

    @SECRETS
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = AddPhoneForm(request.POST or None, staff=cast(User, request.user))
        if form.is_valid():
            try:
                return self.pick(request, form) if form.is_pick else self.add(request, form)
            except (Refusal, IntegrationError) as refusal:
                form.refuse(refusal)
        form.keep_token()
        return self.render_page(
            request, "add", "Add a number", form=form, adminform=admin_form(form), carriers=CARRIERS
        )

    def add(self, request: HttpRequest, form: AddPhoneForm) -> HttpResponse:
        with carrier_slot():
            phone = add_phone(**form.arguments)
        text = f"{readable(phone.number)} was added. Its calls are now handled here."
        self.message_user(request, text, messages.SUCCESS)
        return redirect("admin:phones_phonenumber_change", phone.pk)

    def pick(self, request: HttpRequest, form: AddPhoneForm) -> HttpResponse:
        with carrier_slot():
            numbers, following = available_phones(**form.arguments)
        form.keep_token()
        return self.render_page(
            request, "pick", "Choose a number",
            numbers=numbers, cursor=write_cursor(following) if following else "", hidden_fields=hidden_fields(form),
        )  # fmt: skip

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        phone = self.get_phone(request, object_id)
        if not self.has_view_or_change_permission(request, phone):
            raise PermissionDenied
        may_change = self.has_change_permission(request, phone)
        form = ChangePhoneForm(request.POST or None, phone=phone)
        if request.method == "POST":
            if not may_change:
                raise PermissionDenied
            if phone.is_retired:
                return self.leave_retired(request, phone)
            if form.is_valid():
                try:
                    change_phone(phone, form.changes)
                    self.message_user(request, "Saved.", messages.SUCCESS)
                    return redirect("admin:phones_phonenumber_change", phone.pk)
                except Refusal as refusal:
                    form.refuse(refusal)
        assert phone.line and phone.account  # noqa: S101  every number that is shown has them
        calls = words.recent_calls(phone)
        return self.render_page(
            request, "number", readable(phone.number),
            phone=phone, line=phone.line, account=phone.account, form=form,
            may_change=may_change and not phone.is_retired,
            why_retired=words.why_retired(phone) if phone.is_retired else "",
            sharing=words.sharing(phone),
            settings=words.carrier_settings(phone),
            calls=[{"row": call, "recordings": words.recordings_of(call)} for call in calls],
            events=words.recent_events(calls),
            refusals=refused_webhooks(phone.account),
            entries=words.recent_entries(phone),
        )  # fmt: skip

    def check_view(self, request: HttpRequest, id: str) -> HttpResponse:
        phone, repair = self.get_phone(request, id), "repair" in request.POST
        allowed = self.has_repair_permission(request) if repair else self.has_check_permission(request)
        if request.method != "POST" or not allowed:
            raise PermissionDenied
        if phone.is_retired:
            return self.leave_retired(request, phone)
        try:
            with carrier_slot():
                level, text = outcomes.of_check(check_phone(phone, repair=repair))
        except NoSuchPhone:
            raise Http404 from None
        except LineBusy as refusal:
            level, text = messages.ERROR, sentence(refusal)
        self.message_user(request, text, level)
        return redirect("admin:phones_phonenumber_change", phone.pk)

    @SECRETS
    def rotate_view(self, request: HttpRequest, id: str) -> HttpResponse:
        phone = self.get_phone(request, id)
        if not request.user.has_perm("phones.rotate_phonenumber"):
            raise PermissionDenied
        if phone.is_retired:
            return self.leave_retired(request, phone)
        form = RotateForm(request.POST or None, phone=phone)
        if form.is_valid():
            try:
                with carrier_slot():
                    level, text = renew_credentials(phone, **form.cleaned_data)
                self.message_user(request, text, level)
                return redirect("admin:phones_phonenumber_change", phone.pk)
            except (Refusal, IntegrationError) as refusal:
                form.refuse(refusal)
            except CannotOpen as error:
                form.add_error(None, sentence(error))
        return self.render_page(request, "rotate", "Change auth token", form=form, phone=phone)

    @SECRETS
    def move_view(self, request: HttpRequest, id: str) -> HttpResponse:
        phone = self.get_phone(request, id)
        if not request.user.has_perm("phones.move_phonenumber"):
            raise PermissionDenied
        if phone.is_retired:
            return self.leave_retired(request, phone)
        form = MoveForm(request.POST or None, phone=phone)
        if form.is_valid():
            try:
                with carrier_slot():
                    moved = move_phone(phone, **form.arguments)
                text = f"{readable(moved.number)} was moved: its calls are now handled for {moved.user.email}."
                self.message_user(request, text, messages.SUCCESS)
                return redirect("admin:phones_phonenumber_change", moved.pk)
            except (Refusal, IntegrationError) as refusal:
                form.refuse(refusal)
        title = f"Move {readable(phone.number)} to another workspace"
        return self.render_page(
            request, "move", title, form=form, adminform=admin_form(form), phone=phone, sharing=words.sharing(phone)
        )

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        phone = self.get_phone(request, object_id)
        if not self.has_delete_permission(request, phone):
            raise PermissionDenied
        if request.method == "POST":
            try:
                with carrier_slot():
                    level, text = outcomes.OF_REMOVAL[remove_phone(phone)]
            except NoSuchPhone:
                raise Http404 from None
            except LineBusy as refusal:
                self.message_user(request, sentence(refusal), messages.ERROR)
                return redirect("admin:phones_phonenumber_change", phone.pk)
            self.message_user(request, f"{readable(phone.number)} {text}", level)
            return redirect("admin:phones_phonenumber_changelist")
        return self.render_page(
            request, "remove", f"Remove {readable(phone.number)}?", phone=phone, restored=words.restored_settings(phone)
        )

    def media_view(self, request: HttpRequest, id: str) -> HttpResponseBase:
        if not request.user.has_perm("phones.hear_recording"):
            raise PermissionDenied
        rows = Recording.objects.select_related("account", "call__line")
        recording: Recording = self.get_or_404(rows, id)
        owners = active_numbers(str(recording.account.workspace_id)).filter(line=recording.call.line_id)
        if recording.call.line_id is None or not owners.exists():
            raise Http404
        try:
            return stream_audio(recording, read_range(request), session=str(request.session.session_key))
        except (IntegrationError, CannotOpen) as error:
            return HttpResponse(sentence(error), status=502, content_type="text/plain; charset=utf-8")

    # -- parts ---------------------------------------------------------------------------------------------------------

    def get_phone(self, request: HttpRequest, id: str) -> PhoneNumber:
        return self.get_or_404(self.get_queryset(request), id)

    def leave_retired(self, request: HttpRequest, phone: PhoneNumber) -> HttpResponse:
        """Refuse what a retired number does not offer, as to somebody whose page is from before."""
        self.message_user(request, sentence(NumberRetired()), messages.ERROR)
        return redirect("admin:phones_phonenumber_change", phone.pk)


def renew_credentials(
    phone: PhoneNumber, auth_token: str, *, end_old_token: bool, public_key: str = ""
) -> tuple[int, str]:
    """Verify and store what was entered of a new token and a new public key. Returns what was done, in a sentence, with
    its level."""
    done = "Webhooks are now verified with this public key, for all numbers of the account."
    if auth_token:
        rotate_auth_token(phone, auth_token, end_old_token=end_old_token)
        done = "The new auth token was verified. It now applies to all numbers of the account."
    try:
        if public_key:
            enter_public_key(phone, public_key)
    except (Refusal, IntegrationError) as refusal:
        if not auth_token:
            raise
        return messages.WARNING, f"{done} The public key was not stored: {sentence(refusal)}"
    return messages.SUCCESS, done


def admin_form(form: AddPhoneForm | MoveForm) -> helpers.AdminForm:
    return helpers.AdminForm(form, form.fieldsets, {})  # type: ignore[arg-type]


def hidden_fields(form: AddPhoneForm) -> list[tuple[str, str]]:
    """Return the fields to resend from the page for choosing: all but the token and those that the page itself has."""
    own = {"number", "auth_token", "cursor"}
    return [(name, form.data[name]) for name in form.fields if name not in own and form.data.get(name)]
