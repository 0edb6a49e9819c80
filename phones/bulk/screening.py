"""What can be said about rows before a carrier is asked."""

import logging
import time

from core.errors import Refusal
from core.wire import validated
from phones.api.sentences import sentence, wire_name
from phones.api.serializers import AddRowSerializer
from phones.bulk.files import FileRow
from phones.bulk.rows import EXISTS, FAILED, IN_WORKSPACE, BulkRow, Key, RowOutcome
from phones.errors import NoSuchUser
from phones.models import PhoneNumber
from phones.services.accounts import Credentials
from users.models import MAY_OWN_NUMBERS, User

log = logging.getLogger(__name__)


def screen(file_rows: list[FileRow], *, workspace_id: str | None) -> tuple[list[BulkRow], list[RowOutcome]]:
    """Separate the rows to try from those whose outcome is known without asking a carrier."""
    serializer = AddRowSerializer()
    rows, outcomes, to_try = [], [], []
    for file_row in file_rows:
        parsed = parse_row(serializer, file_row)
        if isinstance(parsed, BulkRow):
            rows.append(parsed)
        else:
            outcomes.append(parsed)
    existing = set()
    try:
        find_users(rows, workspace_id=workspace_id)
        for row in rows:
            row.user_id = row.user.pk if row.user else row.user_id
        existing = existing_keys(rows)
    except Exception as error:  # each row is looked up again when it is tried
        log.error("Rows could not be looked up together", exc_info=error)
    for row in rows:
        if row.is_user_known and row.user is None:
            outcomes.append(row.outcome(FAILED, NoSuchUser()))
        elif row.key in existing:
            outcomes.append(row.outcome(EXISTS, message=IN_WORKSPACE))
        else:
            to_try.append(row)
    return to_try, outcomes


def parse_row(serializer: AddRowSerializer, row: FileRow) -> BulkRow | RowOutcome:
    """Validate a row as the API validates a request: the same fields fail with the same error."""
    try:
        if row.problem:
            raise row.problem
        fields = dict(validated(serializer, row.fields))
    except Refusal as error:
        return RowOutcome(row.line, row.shown(), FAILED, error.code, wire_name(error.field), sentence(error))
    credentials = {name: fields.pop(name) for name in ("integration", "account_id", "auth_token", "public_key")}
    user_id, number, on_conflict = (fields.pop(name) for name in ("user_id", "number", "on_conflict"))
    return BulkRow(row.line, user_id, number, Credentials(None, **credentials), on_conflict, fields, row.shown())


def find_users(rows: list[BulkRow], *, workspace_id: str | None) -> None:
    """Look up the rows' users, in one query; a user who may not own numbers counts as unknown."""
    users = User.objects.filter(MAY_OWN_NUMBERS)
    if workspace_id:
        users = users.filter(workspace=workspace_id)
    ids = {row.user_id for row in rows if "@" not in row.user_id}
    emails = {row.user_id for row in rows} - ids
    found: dict[str, User] = dict(users.in_bulk(ids))
    if emails:
        found |= {user.email: user for user in users.filter(email__in=emails)}
    for row in rows:
        row.user, row.looked_up_at = found.get(row.user_id), time.monotonic()
        row.credentials.workspace_id = row.user.workspace_id if row.user else None


def existing_keys(rows: list[BulkRow]) -> set[Key]:
    """The keys of the rows whose user has the number already, and possibly of other users with such a number."""
    shown = PhoneNumber.objects.filter(state__in=PhoneNumber.SHOWN, number__in={row.number for row in rows})
    return set(shown.values_list("user_id", "number"))
