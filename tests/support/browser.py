"""Chromium without a window, from Debian's packages chromium and chromium-driver, with a new profile and no network."""

from __future__ import annotations

import base64
import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.print_page_options import PrintOptions

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
HEIGHT = 900


@contextlib.contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        chrome = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
        try:
            yield chrome
        finally:
            chrome.quit()


def look(chrome: webdriver.Chrome, page: Path, width: int = 1400, *, dark: bool = False, script: bool = True) -> None:
    """Open the page `width` pixels wide, as somebody sees it who likes it dark, or whose browser runs no script."""
    screen = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
    chrome.get("about:blank")
    chrome.get(page.as_uri())


def printed_sheets(chrome: webdriver.Chrome) -> int:
    """How many sheets of A4 it takes."""
    paper = PrintOptions()
    paper.page_width, paper.page_height = 21.0, 29.7
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", base64.b64decode(chrome.print_page(paper))))


def browser_log(chrome: webdriver.Chrome) -> list[Any]:
    """What it has complained of since it was asked last."""
    return list(chrome.get_log("browser"))  # type: ignore[no-untyped-call]
