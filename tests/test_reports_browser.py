"""The report in a browser: complete in itself, at two widths, and for people who do not see it well."""

from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("axe_playwright_python")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from da3d import DA3D, AnomalyPipeline
from da3d.datasets import toy
from da3d.reports.page import report_page

CHROMIUM = "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"there is no {CHROMIUM}")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A report of the default detector, with labelled rows."""
    normal = toy.mixed(rows=300, anomalies=0, seed=0).frame
    model = AnomalyPipeline(DA3D(steps=(20, 5, 10)), random_state=0).fit(normal)
    new = toy.mixed(rows=200, anomalies=20, seed=1)
    target = tmp_path_factory.mktemp("report") / "report.html"
    target.write_text(report_page(model, new.frame, new.labels), encoding="utf-8")
    return target.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_stands_alone_and_is_accessible(address, scheme, width):
    wrong = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or wrong.append(asked.url))
        page.goto(address)
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        found = Axe().run(page)
        browser.close()
    assert wrong == []
    assert overflow <= 0
    assert found.violations_count == 0, found.generate_report()
