"""Files of numbers: tried, looked at, added."""

from pathlib import Path

import openpyxl
from openpyxl.worksheet.worksheet import Worksheet
from playwright.sync_api import Page, expect

from phones.numbers import readable
from tests.e2e.conftest import Desk, choose, fill, says, shoot
from tests.support.carriers import TWILIO

TRY, ADD = "Check rows", "Add "
HEAD = ["userId", "phoneNumber", "integration", "label", "colour"]
# The page comes anew every two seconds.
SOON = 20_000


def bring(page: Page, desk: Desk, file: Path) -> None:
    page.goto(desk.url("phones/import/add/"))
    page.get_by_label("File").set_input_files(file)
    choose(page, "Live", field="workspace")
    fill(page, account_id=TWILIO.acc_sid, auth_token=TWILIO.auth_token)
    page.get_by_role("button", name=TRY).click()


def test_each_row_of_a_file_is_tried_and_then_added_whoever_watches(desk: Desk, page: Page, tmp_path: Path) -> None:
    _, there = desk.added()
    good = [desk.number() for _ in range(24)]
    numbers = [*good, there, "12125550004", "12125559998", "123"]
    file = tmp_path / "numbers.csv"
    lines = [[desk.live.user, number, "twilio", f"Row {line}", "red"] for line, number in enumerate(numbers, 2)]
    file.write_text("\n".join(";".join(line) for line in [HEAD, *lines]))
    desk.sandbox.delay_s = 0.2  # so that there is something to watch

    bring(page, desk, file)
    says(page, "Unknown columns were ignored: colour.")
    expect(page.get_by_role("button", name=ADD)).to_have_text(f"Add {len(good)} numbers", timeout=SOON)
    for number, outcome in [
        (good[0], "can be added"), (there, "already exists"), ("12125550004", "cannot take voice calls"),
        ("12125559998", "does not own"), ("123", "not a phone number"),
    ]:  # fmt: skip
        expect(page.locator("tbody tr").filter(has=page.get_by_text(readable(number), exact=True))).to_contain_text(
            outcome
        )
    assert desk.listed(good[0]) == []
    shoot(page, "import-tried")

    page.get_by_role("button", name=ADD).click()
    expect(page.locator("progress")).to_be_visible()
    page.reload()
    expect(page.get_by_text("You can leave this page and come back later.")).to_be_visible()
    shoot(page, "import-runs", phone=False)
    expect(page.get_by_text("Done.", exact=True)).to_be_visible(timeout=SOON)
    expect(page.get_by_role("link", name=f"added: {len(good)}", exact=True)).to_be_visible()
    page.get_by_role("link", name="cannot be added: 3").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    with page.expect_download() as failed:
        page.get_by_role("link", name="Download the 3 rows that cannot be added").click()
    sheet = openpyxl.load_workbook(failed.value.path().open("rb")).active
    assert isinstance(sheet, Worksheet)
    names, *rows = sheet.values
    reported = [dict(zip(names, row, strict=True)) for row in rows]
    assert [row["phoneNumber"] for row in reported] == numbers[-3:]
    assert [row["label"] for row in reported] == ["Row 27", "Row 28", "Row 29"]
    shoot(page, "import-done", phone=False)
    assert [len(desk.listed(number)) for number in (good[0], good[-1])] == [1, 1]


def test_the_template_is_filled_in_and_read_like_any_file(desk: Desk, page: Page, tmp_path: Path) -> None:
    number = desk.number()
    page.goto(desk.url("phones/import/add/"))
    with page.expect_download() as template:
        page.get_by_role("link", name="Download a template").click()
    book = openpyxl.load_workbook(template.value.path().open("rb"))
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    fields = {
        "userId": desk.live.user,
        "phoneNumber": int(number),
        "integration": "Twilio",
        "label": "From a spreadsheet",
    }
    sheet.append([fields.get(str(name.value)) for name in sheet[1]])
    book.create_sheet("Old numbers").sheet_state = "hidden"
    file = tmp_path / "numbers.xlsx"
    book.save(file)
    bring(page, desk, file)
    says(page, "Sheet “Numbers” was read; its line 1 names the columns. Hidden sheets are never read: “Old numbers”.")
    page.get_by_role("button", name="Add 1 number").click(timeout=SOON)
    expect(page.get_by_text("Done.", exact=True)).to_be_visible(timeout=SOON)
    (phone,) = desk.listed(number)
    assert phone["label"] == "From a spreadsheet"
    page.goto(desk.url("phones/import/"))
    expect(page.locator("#result_list tbody tr").first).to_contain_text("numbers.xlsx")
    shoot(page, "imports")


def test_what_is_no_file_of_numbers_is_refused_beside_the_field(desk: Desk, page: Page, tmp_path: Path) -> None:
    file = tmp_path / "numbers.pdf"
    file.write_bytes(b"%PDF-1.7 \x00\x01")
    bring(page, desk, file)
    expect(page.locator(".form-row.errors .errorlist")).to_be_visible()
    assert TWILIO.auth_token not in page.content()
    shoot(page, "import")
