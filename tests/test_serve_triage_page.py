"""The triage page in a browser, as people use it."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("axe_playwright_python")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from da3d import DA3D, AnomalyPipeline, save
from da3d.datasets import toy
from test_cli_main import run as command

CHROMIUM = "/usr/bin/chromium"
KEY = "a-key-that-is-long-enough"
expect.set_options(timeout=30_000)  # a busy machine is slow, not wrong
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"there is no {CHROMIUM}")


@pytest.fixture
def address(tmp_path):
    """A service as users start it."""
    normal = toy.mixed(rows=300, anomalies=0, seed=0).frame
    save(AnomalyPipeline(DA3D("fast"), random_state=0).fit(normal), tmp_path / "toy.da3d")
    normal.to_csv(tmp_path / "normal.csv", index=False)
    new = toy.mixed(rows=200, anomalies=20, seed=1).frame
    new["note"] = "<img src=x onerror=alert(1)>"
    new.to_csv(tmp_path / "new.csv", index=False)
    line = [sys.executable, "-m", "da3d", "serve", "toy.da3d", "--ui", "--data", "new.csv", "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DA3D_API_KEY": KEY}
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    try:
        yield re.search(r"http://\S+", process.stderr.readline())[0]
    finally:
        process.terminate()
        process.wait(30)
        assert "Traceback" not in process.stderr.read()
        process.stderr.close()


@pytest.fixture
def remarks():
    """Asked for by tests in which requests fail."""


@pytest.fixture
def page(address, request):
    """The page in a browser that was told the key; nothing may go wrong or go elsewhere.

    With the fixture `remarks` the browser may remark on requests that fail.
    """
    found = []
    expected = "remarks" in request.fixturenames
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(
            http_credentials={"username": "me", "password": KEY}, reduced_motion="reduce"
        )
        page = context.new_page()
        page.on("console", lambda message: expected or found.append(message.text))
        page.on("pageerror", lambda error: found.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith((address, "data:")) or found.append(asked.url))
        page.goto(f"{address}/ui")
        expect(page.locator("body[data-ready]")).to_be_attached()
        yield page
        browser.close()
    assert found == []


def test_triage(page, tmp_path):
    rows = page.locator("#body tr")
    order = rows.evaluate_all("all => all.map(each => each.dataset.row)")
    page.get_by_role("button", name="Score").click()
    assert page.locator("[aria-sort]").inner_text().startswith("Score")
    page.get_by_role("button", name="Score").click()
    assert rows.first.get_attribute("data-row") not in order[:20]
    page.get_by_role("button", name="Rank").click()
    assert rows.evaluate_all("all => all.map(each => each.dataset.row)") == order

    before = int(page.locator("#alarms").inner_text())
    page.locator("#slider").fill("-0.6")
    expect(page.locator("#slider-value")).to_contain_text("25")
    assert before < int(page.locator("#alarms").inner_text()) <= 200
    page.get_by_label("the strangest rows per thousand").check()
    page.locator("#slider").fill("1.7")
    expect(page.locator("#alarms")).to_have_text("10")

    rows.first.click()
    expect(page.locator("#detail")).to_contain_text("What raises its score")
    expect(page.locator("#detail .evidence")).to_contain_text("By evidence: ")
    expect(page.locator("#detail")).to_contain_text("<img src=x onerror=alert(1)>")
    for key in ("a", "ArrowDown", "n", "ArrowDown"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Benign pattern").click()
    page.get_by_label("Note").fill("known")
    page.get_by_label("Note").blur()
    expect(page.locator("#tally")).to_have_text("Marked: 1 anomaly, 1 normal, 1 benign")
    page.locator("#body").get_by_text("normal", exact=True).click()
    page.keyboard.press("b")
    expect(page.locator("#tally")).to_have_text("Marked: 1 anomaly, 0 normal, 2 benign")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#tally")).to_have_text("Marked: 1 anomaly, 1 normal, 1 benign")

    page.reload()
    expect(page.locator("#tally")).to_have_text("Marked: 1 anomaly, 1 normal, 1 benign")
    page.locator("#show").select_option("marked")
    expect(rows).to_have_count(3)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    exported = tmp_path / "exported.csv"
    download.value.save_as(exported)
    assert exported.read_bytes() == (tmp_path / "new.feedback.csv").read_bytes()
    with exported.open(newline="") as file:
        said = {
            each["feedback_row"]: (each["feedback"], each["feedback_note"]) for each in csv.DictReader(file)
        }
    assert said == {order[0]: ("anomaly", ""), order[1]: ("normal", ""), order[2]: ("benign", "known")}
    line = ("refit", tmp_path / "toy.da3d", tmp_path / "normal.csv", "--feedback", exported)
    done = command(*line, "-o", tmp_path / "again.da3d", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["feedback"] == {"anomaly": 1, "normal": 1, "benign": 1}


def test_arrows_go_on_from_a_row_that_its_mark_has_hidden(page):
    rows = page.locator("#body tr")
    page.locator("#show").select_option("open")
    drawn = rows.evaluate_all("all => all.map(each => each.dataset.row)")
    rows.nth(4).click()
    page.keyboard.press("a")
    expect(page.locator("#tally")).to_contain_text("1 anomaly")
    page.keyboard.press("ArrowDown")
    expect(page.locator('#body tr[aria-selected="true"]')).to_have_attribute("data-row", drawn[5])


def test_a_note_of_another_page_is_not_overwritten_unseen(page):
    page.locator("#body tr").first.click()
    expect(page.locator("#detail")).to_contain_text("What raises its score")
    note = page.get_by_label("Note")
    note.fill("mine")
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("body[data-ready]")).to_be_attached()
    other.locator("#body tr").first.click()
    other.get_by_label("Note").fill("theirs")
    other.get_by_label("Note").blur()
    expect(other.locator("#said")).to_contain_text("noted")
    expect(page.locator("#body tr").first).to_contain_text("note", timeout=30_000)
    note.blur()
    expect(page.locator("#problem")).to_contain_text("theirs")
    expect(note).to_have_value("mine")
    note.focus()
    note.blur()
    expect(page.locator("#said")).to_contain_text("noted")
    other.reload()
    other.locator("#body tr").first.click()
    expect(other.get_by_label("Note")).to_have_value("mine")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.locator("#body tr").first.click()
    expect(page.locator("#detail")).to_contain_text("What raises its score")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_note_outlives_a_reason_that_comes_late(page):
    rows, held = page.locator("#body tr"), []
    row = rows.nth(15).get_attribute("data-row")
    page.route(f"**/ui/api/rows/{row}", lambda route: held.append(route))
    rows.nth(15).click()
    page.get_by_label("Note").fill("seen before")
    button = page.get_by_role("button", name="Anomaly")
    before = button.bounding_box()
    held[0].continue_()
    expect(page.locator("#detail")).to_contain_text("What raises its score")
    assert button.bounding_box() == before  # nobody clicks beside it
    expect(page.get_by_label("Note")).to_be_focused()
    page.get_by_label("Note").blur()
    expect(page.locator("#said")).to_contain_text("noted")
    page.reload()
    page.locator(f'#body tr[data-row="{row}"]').click()
    expect(page.get_by_label("Note")).to_have_value("seen before")


def refuse_marks(page, status=507):
    """Let every change of a mark fail, as on a full disk; the browser itself will remark on it."""
    answer = {"status": status, "json": {"error": "the mark was not kept: the disk is full"}}
    page.route(
        "**/ui/api/marks*", lambda route: route.fulfill(**answer) if changes(route) else route.continue_()
    )


def changes(route):
    return route.request.method == "POST"


def test_a_note_that_could_not_be_kept_is_still_there(page, remarks):
    rows = page.locator("#body tr")
    refuse_marks(page)
    rows.nth(2).click()
    page.get_by_label("Note").fill("typed with care")
    rows.nth(3).click()
    expect(page.locator("#problem")).to_contain_text("the disk is full")
    expect(page.get_by_label("Note")).to_have_value("")
    rows.nth(2).click()
    expect(page.get_by_label("Note")).to_have_value("typed with care")
    page.unroute("**/ui/api/marks*")
    rows.nth(3).click()
    expect(page.locator("#said")).to_contain_text("noted on")
    expect(page.locator("#problem")).to_be_hidden()
    page.reload()
    rows.nth(2).click()
    expect(page.get_by_label("Note")).to_have_value("typed with care")


def test_an_undo_that_failed_can_be_tried_again(page, remarks):
    page.locator("#body tr").nth(1).click()
    for key in ("a", "n"):
        page.keyboard.press(key)
    expect(page.locator("#tally")).to_have_text("Marked: 0 anomalies, 1 normal, 0 benign")
    refuse_marks(page)
    page.keyboard.press("u")
    expect(page.locator("#problem")).to_contain_text("the disk is full")
    page.unroute("**/ui/api/marks*")
    page.keyboard.press("u")
    page.keyboard.press("u")  # while the one before is under way
    expect(page.locator("#tally")).to_have_text("Marked: 0 anomalies, 0 normal, 0 benign")


def test_a_key_that_is_held_down_marks_once(page):
    page.locator("#body tr").nth(1).click()
    page.keyboard.down("a")
    page.keyboard.down("a")  # as a key repeats
    page.keyboard.up("a")
    expect(page.locator("#tally")).to_have_text("Marked: 1 anomaly, 0 normal, 0 benign")


def test_that_the_service_did_not_answer_is_forgotten_once_it_does(page, remarks):
    page.locator("#body tr").nth(1).click()
    page.route("**/ui/api/**", lambda route: route.abort())
    page.keyboard.press("a")
    expect(page.locator("#problem")).to_contain_text("does not answer")
    page.unroute("**/ui/api/**")
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#problem")).to_be_hidden()


def test_a_page_of_an_earlier_start_says_so(page):
    def other_start(route):
        table = route.fetch().json()
        route.fulfill(json={**table, "opened": "another"})

    page.route("**/ui/api/table", other_start)
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#problem")).to_contain_text("Load the page again")
