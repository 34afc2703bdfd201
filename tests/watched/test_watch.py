"""A watch under a booted systemd: installed, run by its timer, hindered, removed. Each test goes on from the last."""

from __future__ import annotations

import json
import re
import sys

from tests.watched.conftest import METRICS
from tests.watched.machine import ROOT, Controller

SERVICE = "hullproof-watch-fleet.service"
TIMER = "hullproof-watch-fleet.timer"
STATE = "/var/lib/hullproof-watch/fleet"
INSTALL = (
    f"watch install /etc/hullproof/fleet.py --every 15m --metrics {METRICS} --keep 2 "
    "--ssh-key /etc/hullproof/ssh_key --known-hosts /etc/hullproof/known_hosts"
)
# The same look by hand, as root.
RUN = (
    f"cd {ROOT}; CREDENTIALS_DIRECTORY=/etc/hullproof {sys.executable} -m hullproof watch run /etc/hullproof/fleet.py "
    f"--state {STATE} --metrics {METRICS}"
)
EXPOSED = 2.0  # systemd-analyze's figure, 0 to 10: below 2.0 it says OK


def refused(controller: Controller, words: str) -> str:
    """The one error of a command that refuses."""
    done = controller.hullproof(words)
    assert done.returncode == 1, done.stdout
    [line] = done.stdout.strip().splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def reports(controller: Controller) -> list[str]:
    return controller.out(f"ls {STATE}/reports").split()


def test_a_folder_that_the_user_may_not_write_to_is_named_and_nothing_is_installed(controller: Controller) -> None:
    said = refused(controller, INSTALL)
    assert said.startswith(f"hullproof may not write to {METRICS}: ")
    assert controller.sh(f"ls /etc/systemd/system/{SERVICE}").returncode != 0
    controller.out(said.partition(": ")[2])  # as it says


def test_the_units_are_installed_and_the_timer_waits(controller: Controller) -> None:
    done = controller.hullproof(INSTALL)
    assert done.returncode == 0, done.stdout
    assert controller.out(f"systemctl is-active {TIMER}") == "active"
    assert controller.out(f"systemctl is-enabled {TIMER}") == "enabled"
    assert re.search(r"^  next look  \w{3} 20\d\d-", done.stdout, re.MULTILINE), done.stdout
    assert "none since this machine has started" in done.stdout


def test_the_service_may_do_little(controller: Controller) -> None:
    said = controller.out(f"systemd-analyze security --no-pager {SERVICE}")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found
    assert float(found[1]) < EXPOSED, said


def test_the_timer_starts_the_service_which_writes_report_and_metrics(controller: Controller) -> None:
    # its time has come: the same timer, but for when
    controller.out(
        f"mkdir -p /run/systemd/system/{TIMER}.d && printf '[Timer]\\nOnActiveSec=1\\nAccuracySec=1ms\\n"
        f"RandomizedDelaySec=0\\n' >/run/systemd/system/{TIMER}.d/now.conf && systemctl daemon-reload && "
        f"systemctl restart {TIMER}"
    )
    controller.until("the look", lambda: bool(controller.sh(f"cat {METRICS}/*.prom").stdout.count("hullproof_info")))
    controller.until("the end", lambda: "inactive" in controller.sh(f"systemctl is-active {SERVICE}").stdout)
    controller.out(f"rm -r /run/systemd/system/{TIMER}.d && systemctl daemon-reload && systemctl restart {TIMER}")
    [stamp] = reports(controller)
    report = json.loads(controller.out(f"cat {STATE}/reports/{stamp}/report.json"))
    assert report["hosts"]["me"]["status"] == "ok", report["hosts"]["me"]["error"]
    assert report["exit_code"] in (2, 3)
    assert controller.out(f"systemctl show {SERVICE} -p Result --value") == "success"  # and not a failed unit
    metrics = controller.out(f"cat {METRICS}/hullproof-fleet.prom")
    assert 'hullproof_host_up{watch="fleet",host="me"} 1' in metrics
    assert f'hullproof_watch_exit_code{{watch="fleet"}} {report["exit_code"]}' in metrics
    modes = controller.out(
        f"stat -c '%U %a' {STATE} {STATE}/reports/{stamp}/report.json {METRICS}/hullproof-fleet.prom"
    )
    assert modes.splitlines() == ["hullproof 700", "hullproof 600", "hullproof 644"]


def test_status_says_when_and_how(controller: Controller) -> None:
    said = controller.hullproof("watch status fleet").stdout
    assert re.search(r"^  last look  .* with exit code [23]$", said, re.MULTILINE), said
    assert re.search(rf"^  report     {STATE}/reports/\S+/report.json, ", said, re.MULTILINE), said


def test_the_newest_reports_are_kept(controller: Controller) -> None:
    [first] = reports(controller)
    for _ in range(2):
        controller.out(f"systemctl start {SERVICE}")
    assert first not in reports(controller)
    assert len(reports(controller)) == 2


def test_a_host_that_does_not_answer_fails_the_unit_and_keeps_when_it_was_judged(controller: Controller) -> None:
    controller.out("systemctl stop ssh")
    assert controller.sh(f"systemctl start {SERVICE}").returncode != 0
    metrics = controller.out(f"cat {METRICS}/hullproof-fleet.prom")
    assert 'hullproof_host_up{watch="fleet",host="me"} 0' in metrics
    assert 'hullproof_host_survey_timestamp_seconds{watch="fleet",host="me"} ' in metrics
    assert 'hullproof_watch_exit_code{watch="fleet"} 1' in metrics
    controller.out("systemctl start ssh")


def test_a_second_look_ends_and_says_who_is_at_it(controller: Controller) -> None:
    holds = "flock -n 9; printf 'process 1 since noon' >&9"
    run = RUN.replace(sys.executable, f"runuser -u hullproof -- {sys.executable}")
    said = controller.out(f"({holds}; {run} 2>&1 && exit 9 || test $? = 1) 9>{STATE}/lock")
    assert said == f"Error: {STATE}: a look is under way (process 1 since noon), so this one ends"


def test_a_folder_that_is_full_is_said_and_nothing_is_lost(controller: Controller) -> None:
    """Filled up by somebody else, after one look has kept its report and metrics there."""
    full = "/tmp/full"
    run = RUN.replace(STATE, full).replace(METRICS, full)
    controller.out(f"mkdir {full}; mount -t tmpfs -o size=4m tmpfs {full}; {run} || test $? -gt 1")
    before = controller.out(f"cd {full}; cat reports/*/report.json *.prom surveyed.json | sha256sum")
    controller.out(f"dd if=/dev/zero of={full}/filler bs=1k 2>/dev/null || true")
    done = controller.sh(run)
    assert done.returncode == 1, done.stdout
    ours = [line for line in done.stdout.splitlines() if line.startswith("hullproof: ")]
    assert "No space left on device" in done.stdout
    assert "Traceback" not in done.stdout
    assert ours[0] == "hullproof: it brought no report; the reports of earlier looks are kept"
    assert controller.out(f"cd {full}; cat reports/*/report.json *.prom surveyed.json | sha256sum") == before
    controller.out(f"rm {full}/filler; {run} || test $? -gt 1; test $(ls {full}/reports | wc -l) = 2")


def test_what_was_changed_after_us_stays_and_a_drop_in_is_welcome(controller: Controller) -> None:
    unit = f"/etc/systemd/system/{TIMER}"
    controller.out(f"mkdir -p {unit}.d; printf '[Timer]\\nRandomizedDelaySec=1\\n' >{unit}.d/mine.conf")
    assert controller.hullproof(INSTALL).returncode == 0
    assert controller.out(f"systemctl show {TIMER} -p RandomizedDelayUSec --value") == "1s"
    controller.out(f"cp {unit} /tmp/unit; echo '# mine' >>{unit}")
    assert "was changed after hullproof wrote it" in refused(controller, INSTALL)
    assert "was changed after hullproof wrote it" in refused(controller, "watch remove fleet")
    controller.out(f"tail -n 1 {unit} | grep -qx '# mine'; cp /tmp/unit {unit}")


def test_removed_are_units_and_metrics_and_no_report(controller: Controller) -> None:
    done = controller.hullproof("watch remove fleet")
    assert done.returncode == 0, done.stdout
    assert controller.out(f"ls /etc/systemd/system/ {METRICS}").count("fleet.") == 1  # the drop-in's folder
    assert controller.sh(f"systemctl is-active {TIMER}").stdout.strip() == "inactive"
    assert len(reports(controller)) == 2
