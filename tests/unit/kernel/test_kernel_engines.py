"""Under a new kernel, and with boot parameters on trial, what other engines than Docker run has to come back too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kernel_trial_host import NEW, Host

CLIENTS = {
    "podman": """\
case $* in
ps*) cut -d' ' -f1 "$ROOT/podman" ;;
*Status*) for name; do :; done; grep -q "^$name " "$ROOT/podman" && echo running ;;
*) shift 3; for name; do grep "^$name " "$ROOT/podman"; done ;;
esac""",
    "lxc-ls": 'cat "$ROOT/lxc"',
    "lxc-info": """\
case $* in
*start.auto*) echo "lxc.start.auto = $(cat "$ROOT/auto")" ;;
*group*) echo "lxc.group = $(cat "$ROOT/group")" ;;
*) grep -qx "$2" "$ROOT/lxc" && echo RUNNING || echo STOPPED ;;
esac""",
    "virsh": """\
case $* in
*lxc:///*list*) cat "$ROOT/domains" ;;
*list*) ;;
*) for name; do :; done; grep -qx "$name" "$ROOT/domains" && echo running || echo "shut off" ;;
esac""",
    "id": "case $2 in ops) echo 1000 ;; *) exit 1 ;; esac",
    "runuser": 'echo "$*" >>"$ROOT/asked"; echo active',
}

SERVICES = ("containerd", "lxc", "podman-restart", "systemd-nspawn@m", "libvirtd", "nginx")
UNITS = "\n".join(f"{name}.service" for name in SERVICES)
ALL = f"{UNITS}\ntill.service"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    for name, body in CLIENTS.items():
        (made.root / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (made.root / "bin" / name).chmod(0o755)
    made.put("units", ALL)
    made.put("wanted", ALL)
    made.put("podman", "web always \ntill no till.service\nonce no ")
    for file, text in {"lxc": "box", "auto": "1", "group": "", "domains": "dom"}.items():
        made.put(file, text)
    return made


def kept(host: Host) -> set[str]:
    return set(host.sh("kept").stdout.splitlines())


def left_for(host: Host) -> str:
    """Why the new kernel is left, as it is noted; "" where it is kept."""
    assert host.sh("gate").returncode == 0
    return host.get(f"{host.trial}/failed").strip() if host.last().get("result") != "confirmed" else ""


def test_what_a_boot_starts_again_by_itself_is_noted_and_nothing_else(host: Host) -> None:
    everything = {
        "unit containerd.service", "unit lxc.service", "unit podman-restart.service", "unit systemd-nspawn@m.service",
        "unit libvirtd.service", "unit till.service", "podman web", "lxc box", "libvirt lxc:/// dom",
    }  # fmt: skip
    assert kept(host) == everything
    host.put("auto", "0")
    host.put("wanted", UNITS.replace("podman-restart.service\n", ""))
    host.put("units", UNITS.replace("libvirtd.service\n", ""))
    assert kept(host) == {"unit containerd.service", "unit lxc.service", "unit systemd-nspawn@m.service"}


def test_a_kernel_under_which_all_of_it_runs_is_kept(host: Host) -> None:
    host.armed().boots(NEW)
    assert left_for(host) == ""


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("units", UNITS, "engine till.service is inactive"),
        (
            "units",
            ALL.replace("containerd.service\n", ""),
            "engine containerd.service is inactive",
        ),
        ("podman", "till no till.service", "containers podman:web is gone"),
        ("lxc", "", "containers lxc:box is STOPPED"),
        ("domains", "", "containers libvirt:dom is shut off"),
    ],
)
def test_a_kernel_under_which_one_of_it_is_missing_is_left(host: Host, file: str, text: str, why: str) -> None:
    host.armed().boots(NEW)
    host.put(file, text)
    assert left_for(host).startswith(why)


@pytest.mark.parametrize(("socket", "left"), [("libvirtd.socket", False), ("other.socket", True)])
def test_what_a_socket_starts_when_somebody_asks_may_have_ended(host: Host, socket: str, left: bool) -> None:
    host.armed().boots(NEW)
    host.put("units", ALL.replace("libvirtd.service\n", ""))
    host.put("sockets", socket)
    assert ("libvirtd.service is inactive" in left_for(host)) is left


def test_a_unit_whose_container_runs_just_now_is_not_demanded(host: Host) -> None:
    host.put("units", UNITS)
    assert "unit till.service" not in kept(host), "a backup, as it may be"


@pytest.mark.parametrize(
    ("settings", "group", "demanded"),
    [
        ("", "", True), ("", "onboot", True), ("", "late", False), ("LXC_AUTO=false", "", False),
        ("BOOTGROUPS=other", "", False), ("BOOTGROUPS=other,late", "late", True),
    ],
)  # fmt: skip
def test_containers_of_lxc_that_no_boot_starts_are_not_demanded(
    host: Host, settings: str, group: str, demanded: bool
) -> None:
    host.put("etc/default/lxc", settings)
    host.put("group", group)
    assert ("lxc box" in kept(host)) is demanded


def test_users_services_do_not_decide_and_their_systemd_is_not_asked(host: Host) -> None:
    """It may say anything, and thousands of services keep a boot's check for hours."""
    (host.root / "var/lib/systemd/linger").mkdir(parents=True)
    host.put("var/lib/systemd/linger/ops", "")
    host.armed().boots(NEW)
    assert left_for(host) == ""
    assert not (host.root / "asked").exists()


def test_what_did_not_run_for_half_a_minute_is_not_demanded(host: Host) -> None:
    host.put("containers/c1", "")
    sleeping = host.root / "bin/sleep"
    sleeping.write_text(f'{sleeping.read_text()}: >"$ROOT/lxc"\n')
    host.armed()
    assert "lxc box" not in host.get(f"{host.trial}/kept")
    assert "podman web" in host.get(f"{host.trial}/kept")


@pytest.mark.parametrize("state", ["failed", "activating", "inactive"])
def test_boot_parameters_under_which_an_engine_does_not_run_do_not_stay(host: Host, state: str) -> None:
    host.sh("keep")
    assert host.sh("try_words 60 0 slab_nomerge").returncode == 0
    host.boots("6.1.0-50-cloud-amd64").put("proc/cmdline", f"{host.get('proc/cmdline').strip()} slab_nomerge")
    host.put("units", UNITS.replace("lxc.service\n", ""))
    host.put("otherwise", state)
    host.sh("words_gate")
    assert "gate=engines" in host.get("var/lib/hullproof/boot/words-last")
    assert f"lxc.service is {state}" in host.get("var/lib/hullproof/boot/words-last")
