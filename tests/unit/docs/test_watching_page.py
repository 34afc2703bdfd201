"""The page about watches names every alert and every series, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from deploys.report.metrics import HELP
from hullproof.watching.rules import rules

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "watching.md").read_text(encoding="utf-8")


def test_every_alert_has_its_row() -> None:
    alerts = [rule["alert"] for rule in yaml.safe_load(rules())["groups"][0]["rules"]]
    assert re.findall(r"^\| `(Hullproof\w+)` \|", PAGE, re.MULTILINE) == alerts


def test_every_series_has_its_row() -> None:
    rows = re.findall(r"^\| (`hullproof_.*?) \|", PAGE, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(HELP)
