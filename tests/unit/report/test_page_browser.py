"""The page in Chromium: at every width, dark and light, printed, by keyboard, without script, with hostile texts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from deploys.core.control import State
from deploys.report.page.render import html
from deploys.report.report import HostReport, build
from tests.support.browser import browser, browser_log, look, printed_sheets
from tests.support.report import a_report, a_run, finding
from tests.support.reported_fleet import HOSTILE, a_fleet, hostile_fleet, recorded_fleet

WIDTHS = (1400, 500, 360)
OVERFLOW = """
const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > wide + 1)
  .map((each) => each.outerHTML.slice(0, 200)).slice(0, 3);"""
SEEN = """
return [...document.querySelectorAll(arguments[0])].filter((each) => each.checkVisibility())
  .map((each) => each.innerText.trim());"""
OPEN_ALL = """
for (const each of document.querySelectorAll("details")) each.open = true;
[...document.querySelectorAll("button.host")].slice(0, 3).forEach((each) => each.click());"""


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    if not shutil.which("chromedriver"):
        pytest.skip("Debian's chromium and chromium-driver are not on this machine (make browser-packages)")
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    reports: dict[str, Any] = {
        "ten": recorded_fleet(10),
        "hostile": hostile_fleet(),
        "thousand": a_fleet(1000, 150, lambda host, control: f"{host % 3} of {control}"),
        "none": build(a_run(), []),
        "rollback": build(a_run("rollback"), [HostReport("a", "ok", changes=[{"subject": "boat", "what": "undone"}])]),
        "good": a_report(finding(State.PASS)),
    }
    for name, report in reports.items():
        (folder / f"{name}.html").write_text(html(report), encoding="utf-8")
    return folder


def text(chrome: Chrome, selector: str) -> list[str]:
    """Of the elements that are seen."""
    found: list[str] = chrome.execute_script(SEEN, selector)
    return found


def find(chrome: Chrome, words: str, state: str = "any", severity: str = "any") -> str:
    field = chrome.find_element(By.NAME, "words")
    field.send_keys(Keys.CONTROL, "a", Keys.NULL, words or Keys.DELETE)
    Select(chrome.find_element(By.NAME, "state")).select_by_visible_text(state)
    Select(chrome.find_element(By.NAME, "severity")).select_by_visible_text(severity)
    chrome.execute_async_script("setTimeout(arguments[0], 300)")  # what is typed is looked for after a moment
    [said] = text(chrome, "#find output")
    return said


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["ten", "hostile", "none", "rollback", "good"])
def test_nothing_is_wider_than_the_window(chrome: Chrome, pages: Path, name: str, width: int, dark: bool) -> None:
    look(chrome, pages / f"{name}.html", width, dark=dark)
    assert chrome.execute_script(OVERFLOW) == []
    chrome.execute_script(OPEN_ALL)
    assert chrome.execute_script(OVERFLOW) == []
    ground = chrome.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert ground == ("rgba(18, 22, 27, 1)" if dark else "rgba(255, 255, 255, 1)")


def test_hostile_texts_do_nothing(chrome: Chrome, pages: Path) -> None:
    look(chrome, pages / "hostile.html")
    browser_log(chrome)
    chrome.execute_script(OPEN_ALL)
    find(chrome, HOSTILE[:40])
    assert chrome.title.startswith("hullproof drift ")
    assert HOSTILE in " ".join(text(chrome, ".detail p"))
    assert chrome.find_elements(By.TAG_NAME, "img") == []
    assert browser_log(chrome) == []


def test_a_host_is_opened_by_keyboard_and_says_all(chrome: Chrome, pages: Path) -> None:
    look(chrome, pages / "ten.html")
    button = chrome.find_element(By.CSS_SELECTOR, "button.host")
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    assert chrome.switch_to.active_element.value_of_css_property("outline-style") == "solid"
    fails = chrome.find_element(By.CSS_SELECTOR, "table.hosts td.fail").text
    assert sum("fail" in said for said in text(chrome, ".detail h4")) == int(fails)
    assert {"Declared", "On disk", "Live"} <= {*text(chrome, ".detail th")}
    holding = chrome.find_element(By.CSS_SELECTOR, ".detail summary")
    holding.send_keys(Keys.ENTER)
    passed = chrome.find_element(By.CSS_SELECTOR, "table.hosts td.pass").text
    assert sum(said == "✓ pass" for said in text(chrome, ".holding td")) == int(passed)
    button.send_keys(Keys.SPACE)
    assert text(chrome, ".detail") == []


def test_what_is_looked_for_is_found(chrome: Chrome, pages: Path) -> None:
    look(chrome, pages / "ten.html")
    everything = len(text(chrome, "details.control"))
    assert find(chrome, "WEB3.example ptrace_scope") == "1 control, 1 host"
    assert text(chrome, "details.control code") == ["kernel.sysctl.kernel.yama.ptrace_scope"]
    assert text(chrome, "button.host") == ["web3.example.net"]
    assert find(chrome, "no such word").startswith("0 controls, 0 hosts")
    assert find(chrome, "", severity="high").endswith("10 hosts")
    assert {*text(chrome, ".severity")} == {"high"}
    assert find(chrome, "") == ""
    assert len(text(chrome, "details.control")) == everything


def test_a_host_among_others_like_it_is_found_by_name(chrome: Chrome, pages: Path) -> None:
    look(chrome, pages / "thousand.html")
    assert find(chrome, "web777.").endswith(" controls, 1 host")
    assert text(chrome, "button.host") == ["web777.example.net"]


def test_a_link_to_a_host_opens_it(chrome: Chrome, pages: Path) -> None:
    look(chrome, pages / "ten.html")
    link = chrome.find_element(By.CSS_SELECTOR, ".worst a")
    link.click()
    WebDriverWait(chrome, 60).until(lambda _: text(chrome, ".detail"))
    assert chrome.switch_to.active_element.text == link.text


def test_without_script_what_fails_can_be_read(chrome: Chrome, pages: Path) -> None:
    look(chrome, pages / "ten.html", script=False)
    assert text(chrome, "#find") == []
    assert len(text(chrome, "table.hosts tbody tr")) == 10
    chrome.find_element(By.CSS_SELECTOR, "details.control summary").click()
    assert {*text(chrome, "details.control[open] th")} <= {"Declared", "On disk", "Live"}
    assert text(chrome, "details.control[open] .hosts")
    assert len(text(chrome, "#plain")) == 1
    look(chrome, pages / "ten.html")
    assert text(chrome, "#plain") == []


def test_ten_hosts_on_six_sheets(chrome: Chrome, pages: Path) -> None:
    look(chrome, pages / "ten.html")
    assert printed_sheets(chrome) <= 6


def test_headings_and_tables_are_named(chrome: Chrome, pages: Path) -> None:
    look(chrome, pages / "ten.html")
    chrome.execute_script(OPEN_ALL)
    assert chrome.execute_script("return [...document.querySelectorAll('th:not([scope])')].length") == 0
    levels = chrome.execute_script("return [...document.querySelectorAll('h1,h2,h3,h4')].map((each) => each.tagName)")
    assert levels[:2] == ["H1", "H2"]
    assert levels.count("H1") == 1
