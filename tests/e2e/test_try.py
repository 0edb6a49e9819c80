from playwright.sync_api import Page, expect

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


def test_import(desk: Desk, page: Page, tmp_path) -> None:
    file = tmp_path / "n.csv"
    rows = ["userId;phoneNumber;integration;accSId;authToken;label;colour"]
    rows += [
        f"{desk.live.user};+1 212 555 000{n};twilio;{seeds.TWILIO_SID};{seeds.TWILIO_TOKEN};Row {n};red"
        for n in range(1, 9)
    ]
    rows += [f"{desk.live.user};123;twilio;{seeds.TWILIO_SID};{seeds.TWILIO_TOKEN};bad;red"]
    file.write_text("\n".join(rows))
    page.goto(desk.url("phones/import/add/"))
    shoot(page, "import-upload")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Try the rows").click()
    expect(page.get_by_role("button", name="Add ")).to_be_visible(timeout=30000)
    shoot(page, "import-preview")
    page.get_by_role("button", name="Add ").click()
    expect(page.get_by_text("Done.")).to_be_visible(timeout=30000)
    shoot(page, "import-done")
    page.goto(desk.url("phones/import/"))
    shoot(page, "imports")
