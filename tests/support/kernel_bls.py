"""A made-up root with boot loader entries, as Red Hat's family has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kernel_trial_host import STUBS, Host

ENTRIES = "boot/loader/entries"


@pytest.fixture
def rhel(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    old, new = "5.14.0-503.40.1.el9_5.x86_64", "5.14.0-570.12.1.el9_6.x86_64"
    for name in ("boot/grub/grub.cfg", "boot/grub/grubenv", "bin/dpkg-query", "bin/dpkg"):
        (host.root / name).unlink()
    host.put("boot/grub2/grub.cfg", 'set default="${saved_entry}"\nblscfg')
    host.put("boot/grub2/grubenv", "saved_entry=m-5.14.0-570.12.1.el9_6.x86_64")
    for release in (old, new):
        host.put(f"{ENTRIES}/m-{release}.conf", f"title RHEL\nlinux /vmlinuz-{release}\noptions root=/dev/vda1 ro")
        host.put(f"boot/vmlinuz-{release}", "x")
        host.put(f"boot/initramfs-{release}.img", "init -> usr/lib/systemd/systemd")
        host.put(f"lib/modules/{release}/modules.dep", "x")
    host.put("uname", old)
    host.put("grubby", "")
    stubs = {
        "grub2-editenv": STUBS["grub-editenv"], "grub2-probe": STUBS["grub-probe"], "lsinitrd": 'cat "$1"',
        "grubby": """\
for f in "$ROOT"/boot/loader/entries/*; do
  case ${1#*=} in ALL | */vmlinuz-${f##*/m-}) ;; *) continue ;; esac
  for w in ${2#*=}; do
    sed -i "/^options/s/ $w//" "$f"
    case $2 in --args=*) sed -i "/^options/s/$/ $w/" "$f" ;; esac
  done
done""".replace("${f##*/m-}", "$(basename $f .conf | cut -c3-)"),
        "rpm": f'printf "%s %s\\n" {old} {old.removesuffix(".x86_64")} {new} {new.removesuffix(".x86_64")}',
    }  # fmt: skip
    (host.root / "bin/lsinitramfs").unlink()
    for name, body in stubs.items():
        (host.root / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (host.root / "bin" / name).chmod(0o755)
    return host


def options(host: Host) -> list[str]:
    lines = [line for path in sorted((host.root / ENTRIES).iterdir()) for line in path.read_text().splitlines()]
    return [line.removeprefix("options ") for line in lines if line.startswith("options ")]
