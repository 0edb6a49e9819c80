"""Log-ins that come all at once, as somebody sends them who wants the machine to do nothing else."""

import json
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.sandbox import Sandbox
from sandbox.strangers import Walls, login_post, send_at_once
from tests.support.carriers import TWILIO
from tests.support.knocking import PATIENCE_S, send_add, send_webhook
from tests.support.live import Live, serve

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 150
LEAST_WEBHOOKS = 60


def webhooks(live: Live, sandbox: Sandbox, enough: int, until: Future[Counter[int]]) -> Walls:
    """How long webhooks take, one after the other: so many, and on until this is done."""
    walls = Walls()
    while len(walls) < enough or not until.done():
        status, took_s = send_webhook(live, sandbox, f"CA-{len(walls)}")
        assert status == 200
        walls.append(took_s)
        time.sleep(0.01)
    return walls


@pytest.mark.parametrize("password", ["wrong", "right"])
def test_log_ins_all_at_once_do_not_keep_webhooks_waiting(sandbox: Sandbox, tmp_path: Path, password: str) -> None:
    with serve(tmp_path, sandbox, workers=2) as live:
        assert send_add(live, TWILIO.number).status_code == 201
        made = json.loads(live.manage("create_staff", "--email", "ann@example.com", "--group", "support"))
        address = ("127.0.0.1", live.port)
        post = login_post(address, "ann@example.com", made["password"] if password == "right" else "guess")
        with ThreadPoolExecutor(1) as pool:
            burst = pool.submit(send_at_once, address, [post] * AT_ONCE)
            walls = webhooks(live, sandbox, LEAST_WEBHOOKS, until=burst)
        statuses = burst.result()

        told = Counter(action for (action,) in live.database.rows("users_auditentry", "action"))
    assert statuses.total() == AT_ONCE, "each has its reply"
    assert set(statuses) <= {200, 302, 429}
    assert told["login.failed"] <= 5
    assert walls.p99 / PATIENCE_S < 1 / 3


def test_whoever_goes_on_is_locked_out_and_costs_little(sandbox: Sandbox, tmp_path: Path) -> None:
    """One address goes on and on with other e-mail addresses: twenty are tried, and all others cost no hash."""
    with serve(tmp_path, sandbox, workers=2) as live:
        assert send_add(live, TWILIO.number).status_code == 201
        address = ("127.0.0.1", live.port)
        posts = [login_post(address, f"user{number}@example.com", "guess") for number in range(30)]
        statuses: Counter[int] = Counter()
        while statuses[200] < 20:
            statuses += send_at_once(address, posts)
        assert send_at_once(address, posts * 5) == {429: 150}
        told = Counter(action for (action,) in live.database.rows("users_auditentry", "action"))
    assert statuses[200] == told["login.failed"] == 20
