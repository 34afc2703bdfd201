"""The way back, as the host's own shell runs it: a made-up root, with stand-ins for GRUB, dpkg, Docker and systemd."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploys.kernel_roll import library

OLD, NEW = "6.1.0-50-cloud-amd64", "6.1.0-56-cloud-amd64"
OLD_VERSION, NEW_VERSION = "6.1.176-1", "6.1.192-2"
DISK = "8371535a-0cb6-47a9-be2c-138b7586e95b"
ADVANCED = f"gnulinux-advanced-{DISK}"
OLD_ENTRY, NEW_ENTRY = (f"{ADVANCED}>gnulinux-{release}-advanced-{DISK}" for release in (OLD, NEW))

# Of this machine's own tools only these: the host that is made up here has no others.
TOOLS = ("sh", "cat", "sed", "awk", "grep", "sort", "head", "tail", "tr", "cut", "mkdir", "rm", "mv", "ls", "sync",
         "date", "sleep", "timeout", "basename", "dirname", "touch", "df", "du")  # fmt: skip

STUBS = {
    "uname": 'cat "$ROOT/uname"',
    "dpkg-query": 'cat "$ROOT/packages"',
    "dpkg": '[ "$2" != "$4" ] && [ "$(printf "%s\\n" "$2" "$4" | sort -V | tail -n 1)" = "$2" ]',
    "grub-editenv": """\
f=$1
case $2 in
list) cat "$f" ;;
set) k=${3%%=*}; { grep -v "^$k=" "$f"; echo "$3"; } >"$f.n"; cat "$f.n" >"$f"; rm "$f.n" ;;
unset) grep -v "^$3=" "$f" >"$f.n"; cat "$f.n" >"$f"; rm "$f.n" ;;
esac; :""",
    "grub-probe": 'case $1 in *abstraction) cat "$ROOT/abstraction" ;; *) echo ext2 ;; esac',
    "update-grub": """\
d=0 words=
if [ -e "$ROOT/etc/default/grub.d/98-hullproof-boot.cfg" ]; then d='${saved_entry}' words=' panic=30'; fi
sed -i "s/set default=.*/set default=\\"$d\\"/; s/ panic=30$//; /linux/s/$/$words/" "$ROOT/boot/grub/grub.cfg\"""",
    "lsinitramfs": 'cat "$1"',
    "systemctl": 'echo "$*" >>"$ROOT/systemctl"; case $* in *docker*) cat "$ROOT/active" ;; *MainPID*) echo 1 ;; esac',
    "systemd-run": 'echo "run $*" >>"$ROOT/systemctl"',
    "ss": """\
case $* in
*sport*) cat "$ROOT/listens" ;;
*) echo 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))'
  echo 'LISTEN 0 128 127.0.0.1:6010 0.0.0.0:* users:(("sshd",pid=11,fd=9))' ;;
esac""",
    "ip": 'case $* in *route*) cat "$ROOT/route" ;; *) echo "2: ens3: <BROADCAST,UP,LOWER_UP>" ;; esac',
    "docker": """\
[ -e "$ROOT/docker-up" ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; }
case $1 in
ps) cat "$ROOT/running" ;;
start) echo "$2" >>"$ROOT/started"; [ -e "$ROOT/broken" ] || echo "$2" >>"$ROOT/running" ;;
inspect) case $3 in
  *Name*) echo "/web$4 false" ;;
  *) if grep -qx "$4" "$ROOT/running"; then echo "true 0"; else echo "false 137"; fi ;; esac ;;
esac""",
}  # fmt: skip


def menu(*releases: str) -> str:
    def entry(release: str, kind: str, tab: str) -> str:
        name = "simple" if kind == "simple" else f"{release}-{kind}"
        words = "ro single" if kind == "recovery" else "ro"
        return (
            f"{tab}menuentry 'Debian, {release}' --class os $menuentry_id_option 'gnulinux-{name}-{DISK}' {{\n"
            f"{tab}\tlinux\t/boot/vmlinuz-{release} root=UUID={DISK} {words}\n{tab}}}\n"
        )

    kinds = ("advanced", "recovery")
    inner = "".join(entry(release, kind, "\t") for release in releases for kind in kinds)
    submenu = f"submenu 'Advanced options' $menuentry_id_option '{ADVANCED}' {{\n{inner}}}\n"
    return f'if [ "${{next_entry}}" ] ; then\n   set default="0"\nfi\n{entry(releases[0], "simple", "")}{submenu}'


class Host:
    """The made-up root: an old kernel runs, a newer one is installed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "var/lib/hullproof/boot"
        bin_ = root / "bin"
        bin_.mkdir()
        for name in TOOLS:
            (bin_ / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
        for name, body in STUBS.items():
            (bin_ / name).write_text(f"#!/bin/sh\n{body}\n")
            (bin_ / name).chmod(0o755)
        files = {
            "uname": OLD, "abstraction": "", "active": "active", "running": "c1\nc2", "docker-up": "",
            "listens": "LISTEN", "route": "default via 10.0.2.2 dev ens3 proto static", "systemctl": "", "started": "",
            "packages": f"installed linux-image-{OLD} {OLD_VERSION}\ninstalled linux-image-{NEW} {NEW_VERSION}\n"
            f"installed linux-image-cloud-amd64 {NEW_VERSION}\ninstalled linux-image-7.0.0-1-amd64 7.0.1-1\n"
            f"config-files linux-image-6.1.0-99-cloud-amd64 6.1.999-1",
            "boot/grub/grub.cfg": menu(NEW, OLD), "boot/grub/grubenv": "# GRUB Environment Block",
            "proc/cmdline": f"BOOT_IMAGE=/boot/vmlinuz-{OLD} root=UUID={DISK} ro",
            "proc/sys/kernel/random/boot_id": "boot-1", "proc/uptime": "100.0 50.0",
            "sys/kernel/security/lsm": "lockdown,capability,yama,apparmor",
            "sys/kernel/security/apparmor/profiles": "docker-default (enforce)",
            "etc/systemd/system/sysinit.target.wants/hullproof-boot-gate.service": "",
        }  # fmt: skip
        for release in (OLD, NEW):
            files |= {f"boot/vmlinuz-{release}": "x", f"boot/initrd.img-{release}": "init\nbin/sh",
                      f"lib/modules/{release}/modules.dep": "x"}  # fmt: skip
        for name, text in files.items():
            self.put(name, text)

    def put(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text + "\n")

    def get(self, name: str) -> str:
        path = self.root / name
        return path.read_text() if path.exists() else ""

    def packages(self, call: str) -> subprocess.CompletedProcess[str]:
        return self.sh(f"{library('packages')}\n{call}")

    def sh(self, call: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {
            "PATH": f"{self.root}/bin", "ROOT": str(self.root), "HULLPROOF_ROOT": str(self.root),
            "HULLPROOF_PAUSE": "0",
        }  # fmt: skip
        return subprocess.run(
            ["/bin/sh", "-c", f"{library()}\n{call}"], env=env, text=True, capture_output=True, timeout=60
        )

    def grub(self) -> dict[str, str]:
        lines = self.get("boot/grub/grubenv").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def last(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.get("var/lib/hullproof/boot/last").splitlines())

    def armed(self, *arguments: str) -> Host:
        assert self.sh("keep").returncode == 0
        done = self.sh(f"arm {' '.join(arguments or ('30', '0', '0', _quote(''), _quote('')))}")
        assert done.returncode == 0, done.stdout + done.stderr
        return self

    def boots(self, release: str, number: int = 2) -> Host:
        """What a reboot does: GRUB takes its one-shot entry, and no container runs any more."""
        self.sh(
            f"environment unset next_entry; echo {release} >$ROOT/uname;"
            f"echo boot-{number} >$ROOT/proc/sys/kernel/random/boot_id"
        )
        self.put("running", "")
        return self


def _quote(text: str) -> str:
    return f"'{text}'"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_running_kernel_is_kept_as_default_before_anything_else_happens(host: Host) -> None:
    assert host.sh("keep").returncode == 0
    assert host.grub() == {"saved_entry": OLD_ENTRY}
    assert 'set default="${saved_entry}"' in host.get("boot/grub/grub.cfg")
    assert "panic=30" in host.get("etc/default/grub.d/98-hullproof-boot.cfg")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("abstraction", "lvm", "cannot write its environment on lvm"),
        ("abstraction", "diskfilter", "diskfilter"),
        ("boot/grub/grub.cfg", menu(NEW), f"no entry for {OLD}"),
    ],
)
def test_nothing_is_kept_where_there_is_no_way_back(host: Host, name: str, text: str, words: str) -> None:
    host.put(name, text)
    done = host.sh("keep")
    assert done.returncode != 0
    assert words in done.stdout
    assert host.grub() == {}


def test_armed_it_boots_the_newest_kernel_of_its_kind_once(host: Host) -> None:
    host.armed()
    assert host.grub() == {"saved_entry": OLD_ENTRY, "next_entry": NEW_ENTRY}
    assert "systemctl reboot" in host.get("systemctl")
    trial = {path.name: path.read_text().split() for path in (host.state / "trial").iterdir()}
    assert (trial["release"], trial["version"], trial["old"]) == ([NEW], [NEW_VERSION], [OLD])
    assert (trial["containers"], trial["ports"], trial["routes"]) == (
        ["c1", "webc1", "c2", "webc2"],
        ["22"],
        ["10.0.2.2", "ens3"],
    )
    assert "apparmor" in trial["lsm"]
    assert host.sh("settled boot-1").stdout == ""


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("rm $ROOT/boot/initrd.img-NEW", "there is no"),
        ("echo '(cut short)' >$ROOT/boot/initrd.img-NEW", "has no init"),
        (": >$ROOT/lib/modules/NEW/modules.dep", "not complete"),
        ("environment set saved_entry=0", "is not GRUB's default"),
        ("rm -r $ROOT/etc/systemd", "the gate is not enabled"),
        ("rm $ROOT/docker-up", "could not be noted"),
        ("sed -i 's/panic=30/panic=0/' $ROOT/boot/grub/grub.cfg", "a panic of NEW would not reboot"),
        ("echo lvm >$ROOT/abstraction", "lvm"),
        ("mkdir -p $S; echo 'NEW VERSION' >$S/rejected", "was tried before"),
    ],
)
def test_it_does_not_reboot_where_something_is_wrong(host: Host, spoil: str, words: str) -> None:
    host.sh("keep")
    host.sh(spoil.replace("NEW", NEW).replace("VERSION", NEW_VERSION))
    done = host.sh("arm 30 0 0 '' ''")
    assert done.returncode != 0
    assert words.replace("NEW", NEW) in done.stdout
    assert "next_entry" not in host.grub()
    assert "reboot" not in host.get("systemctl")


def test_a_window_that_is_over_and_nothing_newer(host: Host) -> None:
    host.sh("keep")
    assert "the window is over" in host.sh("arm 30 1000 0 '' ''").stdout
    host.put("uname", NEW)
    done = host.sh("arm 30 0 0 '' ''")
    assert (done.returncode, "runs already" in done.stdout) == (0, True)
    assert host.sh("settled boot-1").stdout.startswith("ok nothing newer")
    assert "reboot" not in host.get("systemctl")


def test_a_command_before_the_reboot_that_fails_keeps_the_host_up(host: Host) -> None:
    host.sh("keep")
    done = host.sh("arm 30 0 0 'echo no; false' 'echo back >$ROOT/after'")
    assert done.returncode != 0
    assert "the command before a reboot failed: no" in done.stdout
    assert host.get("after") == "back\n"
    assert "reboot" not in host.get("systemctl")


def test_where_systemd_does_not_reboot_all_is_taken_back(host: Host) -> None:
    (host.root / "bin/systemd-run").write_text("#!/bin/sh\nexit 1\n")
    host.sh("keep")
    done = host.sh("arm 30 0 0 true 'echo back >$ROOT/after'")
    assert (done.returncode, "systemd does not reboot" in done.stdout) == (1, True)
    assert (host.get("after"), host.grub()) == ("back\n", {"saved_entry": OLD_ENTRY})
    assert not (host.state / "trial").exists()


def test_security_modules_that_the_next_boot_was_to_change_are_no_fault_of_the_kernel(host: Host) -> None:
    host.sh("keep; sed -i 's/ ro / ro security=selinux /' $ROOT/boot/grub/grub.cfg")
    assert host.sh("arm 0 0 0 '' ''").returncode == 0
    host.put("sys/kernel/security/lsm", "lockdown,capability,yama,selinux")
    host.put("sys/kernel/security/apparmor/profiles", "")
    host.boots(NEW).sh("gate")
    assert host.last()["result"] == "confirmed"


def lasting(host: Host, now: str, new: str) -> list[str]:
    """What the next boot has to show, where this one was given `now` and the new kernel is given `new`."""
    host.put("sys/kernel/security/lsm", "lockdown,capability,landlock,yama,apparmor")
    host.put("proc/cmdline", f"ro {now}")
    host.sh(f"sed -i 's/ ro/ ro {new}/' $R/boot/grub/grub.cfg")
    return [line for line in host.sh(f"lsms | lasting {NEW}").stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("now", "new", "gone"),
    [
        ("", "", []),
        ("", "security=selinux", ["apparmor", "AppArmor profiles"]),
        ("lsm=a,b", "lsm=a,b apparmor=0", ["apparmor", "AppArmor profiles"]),
        ("", "lsm=lockdown,yama,selinux", ["capability", "landlock", "apparmor", "AppArmor profiles"]),
    ],
)
def test_only_modules_that_the_next_boot_was_to_change_may_be_gone(
    host: Host, now: str, new: str, gone: list[str]
) -> None:
    there = ["lockdown", "capability", "landlock", "yama", "apparmor", "AppArmor profiles"]
    assert lasting(host, now, new) == [name for name in there if name not in gone]


@pytest.mark.parametrize(("before", "after", "words"), [("0", "1", ""), ("1", "0", "gone: SELinux enforcing")])
def test_selinux_may_become_stricter_and_not_laxer(host: Host, before: str, after: str, words: str) -> None:
    host.put("sys/fs/selinux/enforce", before)
    host.armed("0", "0", "0", "''", "''").boots(NEW).put("sys/fs/selinux/enforce", after)
    host.sh("gate")
    assert (host.last().get("result") == "confirmed") is (words == "")
    assert words in host.get("var/lib/hullproof/boot/trial/failed")


def test_a_good_boot_is_confirmed_and_becomes_the_default(host: Host) -> None:
    host.armed("30", "0", "0", "'echo drained >>$ROOT/hooks'", "'echo back >>$ROOT/hooks'").boots(NEW)
    done = host.sh("gate")
    assert done.returncode == 0, done.stderr
    assert host.grub() == {"saved_entry": NEW_ENTRY}
    assert (host.last()["result"], host.last()["release"]) == ("confirmed", NEW)
    assert host.get("started").split() == ["c1", "c2"]
    assert host.get("hooks").split() == ["drained", "back"]
    assert host.sh("settled boot-1").stdout.startswith(f"ok runs {NEW} {NEW_VERSION}")
    assert not (host.state / "trial").exists()
    assert host.sh("gate").returncode == 0, "there is nothing more to confirm"


@pytest.mark.parametrize(
    ("spoil", "check", "words"),
    [
        ("rm $ROOT/docker-up", "engine", "Cannot connect to the Docker daemon"),
        (": >$ROOT/broken", "containers", "not running: webc1 webc2"),
        ("echo lockdown,capability,yama >$ROOT/sys/kernel/security/lsm", "lsm", "gone: apparmor"),
        (": >$ROOT/sys/kernel/security/apparmor/profiles", "lsm", "AppArmor profiles"),
        (": >$ROOT/route", "network", "no default route via 10.0.2.2"),
        (": >$ROOT/listens", "ssh", "nobody listens on port 22"),
    ],
)
def test_a_boot_that_does_not_pass_goes_back_and_says_why(host: Host, spoil: str, check: str, words: str) -> None:
    host.armed("0", "0", "0", "''", "''").boots(NEW)
    host.sh(spoil)
    host.sh("gate")
    assert host.get("systemctl").splitlines()[-1] == "reboot"
    assert host.grub() == {"saved_entry": OLD_ENTRY}
    host.sh("touch $ROOT/docker-up; rm -f $ROOT/broken")
    host.boots(OLD, 3).sh("gate")
    assert (host.last()["result"], host.last()["gate"]) == ("returned", check)
    assert words in host.last()["why"]
    assert host.get("var/lib/hullproof/boot/rejected") == f"{NEW} {NEW_VERSION}\n"
    assert host.get("running").split() == ["c1", "c2"], "its containers run again"
    assert host.sh("settled boot-1").stdout.startswith(f"fail {NEW} {NEW_VERSION} was not kept ({check}")


def test_a_kernel_that_never_came_up_and_one_that_crashed(host: Host) -> None:
    host.armed().boots(OLD).sh("gate")
    assert (host.last()["result"], host.last()["gate"]) == ("returned", "boot")
    host.armed("30", "0", "1", "''", "''").boots(NEW, 3).sh(": >$S/trial/began")
    host.boots(OLD, 4).sh("gate")
    assert (host.last()["result"], host.last()["gate"]) == ("returned", "crash")
    assert host.get("var/lib/hullproof/boot/rejected") == f"{NEW} {NEW_VERSION}\n", "named once"


def test_a_kernel_that_passes_at_the_second_try_is_rejected_no_more(host: Host) -> None:
    host.put("var/lib/hullproof/boot/rejected", f"{NEW} {NEW_VERSION}\n6.1.0-40-cloud-amd64 6.1.40-1")
    host.armed("30", "0", "1", "''", "''").boots(NEW).sh("gate")
    assert host.last()["result"] == "confirmed"
    assert host.get("var/lib/hullproof/boot/rejected").split("\n")[0] == "6.1.0-40-cloud-amd64 6.1.40-1"


def test_a_kernel_that_grub_was_not_told_of_or_did_not_take_is_not_rejected(host: Host) -> None:
    host.armed().sh("rm $S/trial/armed")
    host.boots(OLD).sh("gate")
    assert host.last()["result"] == "not-tried"
    host.armed().boots(OLD, 3)
    host.sh(f"environment set next_entry='{NEW_ENTRY}'; gate")
    assert (host.last()["result"], host.last()["gate"]) == ("not-tried", "grub")
    assert "next_entry" not in host.grub()
    assert not (host.state / "rejected").exists()


def test_the_gate_does_nothing_before_the_reboot(host: Host) -> None:
    host.armed().sh("gate")
    assert (host.state / "trial").exists()
    assert host.last() == {}


def test_restoring_after_a_confirmed_kernel_keeps_the_old_one_as_default(host: Host) -> None:
    host.armed().boots(NEW).sh("gate")
    assert host.sh(f"restore {OLD}").returncode == 0
    assert host.grub() == {"saved_entry": OLD_ENTRY}
    assert 'set default="${saved_entry}"' in host.get("boot/grub/grub.cfg")


def test_restoring_where_the_old_kernel_is_the_newest_leaves_no_trace(host: Host) -> None:
    host.put("packages", f"installed linux-image-{OLD} {OLD_VERSION}")
    host.sh("keep")
    assert host.sh(f"restore {OLD}").returncode == 0
    assert host.grub() == {}
    assert 'set default="0"' in host.get("boot/grub/grub.cfg")
    assert not (host.root / "etc/default/grub.d/98-hullproof-boot.cfg").exists()
