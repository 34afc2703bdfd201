"""Where refusals are recorded nowhere, or elsewhere than they are read, nobody says that there were none."""

from __future__ import annotations

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.denials import LINES, Denials, DenialsReading

KERNEL = "1000000.000000 h kernel: Linux version 6.1.0 (debian)\n"
START = "type=DAEMON_START msg=audit(1000001.000:1): op=start\n"


def read(**blocks: str) -> DenialsReading | Unknown:
    texts = {"booted": "btime 1000000", "kernel": KERNEL, **blocks}
    return Denials.read(Section({name: Block(0, text) for name, text in texts.items()}))


@pytest.mark.parametrize(
    ("auditing", "auditd", "why"),
    [
        ("audit=0\n", "", "booted with audit=0"),
        (
            "-a always,exclude -F msgtype=AVC\n",
            "",
            "an audit rule keeps denials from being recorded: auditctl -a always,exclude",
        ),
        ("-a never,exclude -F msgtype>=1400\n", "", "auditctl -a never,exclude -F msgtype>=1400"),
        ("pid 300\n", "log_file = /srv/audit.log\n", "does not write to"),
        ("pid 300\n", "log_format = NOLOG\n", "does not write to"),
        ("pid 300\n", "write_logs = no\n", "does not write to"),
        ("pid 300\n", "log_file = /var/log/audit/audit.log\n", "audit.log cannot be read"),
    ],
)
def test_refusals_that_are_not_recorded_where_we_read_are_unknown(auditing: str, auditd: str, why: str) -> None:
    found = read(auditing=auditing, auditd=auditd)
    assert isinstance(found, Unknown)
    assert why in found.unknown


def test_what_else_is_excluded_and_an_auditd_that_writes_its_log_are_fine() -> None:
    rules = "pid 300\n-a always,exclude -F msgtype=CWD\n-w /etc/docker -p wa\nNo rules\n"
    conf = "log_file = /var/log/audit/audit.log\nlog_format = ENRICHED\nwrite_logs = yes\n"
    assert isinstance(read(auditing=rules, auditd=conf, log=START), DenialsReading)
    assert isinstance(read(), DenialsReading)
    assert isinstance(read(auditing="pid 0\n", auditd="write_logs = no\n"), DenialsReading), "it does not run"


def test_what_auditd_adds_to_a_line_is_no_line() -> None:
    row = 'type=AVC msg=audit({}.000:{}): apparmor="KILLED" profile="p{}" operation="open" name="x"\x1dUID="root"\n'
    log = START + "".join(row.format(2_000_000 - n, n, n) for n in range(LINES))
    found = read(log=log)
    assert isinstance(found, DenialsReading)
    assert [gap.until for gap in found.gaps if "more kinds" in gap.why] == [2_000_000 - LINES + 1]
    assert {row.mode for row in found.found} == {"refused"}
