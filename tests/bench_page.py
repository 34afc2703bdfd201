"""`make bench`: how large the report's page is, what it costs the controller, and how soon Chromium shows it.

The hosts are those that were recorded, of which hardly two say the same: a real fleet has more in common. Prints a
table in Markdown. Opened: until the page's script has run; CPU: what the page's own thread has used by then; found:
until a word that is typed has been looked for.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome

from deploys.report.page.fleet import fleet
from deploys.report.page.render import html
from tests.support.browser import browser, look
from tests.support.reported_fleet import recorded_fleet

FLEETS = (10, 200, 1000)
REPEAT = 5
OPENED = "return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
FOUND = """
const form = document.getElementById("find"), wait = 120;
form.words.value = "docker";
const before = performance.now();
form.dispatchEvent(new Event("input"));
setTimeout(() => arguments[0]((performance.now() - before - wait) / 1000), wait);"""


def main() -> None:
    print("| hosts | that differ | page, MB | made, CPU s | opened, s | CPU, s | found, s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, browser() as chrome:
        chrome.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        for count in FLEETS:
            print(row(Path(folder) / "report.html", chrome, recorded_fleet(count)), flush=True)


def row(file: Path, chrome: Chrome, report: dict[str, Any]) -> str:
    start = time.process_time()
    page = html(report)
    made = time.process_time() - start
    file.write_text(page, encoding="utf-8")
    opened, used, found = [], [], []
    for _ in range(REPEAT):
        look(chrome, file)
        opened.append(chrome.execute_script(OPENED))
        used.append(_thread_seconds(chrome))
        found.append(chrome.execute_async_script(FOUND))
    hosts, size = f"{len(report['hosts']):,} | {len(fleet(report).groups)}", file.stat().st_size / 1e6
    return f"| {hosts} | {size:.1f} | {made:.2f} | {min(opened):.2f} | {min(used):.2f} | {min(found):.2f} |"


def _thread_seconds(chrome: Chrome) -> float:
    metrics = chrome.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


if __name__ == "__main__":
    main()
