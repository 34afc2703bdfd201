"""How systemd starts machines, as it is read, and the files of single machines."""

from __future__ import annotations

from typing import Any

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.engines.nspawn import Nspawn
from facts.engines.nspawn.nspawn import DROP_IN, Start, Word
from facts.engines.nspawn.trees import Tree

ARGV = "systemd-nspawn --quiet --keep-unit --boot -U --settings=override --machine=hullproof-asks"
UNIT = f"""LoadState=loaded
ExecStart={{ path=/usr/bin/systemd-nspawn ; argv[]={ARGV} ; ignore_errors=no ; pid=0 ; code=(null) ; status=0/0 }}
TasksMax=16384
MemoryMax=infinity
MemorySwapMax=0"""


def read(**blocks: Any) -> Any:
    said = {"nspawn": "/usr/bin/systemd-nspawn", "unit": UNIT, **blocks}
    made = {name: text if isinstance(text, Block) else Block(0, text) for name, text in said.items()}
    return Nspawn.parse(Section(made))


def test_without_it_nothing_is_there() -> None:
    reading = Nspawn.parse(Section({}))
    assert (reading.installed, reading.words) == (False, ())


def test_the_start_is_what_systemd_has_read() -> None:
    start = read().start
    assert start == Start(
        ("--quiet", "--keep-unit", "--boot", "-U", "--settings=override", "--machine=hullproof-asks"),
        {"TasksMax": 16384, "MemoryMax": None, "MemorySwapMax": 0},
    )  # fmt: skip
    assert (start.last("--settings"), start.last("-U"), start.last("--bind")) == ("override", "", None)


@pytest.mark.parametrize(
    ("unit", "why"),
    [
        (UNIT.replace("loaded", "masked"), "does not load systemd-nspawn@.service (masked)"),
        ("LoadState=loaded\nExecStart=", "has no ExecStart"),
        (Block(1, "Failed to connect to bus"), "unit: Failed to connect to bus"),
    ],
)
def test_a_start_that_is_none_is_unknown(unit: Any, why: str) -> None:
    start = read(unit=unit).start
    assert isinstance(start, Unknown)
    assert why in start.unknown


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ("--boot --settings override --machine x", Unknown("gives --settings its value as a word of its own")),
        ("-D /srv/x --capability=all", Unknown("gives -D its value as a word of its own")),
        ("--setenv=A=b;c --machine=x", ("--setenv=A=b;c", "--machine=x")),
        ("-U /sbin/init --settings=no", ("-U", "/sbin/init", "--settings=no")),
        ("--boot -- /sbin/init", ("--boot", "--", "/sbin/init")),
    ],
)
def test_the_words_of_a_start(arguments: str, start: Any) -> None:
    made = read(unit=UNIT.replace(ARGV, f"systemd-nspawn {arguments}")).start
    if isinstance(start, Unknown):
        assert isinstance(made, Unknown)
        assert start.unknown in made.unknown
    else:
        assert made.arguments == start


def test_options_from_the_environment_make_the_start_unknown() -> None:
    start = read(unit=UNIT.replace("-U", "-U $MORE")).start
    assert isinstance(start, Unknown)
    assert "($MORE)" in start.unknown
    assert isinstance(read(unit=UNIT.replace("-U", "--setenv=A=$$B")).start, Start)


@pytest.mark.parametrize(
    ("more", "filtered"),
    [
        ("Environment=A=b", True), ("Environment=A=b SYSTEMD_SECCOMP=0", False),
        ("Environment=SYSTEMD_SECCOMP=1", True),
        ("EnvironmentFiles=/etc/own (ignore_errors=yes)", None),
    ],
)  # fmt: skip
def test_whether_the_environment_leaves_a_filter(more: str, filtered: bool | None) -> None:
    found = read(unit=f"{UNIT}\n{more}").start.filtered
    assert found is filtered or (filtered is None and isinstance(found, Unknown))


def test_another_program_is_not_taken_for_systemd_nspawn() -> None:
    nice = UNIT.replace("path=/usr/bin/systemd-nspawn", "path=/usr/bin/nice").replace(ARGV, f"/usr/bin/nice {ARGV}")
    start = read(unit=nice).start
    assert isinstance(start, Unknown)
    assert "starts /usr/bin/nice, not systemd-nspawn" in start.unknown


def test_options_behind_what_a_machine_starts_are_not_its_own() -> None:
    for stop in ("/sbin/init", "--"):
        start = Start(("-U", stop, "--settings=no", "--private-users=no"), {})
        assert [option for option, _ in start.options()] == ["-U"]


def test_a_limit_that_is_none_makes_the_section_unknown() -> None:
    assert isinstance(Nspawn.read(Section({"unit": Block(0, UNIT.replace("16384", "many"))})), Unknown)


def test_lines_of_machines_own_files() -> None:
    web, unit = "/var/lib/machines/web.nspawn", "/etc/systemd/system/systemd-nspawn@db.service.d/own.conf"
    rows = (f"{web}:1:[Exec]", f"{web}:2:PrivateUsers = no", f"{web}:3:[Files]", f"{web}:4:Bind=/srv",
            f"{unit}:1:TasksMax=9", f"{unit}:2:[Service]", f"{unit}:3:TasksMax=infinity")  # fmt: skip
    assert read(files="\n".join(rows)).words == (
        Word("web", "Exec", "PrivateUsers", "no", f"{web}:2"),
        Word("web", "Files", "Bind", "/srv", f"{web}:4"),
        Word("db", "Service", "TasksMax", "infinity", f"{unit}:3"),
    )


def test_the_drop_in() -> None:
    assert read(**{DROP_IN: Block(1, "cat: No such file or directory")}).drop_in is None
    assert read(**{DROP_IN: "[Service]"}).drop_in == "[Service]"


def test_machines_that_run() -> None:
    at = "/sys/fs/cgroup/machine.slice/systemd-nspawn@"
    assert read(running=f"{at}web.service\n{at}a-b.service").running == ("web", "a-b")


def test_files_that_count_after_hullproofs() -> None:
    """systemd.unit(5): by their names, whichever folder they are in."""
    etc, run = "/etc/systemd/system/systemd-nspawn@.service.d", "/run/systemd/system/systemd-nspawn@.service.d"
    rows = (f"{etc}/10-own.conf:ExecStart=", f"{DROP_IN}:ExecStart=", f"{etc}/zzy.conf:TasksMax=",
            f"{run}/zzz.conf:ExecStart=", f"{etc}/zzy.conf:ExecStart=", "odd")  # fmt: skip
    assert read(places="\n".join(rows)).later == {"TasksMax": f"{etc}/zzy.conf", "ExecStart": f"{run}/zzz.conf"}
    assert read().later == {}


@pytest.mark.parametrize(
    ("kernel", "system", "path", "mapped"),
    [
        ("6.12.57+deb13-amd64", "ext2/ext3", "/var/lib/machines/web/", True),
        ("5.10.0-30-amd64", "ext2/ext3", "/var/lib/machines/web/", False),
        ("6.12.57", "zfs", "/var/lib/machines/web/", False), ("6.12.57", "xfs", "/var/lib/machines/web.raw", False),
    ],
)  # fmt: skip
def test_what_belongs_to_machines_and_whether_mounts_can_map_it(
    kernel: str, system: str, path: str, mapped: bool
) -> None:
    said = {"kernel": kernel, "owners": f"65536 {path}\nodd /x\n", "file systems": f"{system} {path}\n"}
    assert read(**said).trees == (Tree("web", path.rstrip("/"), 65536, mapped),)
