"""What the doors may call. Each door reads its input, calls one of these functions and shows the result."""

from phones.services.adding import add_phone, rehearse_add
from phones.services.changing import change_phone, enter_public_key, rotate_auth_token
from phones.services.checking import check_phone
from phones.services.moving import move_phone
from phones.services.picking import available_phones
from phones.services.removing import remove_phone

__all__ = [
    "add_phone",
    "available_phones",
    "change_phone",
    "check_phone",
    "enter_public_key",
    "move_phone",
    "rehearse_add",
    "remove_phone",
    "rotate_auth_token",
]
