"""Whatever a carrier replies: no fault of ours, no wrong story, and no route that is not the number's.

Each field of each reply that an add reads has, in turn, each other JSON type, is missing, null or huge.
"""

from dataclasses import replace
from typing import Any

import pytest

from integrations import asking
from integrations.errors import IntegrationError
from integrations.transport import Deadline
from integrations.types import CarrierNumber
from phones.services.carriers import connect
from sandbox.sandbox import Sandbox
from tests.support.carriers import SUBJECTS, Subject, prepare_spare_application
from tests.support.faults import FIRST, KNOWN, READ, Step
from tests.support.nonsense import MISSING, Change, changes

pytestmark = pytest.mark.usefixtures("patient")

READS = {(name, step.path): step for name in KNOWN for step in [*FIRST[name], *KNOWN[name]] if step.kind == READ}
STEPS = [pytest.param(name, step, id=f"{name} {step.name}") for (name, _), step in READS.items()]


def verify(subject: Subject, application_id: str) -> CarrierNumber | str:
    """What is found of the number, or the code of the refusal."""
    good = subject.good
    provider = connect(good.integration, good.acc_sid, good.auth_token, Deadline(20), None)
    try:
        return provider.verify(subject.number, application_id=application_id)
    except IntegrationError as refusal:
        return refusal.code


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "step"), STEPS)
def test_a_reply_with_nonsense_is_told_as_it_is_or_not_used(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str, step: Step
) -> None:
    monkeypatch.setattr(asking, "RETRY_PAUSE_S", (0.0, 0.0))
    subject = SUBJECTS[name]
    application_id = named_by(sandbox, subject, step)
    seen: list[Any] = []

    def see(body: Any) -> Any:
        seen.append(body)
        return body

    fault = sandbox.fault("rewrite", name, method=step.method, path=step.path, times=None, change=see)
    right = verify(subject, application_id)
    assert isinstance(right, CarrierNumber)
    wrong = []
    for change in changes(seen[0]):
        fault.change = change.apply
        found = verify(subject, application_id)
        if found not in (right, "carrier_unavailable") and not is_told_empty(change, right, found):
            wrong.append((str(change), found if isinstance(found, str) else found.settings))
    assert wrong == []


def named_by(sandbox: Sandbox, subject: Subject, step: Step) -> str:
    if step.name != "application":
        return ""
    spare = prepare_spare_application(sandbox)
    return spare if subject.integration == "telnyx" else subject.good.another_link


def is_told_empty(change: Change, right: CarrierNumber, found: CarrierNumber | str) -> bool:
    """Whether the carrier said that a setting is empty, and it was read so."""
    if isinstance(found, str) or not (change.value is None or change.value is MISSING):
        return False
    return replace(found, settings=right.settings, route=right.route, application=right.application) == right
