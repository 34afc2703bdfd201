"""A watch in the operator's own units: their manager, their keys, their folder."""

from __future__ import annotations

import sys

from tests.watched.machine import ROOT, Controller

# As a shell of theirs, without the login that systemd-run or su would make of it.
OPERATOR = f"""\
cat >/tmp/own.sh <<'END'
export HOME=/home/ops XDG_RUNTIME_DIR=/run/user/$(id -u) PYTHONPATH={ROOT}
cd
%s
END
runuser -u ops -- sh -eu /tmp/own.sh
"""
HULLPROOF = f"{sys.executable} -P -m hullproof watch"


def operator(controller: Controller, script: str) -> str:
    return controller.out(OPERATOR % script)


def test_an_operators_own_units(controller: Controller) -> None:
    controller.out(
        "useradd -m ops; cp /etc/hullproof/fleet.py /home/ops; mkdir -m 700 /home/ops/.ssh; "
        "cp /etc/hullproof/known_hosts /home/ops/.ssh; cp /etc/hullproof/ssh_key /home/ops/.ssh/id_ed25519; "
        "chown -R ops: /home/ops/.ssh; loginctl enable-linger ops"
    )
    controller.until("the manager", lambda: controller.sh("systemctl is-active user@$(id -u ops)").returncode == 0)
    said = operator(controller, f"{HULLPROOF} install fleet.py --user-units --metrics .")
    assert "look now: systemctl --user start hullproof-watch-fleet.service" in said
    operator(controller, "systemctl --user start hullproof-watch-fleet.service")
    status = operator(controller, f"{HULLPROOF} status --user-units")
    assert "with exit code 3" in status or "with exit code 2" in status, status
    files = controller.out("find /home/ops -name report.json -o -name '*.prom'").split()
    assert sorted(path.rpartition("/")[2] for path in files) == ["hullproof-fleet.prom", "metrics.prom", "report.json"]
    assert "its reports stay in /home/ops/.local/state" in operator(
        controller, f"{HULLPROOF} remove fleet --user-units"
    )
    assert controller.sh("test -e /home/ops/hullproof-fleet.prom").returncode != 0
