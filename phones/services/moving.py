"""Moving a number to another workspace: a removal here and an add there, in one step."""

from phones.errors import NumberRetired, SameWorkspace
from phones.models import PhoneNumber
from phones.services.adding import add_phone
from users.models import User


def move_phone(
    phone: PhoneNumber, *, user: User, account_id: str, auth_token: str, public_key: str = ""
) -> PhoneNumber:
    """Move an active number to a user of another workspace, whose credentials must prove it.

    Its calls are answered all the time: until the carrier has the new settings by the old workspace's, then by the new
    one's. The old workspace keeps its calls; all its users lose the number.

    Args:
        user: who will own it.
        account_id, auth_token, public_key: the new workspace's own credentials, as for `add_phone`.

    Returns the new number. Raises SameWorkspace, NumberRetired, and what `add_phone` raises; then nothing has changed.
    """
    if phone.is_retired:
        raise NumberRetired
    if user.workspace_id == phone.user.workspace_id:
        raise SameWorkspace
    return add_phone(
        user=user,
        number=phone.number,
        integration=phone.integration,
        account_id=account_id,
        auth_token=auth_token,
        public_key=public_key,
        moved=phone,
    )
