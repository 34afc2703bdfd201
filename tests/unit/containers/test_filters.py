"""The seccomp filters of LXC's and systemd-nspawn's containers, by what files and command lines say of them."""

from __future__ import annotations

import os
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deploys.containers.judge import Host, unfiltered
from deploys.seccomp.profile import GUARDED_BY_ALL
from facts import filters, lxc_files
from facts.core.reading import Block, Section, Unknown
from facts.filters import Filter, Filters
from facts.monitors import Monitor
from facts.seccomp import SeccompReading
from tests.support.hosts import beside, docker, listed

FACTS = Path(filters.__file__).parent
PID = 7
CONFIG, COMMON, PROFILE = "/var/lib/lxc/web/config", "/usr/share/lxc/config", "/usr/share/lxc/config/x.seccomp"
DENY = "2\ndenylist\n[all]\nbpf errno 1\nacct errno 1\nswapon errno 1 [0,1]\n"
ALLOW = "2\nallowlist\nread\nwrite\nbpf\n"
SINCE = f"btime 1000\n{PID} (x) S {' '.join(['1'] * 18)} 500 1\n"  # started at 1005
BEFORE, AFTER = 900, 1100


def read(monitor: Monitor, words: list[str], **blocks: str) -> Filter:
    said = "".join(f"/proc/{PID}/cmdline:{word}\0" for word in words)
    named = {name.replace("_", "."): text for name, text in blocks.items()} | {"monitors.words": said}
    named = {"filters.since": SINCE, f"lxc.profile {PROFILE}": DENY} | named
    return Filters(Section({name: Block(0, text) for name, text in named.items()})).of(PID, monitor)


def of_lxc(lines: str, times: dict[str, int], words: str = "[lxc monitor] /var/lib/lxc web", **blocks: str) -> Filter:
    rows = "".join(f"{when} {path}\n" for path, when in times.items())
    return read(Monitor("lxc", 0, "web"), words.split("|"), lxc_lines=lines, filters_times=rows, **blocks)


DIRECT = f"{CONFIG}:3:lxc.seccomp.profile = {PROFILE}"
INCLUDED = f"{CONFIG}:1:lxc.include = {COMMON}\n{COMMON}/a.conf:2:lxc.seccomp.profile = {PROFILE}"
THERE = {CONFIG: BEFORE, PROFILE: BEFORE}
ALL = THERE | {COMMON: BEFORE, f"{COMMON}/a.conf": BEFORE, f"{COMMON}/empty.conf": BEFORE}
REFUSING = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct", "bpf"], "action": "SCMP_ACT_ERRNO"}]}


def test_a_container_of_lxcs_has_the_filter_that_its_file_or_an_included_one_names() -> None:
    assert of_lxc(DIRECT, THERE) == of_lxc(INCLUDED, ALL) == REFUSING
    assert of_lxc(INCLUDED.replace(COMMON, f"{COMMON}/", 1), ALL) == REFUSING
    assert of_lxc(f"{DIRECT}\n{CONFIG}:4:lxc.seccomp.profile =", THERE) is None
    assert of_lxc("", THERE) is None
    assert of_lxc(DIRECT, THERE, "/usr/bin/lxc-start|-F|-n|web") == REFUSING
    allowing = of_lxc(DIRECT, THERE, **{f"lxc.profile {PROFILE}": ALLOW})
    rule = {"names": ["bpf", "read", "write"], "action": "SCMP_ACT_ALLOW"}
    assert allowing == {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}


@pytest.mark.parametrize("path", [CONFIG, PROFILE, COMMON, f"{COMMON}/a.conf", f"{COMMON}/empty.conf"])
def test_a_file_that_was_changed_since_says_nothing_of_what_runs(path: str) -> None:
    found = of_lxc(INCLUDED, ALL | {path: AFTER})
    assert isinstance(found, Unknown)
    assert f"{path} was changed after the container was started" in found.unknown


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"times": {PROFILE: BEFORE}}, f"{CONFIG} is not there"),
        ({"times": {CONFIG: BEFORE}}, f"{PROFILE} is not there"),
        ({"words": "[lxc monitor] /srv/lxc web"}, "not below /var/lib/lxc"),
        ({"words": "lxc-start|-n|web|-P|/srv/lxc"}, "not below /var/lib/lxc"),
        ({"words": "lxc-start|-n|web|--define=lxc.seccomp.profile=/x"}, "not below /var/lib/lxc"),
        ({"filters_since": "btime 1000\n"}, "when the container was started"),
        ({f"lxc.profile {PROFILE}": "1\nallowlist\n103\n"}, "of version 1"),
        ({f"lxc.profile {PROFILE}": "2\nallowlist\n" + "read\n" * 30_000}, "could not be read whole"),
    ],
)
def test_what_is_not_known_for_certain_is_unknown(given: dict[str, Any], why: str) -> None:
    found = of_lxc(DIRECT, given.pop("times", THERE), **given)
    assert isinstance(found, Unknown)
    assert why in found.unknown


def test_files_that_include_others_time_and_again_cost_all_of_them_no_more_than_is_read() -> None:
    files = [CONFIG, *(f"/etc/lxc/{n}.conf" for n in range(5))]
    lines = "\n".join(f"{a}:{n}:lxc.include = {b}" for a, b in pairwise(files) for n in range(1, 20))
    lines += f"\n{files[-1]}:1:lxc.tty.max = 4"
    rows = f"{BEFORE} {CONFIG}\n"
    words = f"/proc/{PID}/cmdline:[lxc monitor] /var/lib/lxc web\0"
    texts = {"monitors.words": words, "filters.since": SINCE, "filters.times": rows, "lxc.lines": lines}
    found = Filters(Section({name: Block(0, text) for name, text in texts.items()}))
    last = [found.of(PID, Monitor("lxc", 0, "web")) for _ in range(20)][-1]
    assert isinstance(last, Unknown)
    assert "too many lines" in last.unknown
    assert next(found._left, None) is None, "and there is nothing left for another one"


def of_nspawn(*words: str, **blocks: str) -> Filter:
    return read(Monitor("nspawn", 0, "web"), ["systemd-nspawn", *words], **blocks)


def test_a_machine_of_nspawns_has_what_is_built_in_and_what_its_command_line_adds() -> None:
    assert of_nspawn("-b") == of_nspawn("--system-call-filter=~@keyring bpf") == filters._oci("ERRNO", [], "ALLOW")
    added = filters._oci("ERRNO", ["bpf", "acct"], "ALLOW")
    assert of_nspawn("--system-call-filter=bpf acct") == of_nspawn("--system-call-f", "bpf acct") == added


FILE = "/etc/systemd/nspawn/web.nspawn"


@pytest.mark.parametrize(
    ("words", "blocks", "why"),
    [
        (["--system-call-filter=@module"], {}, "adds @module"),
        (["--settings=trusted"], {}, "which of its files count"),
        (["-b"], {"nspawn_adding": f"{FILE}:SystemCallFilter=bpf", "filters_times": f"900 {FILE}"}, "web.nspawn adds"),
        (["-b"], {"filters_times": f"1100 {FILE}"}, f"{FILE} was changed after"),
        (["-b"], {"filters_times": "1100 /etc/systemd/nspawn"}, "/etc/systemd/nspawn was changed after"),
        (["-b"] * 100, {}, "is too long"),
        (["--system-call-filter=" + "read " * 80], {}, "is too long"),
    ],
)
def test_a_machine_whose_filter_something_else_may_change_is_unknown(
    words: list[str], blocks: dict[str, str], why: str
) -> None:
    found = of_nspawn(*words, **blocks)
    assert isinstance(found, Unknown)
    assert why in found.unknown
    others = {name: text.replace("web.nspawn", "other.nspawn") for name, text in blocks.items()}
    if "web.nspawn" in str(blocks):
        assert not isinstance(of_nspawn(*words, **others), Unknown), "another machine's file is none of its own"


def test_what_a_user_has_started_is_unknown() -> None:
    for engine in ("lxc", "nspawn"):
        assert isinstance(read(Monitor(engine, 1000, "web"), ["systemd-nspawn", "-b"]), Unknown)


def test_a_filter_that_lets_through_what_none_is_to_is_named() -> None:
    def said(filter_: Filter) -> str:
        web = listed("web", "lxc", cap_bnd=0, seccomp=2)
        web = type(web)(**{**web.__dict__, "filter": filter_})
        kernel = SeccompReading((), (), (), "x86_64", "6.12.1", profiles={}, daemon_started=None)
        host = Host(reading=beside(docker(installed=False), web), all=(web,), privileged=frozenset(), module=None,
                    refused=lambda _: GUARDED_BY_ALL, seccomp=kernel, declared=[])  # fmt: skip
        return unfiltered(web, host)

    assert said(of_nspawn("-b")) == ""
    assert said(of_nspawn("--system-call-filter=bpf")) == "has a seccomp filter that allows bpf"
    assert said(of_lxc(DIRECT, THERE)).startswith(
        "has a seccomp filter that allows clock_settime, delete_module, finit"
    )


def test_the_script_finds_the_files_and_since_when_they_are_so(tmp_path: Path) -> None:
    lxc, nspawn, share = tmp_path / "lxc", tmp_path / "nspawn", tmp_path / "share"
    for folder in (lxc / "web", lxc / "a b", nspawn, share / "conf.d"):
        folder.mkdir(parents=True)
    (share / "x.seccomp").write_text(DENY)
    (share / "conf.d" / "a.conf").write_text(f"# x\nlxc.seccomp.profile = {share}/x.seccomp\n")
    (lxc / "web" / "config").write_text(f"lxc.include = {share}/conf.d/\nlxc.uts.name = web\n")
    (lxc / "a b" / "config").write_text("lxc.seccomp.profile = /etc/shadow\n")
    (nspawn / "web.nspawn").write_text("[Exec]\nSystemCallFilter = bpf\n")
    script = lxc_files.SCRIPT + (FACTS / "filters.sh").read_text()
    script = script.replace("/var/lib/lxc", str(lxc)).replace("/etc/systemd/nspawn", str(nspawn))
    run = 'kept() { printf "%s\\n" "$1"; }\nrun() { echo "@@$1"; shift; "$@" 2>&1; }'
    given = {"engines": " lxc nspawn", "monitors": f" 0:{os.getpid()} 1000:1", "LC_ALL": "C"}
    said = subprocess.run(["sh", "-c", f"{run}\n{script}"], capture_output=True, text=True, check=True,
                          env={**os.environ, **given}).stdout  # fmt: skip
    blocks = {name: Block(0, text) for name, _, text in (each.partition("\n") for each in said.split("@@")[1:])}
    assert f"lxc.profile {share}/x.seccomp" in blocks
    assert "/etc/shadow" not in said
    found = Filters(Section(blocks))
    assert found._starts.keys() == {os.getpid()}
    assert {str(lxc / "web" / "config"), str(share / "conf.d"), str(share / "conf.d" / "a.conf"), str(nspawn),
            str(share / "x.seccomp"), str(nspawn / "web.nspawn")} <= found._times.keys()  # fmt: skip
    assert blocks["nspawn.adding"].text == f"{nspawn}/web.nspawn:SystemCallFilter = bpf\n"
    assert list(lxc_files.expanded(found._texts, str(lxc / "web" / "config")))[-1].value == f"{share}/x.seccomp"


def test_where_neither_runs_nothing_is_asked() -> None:
    script = f"run() {{ echo ran; }}\n{lxc_files.SCRIPT}\n{(FACTS / 'filters.sh').read_text()}"
    for given in ({"monitors": "", "engines": " lxc nspawn"}, {"monitors": " 0:1", "engines": " docker"}):
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=True, env={**os.environ, **given}
        )
        assert done.stdout == ""
