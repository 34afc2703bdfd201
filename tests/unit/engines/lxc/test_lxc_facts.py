"""LXC's files as they are read: which line counts, which is broken, and which containers name hullproof's filters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.engines.lxc import Lxc
from facts.engines.lxc.lxc import DEFAULT, STRICT, USERNET
from tests.support.script import put, run_script

OTHER = "/usr/share/lxc/config/own.conf"


def settings(**files: str) -> str:
    """What grep(1) prints of files."""
    paths = {"default": DEFAULT, "other": OTHER, "third": "/usr/share/lxc/config/third.conf"}
    rows = ((paths[name], n, line) for name, text in files.items() for n, line in enumerate(text.split("\n"), 1))
    return "\n".join(f"{path}:{n}:{line}" for path, n, line in rows if line.strip() and line.lstrip()[0] != "#")


def own(name: str, *lines: str) -> str:
    """What grep(1) prints of a container's own file."""
    return "".join(f"/var/lib/lxc/{name}/config:{n}:{line}\n" for n, line in enumerate(lines, 1))


def read(**blocks: Any) -> Any:
    said = {"lxc": "/usr/bin/lxc-create", "path": DEFAULT, DEFAULT: "", "missing": "", "apparmor": "Y", **blocks}
    return Lxc.parse(
        Section({name: text if isinstance(text, Block) else Block(0, text) for name, text in said.items()})
    )


def test_without_lxc_nothing_is_there() -> None:
    reading = Lxc.parse(Section({}))
    assert (reading.installed, reading.lines, reading.broken) == (False, (), ())


def test_what_is_included_counts_where_it_is_included() -> None:
    reading = read(settings=settings(
        default=f"lxc.apparmor.profile = a\nlxc.include = {OTHER}\n# no\nlxc.no_new_privs = 1",
        other="lxc.apparmor.profile = \"b\"\nlxc.no_new_privs=0",
    ), included=OTHER)  # fmt: skip
    assert reading.last("lxc.apparmor.profile").value == "b"
    assert (reading.last("lxc.no_new_privs").value, reading.last("lxc.no_new_privs").at) == ("1", f"{DEFAULT}:4")


def test_a_folder_is_included_with_all_of_it() -> None:
    reading = read(settings=settings(
        default="lxc.include = /usr/share/lxc/config/", other="lxc.cap.drop = mknod", third="lxc.cap.drop = bpf",
    ), included="/usr/share/lxc/config/")  # fmt: skip
    assert [line.value for line in reading.all("lxc.cap.drop")] == ["mknod", "bpf"]


def test_files_that_wait_beside_others_are_not_deep_and_a_circle_is_unknown() -> None:
    """A folder of many files, the first of which includes another file."""
    names = [f"/etc/lxc/d/{n}.conf" for n in range(9)]
    rows = [
        f"{DEFAULT}:1:lxc.include = /etc/lxc/d",
        f"{names[0]}:1:lxc.include = {OTHER}",
        f"{OTHER}:1:lxc.cap.drop = bpf",
    ]
    rows += [f"{name}:1:lxc.cap.drop = mknod" for name in names[1:]]
    whole = read(settings="\n".join(rows), included=f"/etc/lxc/d {OTHER}")
    assert [line.value for line in whole.all("lxc.cap.drop")] == ["bpf", *["mknod"] * 8]
    circle = read(settings=settings(default=f"lxc.include = {OTHER}", other=f"lxc.include = {DEFAULT}"),
                  included=f"{OTHER} {DEFAULT}")  # fmt: skip
    assert circle.lines == Unknown(f"{OTHER}:1 includes {DEFAULT}, which is more than 6 files deep")


def test_lists_add_up_until_a_line_without_a_value() -> None:
    reading = read(settings=settings(default="lxc.cap.drop = a\nlxc.cap.drop =\nlxc.cap.drop = mknod sys_boot"))
    assert reading.broken == (f"{DEFAULT}:1: a is no capability",)
    assert isinstance(reading.lines, Unknown)
    whole = read(settings=settings(default="lxc.cap.drop = bpf\nlxc.cap.drop =\nlxc.cap.drop = mknod sys_boot"))
    assert [line.value for line in whole.all("lxc.cap.drop")] == ["mknod sys_boot"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("lxc.nonsense = 1", "lxc.nonsense is no key of LXC's"),
        ("lxc.cap.drop sys_admin", "no = in lxc.cap.drop sys_admin"),
        ("lxc.idmap = u 0 x", "lxc.idmap takes u or g and three numbers"),
        ("lxc.include = /not/there", "/not/there is not there"),
        ("lxc.seccomp.profile = /not/there", "/not/there is not there"),
    ],
)
def test_a_line_with_which_no_container_is_made_is_named(line: str, why: str) -> None:
    reading = read(settings=settings(default=f"lxc.net.0.type = veth\n{line}"), missing=" /not/there")
    assert reading.broken == (f"{DEFAULT}:2: {why}",)


def test_a_line_that_begins_with_no_key_is_passed_over() -> None:
    reading = read(settings=settings(default="lcx.cap.drop = mknod"))
    assert (reading.broken, reading.ignored, reading.lines) == ((), (f"{DEFAULT}:1: lcx.cap.drop = mknod",), ())


def test_filters_and_who_names_them() -> None:
    reading = read(**{
        "settings": settings(default=f"lxc.seccomp.profile = {STRICT}"), STRICT: "2\ndenylist\n",
        "made": own("web", f"lxc.seccomp.profile = {STRICT}", "lxc.seccomp.profile = /x") + own(
            "db", f"lxc.seccomp.profile={STRICT}"),
        "configs": "/var/lib/lxc/web/config", "/x": "2\nallowlist\n", "/y": "",
    })  # fmt: skip
    assert reading.filters == {STRICT: "2\ndenylist\n", "/x": "2\nallowlist\n"}
    assert reading.users == {STRICT: ("web", "db")}


def test_of_each_container_what_it_includes_counts_too() -> None:
    reading = read(
        configs="/var/lib/lxc/web/config\n/var/lib/lxc/db/config\n", included=OTHER,
        settings=settings(other="lxc.cap.drop = mknod\nlxc.seccomp.profile = /x\nlxc.tty.max = 4"),
        made=own("web", "lxc.cap.drop = bpf", "lxc.start.auto = 1", f"lxc.include = {OTHER}", "lxc.cap.drop = syslog"),
    )  # fmt: skip
    web, db = reading.made
    assert ([line.value for line in web.all("lxc.cap.drop")], web.starts) == (["bpf", "mknod", "syslog"], True)
    assert len(web.lines) == 5, "what is not judged is not kept"
    assert web.last("lxc.seccomp.profile").at == f"{OTHER}:2"
    assert (db.name, db.path, db.lines, db.starts) == ("db", "/var/lib/lxc/db/config", (), False)


def test_a_container_whose_path_cannot_be_told_from_others_is_unknown_and_no_other() -> None:
    reading = read(configs="/var/lib/lxc/my web/config\n/var/lib/lxc/a:b/config\n/var/lib/lxc/db/config\n")
    assert [(each.name, each.path) for each in reading.made] == [
        ("my web", "/var/lib/lxc/my web/config"), ("a:b", "/var/lib/lxc/a:b/config"), ("db", "/var/lib/lxc/db/config"),
    ]  # fmt: skip
    assert [each.lines for each in reading.made] == [Unknown("its path cannot be read")] * 2 + [()]


@pytest.mark.skipif(os.getuid() != 0, reason="only root sees every container")
def test_a_link_that_leads_nowhere_hides_no_other_container(tmp_path: Path) -> None:
    put(tmp_path, "/var/lib/lxc/web/config", "lxc.start.auto = 1\n")
    (tmp_path / "var/lib/lxc/a").mkdir()
    (tmp_path / "var/lib/lxc/a/config").symlink_to(tmp_path / "gone")
    reading = Lxc.parse(run_script(Lxc.script, tmp_path, "lxc-create"))
    assert isinstance(reading.made, tuple)
    assert [(each.name, each.starts) for each in reading.made] == [("a", False), ("web", True)]


def test_what_was_not_followed_is_unknown_for_that_container_alone() -> None:
    reading = read(
        configs="/var/lib/lxc/web/config\n/var/lib/lxc/db/config",
        made=own("web", "lxc.include = /srv/own.conf") + own("db", "lxc.start.auto = 0"),
    )  # fmt: skip
    web, db = reading.made
    why = "/srv/own.conf, which /var/lib/lxc/web/config:1 includes, was not read"
    assert (web.lines, len(db.lines)) == (Unknown(why), 1)
    unread = read(settings=settings(default="lxc.include = /srv/own.conf"))
    assert unread.lines == Unknown(f"/srv/own.conf, which {DEFAULT}:1 includes, was not read")


def test_without_root_no_container_is_taken_for_none() -> None:
    assert read(configs=Block(1, "only root sees every container")).made == Unknown(
        "configs: only root sees every container"
    )
    assert read().made == ()


def test_more_lines_than_anybody_writes_are_not_read() -> None:
    many = "\n".join(["lxc.cap.drop = bpf"] * 20_001)
    reading = read(
        settings=settings(default=many), configs="/var/lib/lxc/web/config\n/var/lib/lxc/db/config",
        made=own("web", *many.split("\n")[:1001]) + own("db", "lxc.start.auto = 1"),
    )  # fmt: skip
    assert reading.lines == Unknown(f"{DEFAULT} and what it includes have too many lines")
    assert isinstance(reading.made[0].lines, Unknown)
    assert reading.made[1].starts


@pytest.mark.parametrize(
    ("block", "rows"),
    [
        ("# all\nops  veth lxcbr0 10\n\n@dev veth br0 2 # x", ("ops veth lxcbr0 10", "@dev veth br0 2")),
        (Block(1, "cat: No such file or directory"), ()),
    ],
)
def test_who_may_connect(block: Any, rows: Any) -> None:
    assert read(**{USERNET: block}).connecting == rows


def test_who_may_connect_is_unknown_where_the_file_may_not_be_read() -> None:
    why = Unknown(f"{USERNET}: cat: Permission denied")
    assert read(**{USERNET: Block(1, "cat: Permission denied")}).usernet == why


def test_of_weights_those_that_a_control_group_has() -> None:
    assert (read(weights=" cpu.weight").weights, read().weights) == (("cpu.weight",), ())


@pytest.mark.parametrize(
    ("block", "found"),
    [("Y", True), ("N", False), (Block(1, "cat: No such file or directory"), False),
     (Block(1, "cat: Permission denied"), Unknown("whether the kernel runs with AppArmor was not read"))],
)  # fmt: skip
def test_apparmor(block: Any, found: Any) -> None:
    assert read(apparmor=block).apparmor == found
