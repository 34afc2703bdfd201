"""A made-up root on which the host's own shell runs the way back: stand-ins for GRUB, dpkg, Docker and systemd."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from deploys.kernel.rollout import library

OLD, NEW = "6.1.0-50-cloud-amd64", "6.1.0-56-cloud-amd64"
OLD_VERSION, NEW_VERSION = "6.1.176-1", "6.1.192-2"
DISK = "8371535a-0cb6-47a9-be2c-138b7586e95b"
ADVANCED = f"gnulinux-advanced-{DISK}"
OLD_ENTRY, NEW_ENTRY = (f"{ADVANCED}>gnulinux-{release}-advanced-{DISK}" for release in (OLD, NEW))

# Of this machine's own tools only these: the host that is made up here has no others.
TOOLS = ("sh", "cat", "sed", "awk", "grep", "sort", "head", "tail", "tr", "cut", "mkdir", "rm", "mv", "ls", "sync",
         "date", "timeout", "basename", "dirname", "touch", "df", "du", "chmod", "xargs")  # fmt: skip

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
d=0 words= menu=$ROOT/boot/grub/grub.cfg
if [ -e "$ROOT/etc/default/grub.d/98-hullproof-boot.cfg" ]; then d='${saved_entry}' words=' panic=30'; fi
sed -i "s/set default=.*/set default=\\"$d\\"/; s/ [$]hullproof$//; s/ panic=30$//; /linux/s/$/$words/" "$menu"
[ ! -e "$ROOT/etc/default/grub.d/97-hullproof-words.cfg" ] || [ -e "$ROOT/theirs" ] ||
  sed -i '/linux.* single/!{/linux/s/$/ $hullproof/}' "$menu\"""",
    "dmesg": 'cat "$ROOT/dmesg"',
    "lsinitramfs": 'cat "$1"',
    # A unit that runs is a row of `units`; a boot starts it if `wanted` has it too.
    "systemctl": """\
echo "$*" >>"$ROOT/systemctl"
for unit; do :; done
case $* in
list-units*) sed 's/$/ loaded active running Something/' "$ROOT/units" ;;
*docker*) cat "$ROOT/active" ;;
*MainPID*) echo 1 ;;
*WantedBy*) grep -qx "$unit" "$ROOT/wanted" && echo multi-user.target; : ;;
*is-active*.socket) grep -qx "$unit" "$ROOT/sockets" 2>/dev/null && echo active; : ;;
*"is-active multi-user.target") echo active ;;
is-active*)
  shift
  for unit; do grep -qx "${unit%.service}.service" "$ROOT/units" && echo active || cat "$ROOT/otherwise"; done ;;
esac""",
    "systemd-run": 'echo "run $*" >>"$ROOT/systemctl"',
    "ss": """\
case $* in
*sport*) cat "$ROOT/listens" ;;
*) echo 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))'
  echo 'LISTEN 0 128 127.0.0.1:6010 0.0.0.0:* users:(("sshd",pid=11,fd=9))' ;;
esac""",
    "ip": """\
case $* in
"-4 "*show*) cat "$ROOT/route" ;;
"-6 "*show*) cat "$ROOT/route6" 2>/dev/null ;;
*get*) cat "$ROOT/get" ;;
*) shift 4; grep -qx "$1" "$ROOT/no-link" 2>/dev/null || echo "2: $1: <BROADCAST,UP,LOWER_UP>" ;;
esac""",
    # Time passes only while somebody sleeps.
    "sleep": 'read -r now idle <"$ROOT/proc/uptime"; echo "$((${now%.*} + $1)).0 $idle" >"$ROOT/proc/uptime"',
    # A container is a file of shell words, read at each look: `$now` in it is the uptime.
    "docker": """\
[ -e "$ROOT/docker-up" ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; }
now=$(cut -d. -f1 "$ROOT/proc/uptime")
[ "$1" != container ] || shift
about() {
  . "$1"; id=${1##*/}
  if [ -n "$dies" ] && [ "$now" -ge "$((started + dies))" ]; then running=false code=1; fi
}
find() { for f in "$ROOT"/containers/*; do about "$f"; case $1 in "$id" | "$name") return ;; esac; done; false; }
case $1 in
ps) for f in "$ROOT"/containers/*; do about "$f"; [ "$running" = false ] || echo "$id"; done ;;
start) [ -e "$ROOT/containers/$2" ] || exit 1; echo "$2" >>"$ROOT/started"
  [ -e "$ROOT/broken" ] || echo "running=true started=$now" >>"$ROOT/containers/$2" ;;
inspect) form=$3 missing=; shift 3
  for key; do
    find "$key" || { missing=1; continue; }
    printf '%s\\n' "$form" | sed "s|{{.Name}}|/$name|; s|{{.HostConfig.AutoRemove}}|$removes|
      s|{{.State.Running}}|$running|; s|{{.State.Restarting}}|$restarting|; s|{{.State.ExitCode}}|$code|
      s|{{.RestartCount}}|$restarts|; s|{{.State.StartedAt}}|$started|
      s|{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}|$health|
      s|{{if .Config.Healthcheck}}{{printf .%d. .Config.Healthcheck.Interval}}{{else}}0{{end}}|$interval|
      s|{{range .*{{end}}|$labels|; /{{/d"
  done
  [ -z "$missing" ] ;;
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

    pause = 15  # seconds of its clock from look to look: each costs a dozen processes

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "var/lib/hullproof/boot"
        self.trial = root / "etc/hullproof/trial"
        bin_ = root / "bin"
        bin_.mkdir()
        for name in TOOLS:
            (bin_ / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
        for name, body in STUBS.items():
            (bin_ / name).write_text(f"#!/bin/sh\n{body}\n")
            (bin_ / name).chmod(0o755)
        files = {
            "uname": OLD, "abstraction": "", "units": "", "wanted": "", "otherwise": "inactive",
            "active": "active", "docker-up": "", "dmesg": "",
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
        for id_ in ("c1", "c2"):
            self.container(id_)

    def put(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text + "\n")

    def get(self, name: str) -> str:
        path = self.root / name
        return path.read_text() if path.exists() else ""

    def container(self, id_: str, **words: object) -> None:
        """A container that runs, or what becomes of one; values are as in sh."""
        path = self.root / "containers" / id_
        born = {"name": f"web{id_}", "running": "true", "restarting": "false", "code": 137, "restarts": 0, "started": 1,
                "health": "none", "interval": 0, "removes": "false", "labels": "''", "dies": "''"}  # fmt: skip
        before, words = (path.read_text(), words) if path.exists() else ("", born | words)
        self.put(f"containers/{id_}", before + "\n".join(f"{key}={value}" for key, value in words.items()))

    def running(self) -> list[str]:
        return self.sh("docker ps -q").stdout.split()

    def packages(self, call: str) -> subprocess.CompletedProcess[str]:
        return self.sh(f"{library('packages')}\n{call}")

    def sh(self, call: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"PATH": f"{self.root}/bin", "ROOT": str(self.root), "HULLPROOF_ROOT": str(self.root)}
        return subprocess.run(
            ["/bin/sh", "-c", f"{library()}\nPAUSE={self.pause}\n{call}"],
            env=env,
            text=True,
            capture_output=True,
            timeout=60,
        )

    def grub(self) -> dict[str, str]:
        lines = self.get("boot/grub/grubenv").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def last(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.get("var/lib/hullproof/boot/last").splitlines())

    def armed(self, *arguments: str) -> Host:
        assert self.sh("keep").returncode == 0
        done = self.sh(f"arm {' '.join(arguments or ('60', '0', '0', _quote(''), _quote('')))}")
        assert done.returncode == 0, done.stdout + done.stderr
        return self

    def boots(self, release: str, number: int = 2) -> Host:
        """What a reboot does: GRUB takes its one-shot entry, and no container runs any more."""
        self.sh(
            f"environment unset next_entry; echo {release} >$ROOT/uname;"
            f"echo boot-{number} >$ROOT/proc/sys/kernel/random/boot_id"
        )
        self.put("proc/uptime", "10.0 5.0")
        for path in (self.root / "containers").iterdir():
            self.container(path.name, running="false", started=0)
        return self


def _quote(text: str) -> str:
    return f"'{text}'"
