"""Removes numbers and dies on the way: the process that tests/proofs/test_removal_kills.py kills.

Like tests/support/kill_one_add.py, whose cuts it uses; a job has the id of the `phone`, and `cut`, `when` and `call`.
"""

from typing import Any

from tests.support.kill_one_add import REFUSED, SUCCEEDED, main, put_wanted


def remove(job: dict[str, Any]) -> tuple[int, int]:
    from phones.models import PhoneNumber
    from phones.services import remove_phone
    from phones.services.restoring import Restoration

    phone = PhoneNumber.objects.get(pk=job["phone"])
    cut = put_wanted(job)
    is_done = remove_phone(phone) is not Restoration.LATER
    return SUCCEEDED if is_done else REFUSED, cut.calls


if __name__ == "__main__":
    main(remove)
