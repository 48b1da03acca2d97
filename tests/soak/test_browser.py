"""MLflow's pages as a person sees them, driven in a headless Chromium."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.soak.command import ablate, family, start
from tests.toy import write_project

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses that `ablate ui` prints over a toy study, while it serves them."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    folder = tmp_path_factory.mktemp("ui")
    write_project(folder)
    ablate(folder, "run", "toy.yaml", "--no-report")
    server = start(folder, "ui", "toy.yaml", "--port", "0")
    try:
        yield _addresses(server) | {"table": ablate(folder, "table", "toy.yaml")}
    finally:
        # Not Ctrl-C, which a test run in the background of a shell would ignore.
        for process in family(server):
            process.terminate()
        server.communicate(timeout=30)


def _addresses(server: "subprocess.Popen[str]") -> dict[str, str]:
    lines: dict[str, str] = {}
    assert server.stdout is not None
    while "comparison" not in lines:
        name, _, address = server.stdout.readline().strip().partition(" ")
        lines[name] = address.strip()
        assert server.poll() is None, lines
    assert lines["runs"].startswith("http://127.0.0.1:")
    return lines


@pytest.fixture
def browser(tmp_path: Path) -> Iterator["WebDriver"]:
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--window-size=1800,1400",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(argument)
    options.binary_location = str(shutil.which("chromium"))
    driver = Chrome(options, ChromeService(str(shutil.which("chromedriver"))))
    yield driver
    driver.quit()


def wait(browser: "WebDriver", what: Callable[["WebDriver"], Any]) -> Any:
    """What is found on the page, once it is there."""
    from selenium.common.exceptions import StaleElementReferenceException as Redrawn
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 60, ignored_exceptions=(Redrawn,)).until(what)


def run_link(browser: "WebDriver", name: str) -> "WebElement":
    """The link to a run in the list of an experiment's runs."""

    def links(page: "WebDriver") -> Any:
        found = page.find_elements("link text", name)
        return [each for each in found if "/runs/" in (each.get_attribute("href") or "")]

    return wait(browser, links)[0]


def button(browser: "WebDriver", name: str) -> "WebElement":
    found = wait(browser, lambda page: page.find_elements("xpath", f"//button[.='{name}']"))
    return found[0]


def text_of(page: "WebDriver") -> str:
    return " ".join(page.find_element("tag name", "body").text.split())


def said(browser: "WebDriver", text: str) -> bool:
    return wait(browser, lambda page: text in text_of(page))


def metric_cells(browser: "WebDriver", name: str) -> list[str]:
    """A row of the comparison's metrics: the values of the runs, from left to right."""
    link = wait(browser, lambda page: page.find_elements("xpath", f"//a[.='{name}']"))[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    cells = browser.find_elements("css selector", ".ReactVirtualized__Grid span")
    row = [cell for cell in cells if abs(cell.location["y"] - link.location["y"]) < 20]
    return [cell.text for cell in sorted(row, key=lambda cell: cell.location["x"]) if cell.text]


def test_from_the_experiment_to_the_comparison(pages: dict[str, str], browser: "WebDriver") -> None:
    browser.get(pages["runs"])
    links = {arm: run_link(browser, arm) for arm in ("full", "no-dropout", "no-bias")}
    assert said(browser, "Do dropout and biases lower the test error? Against full on test/error")
    for arm in ("full", "no-bias"):
        row = links[arm].find_element("xpath", "ancestor::*[@row-id]").get_attribute("row-id")
        browser.find_element("css selector", f"[row-id='{row}'] .ag-checkbox-input").click()
    button(browser, "Compare").click()
    assert said(browser, "Comparing 2 Runs from 1 Experiment")
    delta = next(line.split()[1] for line in pages["table"].splitlines() if "no-bias " in line)
    baseline, no_bias = metric_cells(browser, "delta/mean")
    assert float(baseline) == 0
    assert float(no_bias) == pytest.approx(float(delta), abs=0.051)
    assert metric_cells(browser, "delta/low")[0] == "NaN"


def test_the_parent_run_is_the_answer_and_its_table(
    pages: dict[str, str], browser: "WebDriver"
) -> None:
    browser.get(pages["runs"])
    run_link(browser, "toy").click()
    button(browser, "Show more").click()
    assert said(browser, "Parameters differ from the 82 of full: no-bias -22%.")
    (answer,) = [line for line in pages["table"].splitlines() if line.startswith("Against full")]
    assert text_of(browser).count(answer) == 1
    rows = [row.text for row in browser.find_elements("css selector", "table tr")]
    assert rows[0].startswith("arm delta 95% interval verdict")
    assert [row.split()[0] for row in rows[1:]] == ["full", "no-dropout", "no-bias"]
    for arm, row in zip(("no-dropout", "no-bias"), rows[2:], strict=True):
        printed = next(line for line in pages["table"].splitlines() if f"{arm} " in line)
        assert printed.split()[:4] == row.split()[:4]


def test_the_addresses_that_ui_prints(pages: dict[str, str], browser: "WebDriver") -> None:
    browser.get(pages["comparison"])
    assert said(browser, "Comparing 3 Runs from 1 Experiment")
    assert len(metric_cells(browser, "delta/mean")) == 3
    assert metric_cells(browser, "delta/holm").count("NaN") == 1
    browser.get(pages["charts"])
    for section in ("delta (5)", "metric (2)", "seeds (4)", "trial (3)"):
        assert said(browser, section)
