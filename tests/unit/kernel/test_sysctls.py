"""sysctl.d(5): which file gives a key its value at boot, and what the live readings make of complaints."""

from __future__ import annotations

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.kernel.kernel import Kernel, KernelReading
from facts.kernel.sysctls import Setting, Sysctls, applied, dotted, parse
from tests.support.cases import CASES, read


def _section(files: dict[str, str | Block], live: str = "/proc/sys/kernel/sysrq:1\n", status: int = 0) -> Section:
    blocks = {path: text if isinstance(text, Block) else Block(0, text) for path, text in files.items()}
    return Section({"sysctl": Block(status, live), "systemd": Block(0, ""), **blocks})


KEY = "net.ipv4.conf.all.rp_filter"

# files as the host lists them; the value at boot and the file that gives it
PRECEDENCE = {
    "nothing sets it": ({"/etc/sysctl.d/10-a.conf": "kernel.sysrq=0\n"}, None),
    "by file name, not by directory": (
        {"/etc/sysctl.d/10-a.conf": f"{KEY}=1\n", "/usr/lib/sysctl.d/50-b.conf": f"{KEY}=2\n"},
        ("2", "/usr/lib/sysctl.d/50-b.conf"),
    ),
    "a file of the same name hides the lower one": (
        {"/etc/sysctl.d/50-b.conf": "# nothing\n", "/usr/lib/sysctl.d/50-b.conf": f"{KEY}=2\n"},
        None,
    ),
    "/run hides /usr/lib": (
        {"/run/sysctl.d/50-b.conf": f"{KEY}=0\n", "/usr/lib/sysctl.d/50-b.conf": f"{KEY}=2\n"},
        ("0", "/run/sysctl.d/50-b.conf"),
    ),
    "/usr/local/lib before /usr/lib": (
        {"/usr/lib/sysctl.d/50-b.conf": f"{KEY}=2\n", "/usr/local/lib/sysctl.d/50-b.conf": f"{KEY}=1\n"},
        ("1", "/usr/local/lib/sysctl.d/50-b.conf"),
    ),
    "names sort as bytes: digits before letters": (
        {"/etc/sysctl.d/zz.conf": f"{KEY}=1\n", "/etc/sysctl.d/99-zzz-hullproof.conf": f"{KEY}=2\n"},
        ("1", "/etc/sysctl.d/zz.conf"),
    ),
    "within a file the last line": (
        {"/etc/sysctl.d/a.conf": f"{KEY}=1\n{KEY} = 2\n"},
        ("2", "/etc/sysctl.d/a.conf"),
    ),
    "slashes, blanks, comments and the ignore-failure sign": (
        {"/etc/sysctl.d/a.conf": "; x\n# y\n  -net/ipv4/conf/all/rp_filter  =  2  \nnonsense\n"},
        ("2", "/etc/sysctl.d/a.conf"),
    ),
    "a glob": ({"/usr/lib/sysctl.d/a.conf": "net.ipv4.conf.*.rp_filter = 2\n"}, ("2", "/usr/lib/sysctl.d/a.conf")),
    "a key excluded from a glob": (
        {"/usr/lib/sysctl.d/a.conf": "net.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.all.rp_filter\n"},
        None,
    ),
    "an explicit key wins over a glob in a later file": (
        {"/etc/sysctl.d/a.conf": f"{KEY}=1\n", "/etc/sysctl.d/b.conf": "net.ipv4.conf.*.rp_filter = 2\n"},
        ("1", "/etc/sysctl.d/a.conf"),
    ),
    "of two globs the last": (
        {
            "/etc/sysctl.d/a.conf": "net.ipv4.conf.*.rp_filter = 1\n",
            "/etc/sysctl.d/b.conf": "net.ipv4.*.all.rp_filter=2\n",
        },
        ("2", "/etc/sysctl.d/b.conf"),
    ),
    "a glob does not cross a separator": ({"/etc/sysctl.d/a.conf": "net.*.rp_filter = 1\n"}, None),
    "/etc/sysctl.conf through its link, in the link's place": (
        {"/etc/sysctl.d/99-sysctl.conf": f"{KEY}=1\n", "/etc/sysctl.d/99-zzz-hullproof.conf": f"{KEY}=2\n"},
        ("2", "/etc/sysctl.d/99-zzz-hullproof.conf"),
    ),
    "/etc/sysctl.conf itself comes last, where there is no systemd": (
        {"/etc/sysctl.d/zz.conf": f"{KEY}=1\n", "/etc/sysctl.conf": f"{KEY}=0\n"},
        ("0", "/etc/sysctl.conf"),
    ),
}


@pytest.mark.parametrize("case", PRECEDENCE)
def test_what_a_boot_sets(case: str) -> None:
    files, expected = PRECEDENCE[case]
    stored = parse(_section(dict(files))).stored(KEY)
    assert stored == (Setting(*expected) if expected else None)


WRITTEN = ("net.ipv4.conf.all.log_martians", "net.ipv4.conf.default.log_martians", "net.ipv4.conf.all.send_redirects",
           "net.ipv4.conf.default.secure_redirects", "net.ipv4.conf.default.send_redirects", "kernel.sysrq",
           "net.ipv4.conf.all.accept_source_route", "net.ipv4.tcp_timestamps", "fs.protected_fifos")  # fmt: skip
LEFT_ALONE = ("net.ipv4.conf.all.secure_redirects", "kernel.panic", "kernel.pid_max")


@pytest.mark.parametrize(("distribution", "syncookies"), [("debian12", "2"), ("debian13", None)])
def test_as_systemd_did_it(distribution: str, syncookies: str | None) -> None:
    """Recorded after systemd-sysctl had read globs, exclusions, masks, slashes and directories: 252 and 257."""
    case = read(CASES / "kernel.Kernel" / f"{distribution}-sysctl-precedence.json")
    kernel = Kernel().process(case["output"])
    assert isinstance(kernel, KernelReading)
    for key in WRITTEN:
        stored = kernel.sysctls.stored(key)
        assert isinstance(stored, Setting), key
        assert stored.value == kernel.sysctls.value(key), key
    assert [kernel.sysctls.stored(key) for key in LEFT_ALONE] == [None] * len(LEFT_ALONE)
    cookies = kernel.sysctls.stored("net.ipv4.tcp_syncookies")  # Debian 13 has no link to /etc/sysctl.conf any more
    assert (cookies.value if isinstance(cookies, Setting) else cookies) == syncookies


def test_a_file_that_cannot_be_read_leaves_every_key_unknown() -> None:
    refused = Block(1, "cat: /etc/sysctl.d/a.conf: Permission denied")
    assert isinstance(parse(_section({"/etc/sysctl.d/a.conf": refused})).stored(KEY), Unknown)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("kernel.sysrq", "kernel.sysrq"),
        ("kernel/sysrq", "kernel.sysrq"),
        ("net.ipv4.conf.eth0/5.rp_filter", "net.ipv4.conf.eth0/5.rp_filter"),
        ("net/ipv4/conf/eth0.5/rp_filter", "net.ipv4.conf.eth0/5.rp_filter"),
        ("nodots", "nodots"),
    ],
)
def test_names(written: str, key: str) -> None:
    assert dotted(written) == key


def test_live_values_absent_unreadable_and_none_at_all() -> None:
    live = (
        "/proc/sys/kernel/printk:4\t4\t1\t7\n"
        "grep: /proc/sys/kernel/yama/*: No such file or directory\n"
        "grep: /proc/sys/fs/binfmt_misc: Is a directory\n"
        "grep: /proc/sys/fs/protected_fifos: Permission denied\n"
        "/proc/sys/user/x:a:b\n"
    )
    sysctls = parse(_section({}, live, status=2))
    assert sysctls.value("kernel.printk") == "4 4 1 7"
    assert sysctls.value("user.x") == "a:b"
    assert sysctls.value("kernel.yama.ptrace_scope") is None
    assert sysctls.value("fs.protected_fifos") == Unknown("fs.protected_fifos: Permission denied")
    nothing = parse(_section({}, "sh: 1: grep: not found", status=127))
    assert nothing.value("kernel.printk") == Unknown("/proc/sys was not read: sh: 1: grep: not found")


def test_without_a_file() -> None:
    sysctls = Sysctls({}, {}, applied(_section({"/etc/sysctl.d/a.conf": f"{KEY}=1\n"})))
    assert sysctls.text("/etc/sysctl.d/a.conf") == f"{KEY}=1\n"
    assert sysctls.without("/etc/sysctl.d/a.conf").stored(KEY) is None
