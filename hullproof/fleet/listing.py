"""The hosts of an inventory, as pyinfra's options choose them: a process of its own, since inventories are programs.

Writes to the file of its first argument {"hosts": [[name, region, canary]], "batches": [...], "report": folder,
"twice": [sentences], "regions": [sentences]} or {"problem": sentence}. No data of a host but its region leaves it.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends this without a traceback; whoever started it says the rest

from pyinfra_cli import cli as pyinfra_cli  # first of all, since it has gevent patch what others import

# ruff: noqa: I001, E402
import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyinfra_cli.inventory as pyinfras
from pyinfra.api.inventory import extract_name_data
from pyinfra.api.state import State
from pyinfra.context import ctx_state

from deploys.core.text import clean_text
from deploys.run.options import wrong_on_command_line
from deploys.run.reboot import BATCH, CANARY
from hullproof.fleet.inventory import Whole

REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def listed(words: list[str]) -> dict[str, Any]:
    """`words`: an inventory and pyinfra's options. Whatever the inventory raises is raised."""
    asked = pyinfra_cli.cli.make_context("pyinfra", [words[0], "all.py", *words[1:]]).params
    if wrong := wrong_on_command_line(asked["data"], alone=True):
        return {"problem": "; ".join(wrong)}
    if asked["chdir"]:
        os.chdir(asked["chdir"])
    state = State()
    state.cwd = os.getcwd()
    sys.path.append(state.cwd)
    ctx_state.set(state)
    pyinfras.Inventory = Whole
    login = (asked[f"ssh_{key}"] for key in ("user", "key", "key_password", "port", "password"))
    given = pyinfra_cli._set_override_data(asked["data"], *login)
    inventory = pyinfras.make_inventory(words[0], given, state.cwd, asked["group_data"])
    chosen = pyinfra_cli._apply_inventory_limit(inventory, asked["limit"])
    chosen = pyinfra_cli._apply_inventory_exclude(inventory, chosen, asked["exclude"])
    among = {host.name for host in (inventory if chosen is None else chosen)}
    hosts = [host for host in inventory if host.name in among]
    report = next((str(host.data.get("report")) for host in hosts if host.data.get("report")), "reports")
    own = _own_regions(inventory)
    regions = {host.name: host.data.get("region") for host in hosts}
    wrong = [said for host in hosts if (said := _wrong_region(host, regions[host.name], own[host.name]))]
    return {
        "hosts": [[host.name, "" if wrong else regions[host.name] or "", CANARY in host.groups] for host in hosts],
        "batches": sorted({str(host.data.get("batch", BATCH)) for host in hosts}),
        "report": str(Path(report).absolute()),
        "twice": list(_twice(inventory, among)),
        "regions": wrong,
    }


def _twice(inventory: Any, among: set[str]) -> Iterator[str]:
    for group, (names, _) in getattr(inventory, "given", {}).items():
        counts = Counter(name for name, _ in extract_name_data(names))
        yield from (f"{clean_text(name)} is in {group} twice" for name in counts if counts[name] > 1 and name in among)


def _own_regions(inventory: Any) -> dict[str, list[tuple[str, object]]]:
    """By host: each group that gives the host itself a region, and which."""
    own: dict[str, list[tuple[str, object]]] = defaultdict(list)
    for group, (names, _) in getattr(inventory, "given", {}).items():
        for name, data in extract_name_data(names):
            if "region" in data:
                own[name].append((group, data["region"]))
    return own


def _wrong_region(host: Any, region: object, own: list[tuple[str, object]]) -> str:
    """What is wrong with the host's region; "" where nothing is. Its own data come before its groups', as in pyinfra,
    and its groups' before those of all; but no two of the same rank may differ."""
    name, data = clean_text(host.name), host.inventory.group_data
    of_groups = [(each, data[each]["region"]) for each in host.groups if each != "all" and "region" in data[each]]
    said = own or of_groups
    if any(value != said[0][1] for _, value in said):
        both = " and ".join(f"{value} (by {group})" for group, value in said)
        return f"{name} is in two regions: {clean_text(both)}"
    if region is not None and not (isinstance(region, str) and REGION.fullmatch(region)):
        return f"{name}: region is {clean_text(repr(region))}: want letters, digits, and . _ - between them"
    return ""


def main() -> None:
    out, *words = sys.argv[1:]
    try:
        found = listed(words)
    except (Exception, SystemExit) as error:
        found = {"problem": clean_text(f"the inventory {words[0]} cannot be read: {type(error).__name__}: {error}")}
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
