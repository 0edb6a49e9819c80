from playwright.sync_api import Page

from integrations.sandbox import state as seeds
from tests.e2e.conftest import Desk, shoot


def test_look(desk: Desk, page: Page) -> None:
    t = desk.add("twilio", "12125550001")
    desk.add("plivo", "14155551234")
    desk.add("telnyx", "13125551234")
    desk.api("PATCH", f"phones/{t}", {"label": "Front desk Berlin"})
    desk.sandbox.place_call("twilio", "12125550001", talk_s=4)
    desk.sandbox.place_call("plivo", "14155551234", talk_s=4)
    desk.sandbox.console(
        "twilio",
        seeds.TWILIO_SID,
        number="12125550001",
        voice_url="https://elsewhere.example.com/x?secret=1",
        trunk_sid=seeds.TWILIO_TRUNK,
    )
    desk.api("POST", f"phones/{t}/check")
    desk.live.manage("reconcile")
    page.goto(desk.url())
    shoot(page, "dashboard")
    page.goto(desk.url("phones/phonenumber/"))
    shoot(page, "numbers")
    page.get_by_role("link", name="+1 212-555-0001").click()
    shoot(page, "number")
    page.goto(desk.url("phones/phonenumber/add/"))
    shoot(page, "add")
    page.goto(desk.url(f"phones/phonenumber/{t}/delete/"))
    shoot(page, "remove")
    page.goto(desk.url(f"phones/phonenumber/{t}/token/"))
    shoot(page, "token")
