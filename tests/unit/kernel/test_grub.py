"""The boot menu is believed only when it has every word of our drop-ins."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploys.kernel.grub import MENU, drop_in
from facts.kernel.boot import DROP_INS


def healthy(folder: Path) -> tuple[bool, str]:
    script = MENU.healthy.replace(DROP_INS, f"{folder}/").replace("/boot/grub/grub.cfg", f"{folder}/grub.cfg")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout


def test_every_word_of_every_drop_in_of_ours_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "grub.cfg").write_text("\tlinux /vmlinuz ro slab_nomerge apparmor=1\n")
    (tmp_path / "10-theirs.cfg").write_text(drop_in("theirs"))
    assert healthy(tmp_path) == (True, "")
    (tmp_path / "99-hullproof.cfg").write_text(drop_in("slab_nomerge", "GRUB_CMDLINE_LINUX"))
    (tmp_path / "99-hullproof-apparmor.cfg").write_text(drop_in("apparmor=1"))
    assert healthy(tmp_path) == (True, "")
    (tmp_path / "99-hullproof.cfg").write_text(drop_in("slab_nomerge init_on_alloc=1", "GRUB_CMDLINE_LINUX"))
    well, said = healthy(tmp_path)
    assert not well
    assert "does not have init_on_alloc=1" in said


def test_a_menu_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "update-grub").write_text("#!/bin/sh\necho no device for /; exit 1\n")
    (tmp_path / "update-grub").chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", MENU.activate], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "no device for /\n")
