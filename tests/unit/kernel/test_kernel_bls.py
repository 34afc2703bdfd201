"""The way back on a host with Boot Loader entries, grub2 and rpm, as RHEL has them: a made-up root."""

from __future__ import annotations

from tests.support.kernel_bls import ENTRIES, options, rhel
from tests.support.kernel_trial_host import Host

__all__ = ["rhel"]

PANICS = "panic=30 rd.shell=0 rd.emergency=reboot"


def test_boot_loader_entries_are_booted_once_by_their_ids(rhel: Host) -> None:
    def grubenv() -> list[str]:
        return sorted(rhel.get("boot/grub2/grubenv").splitlines())

    assert rhel.sh("command_line 5.14.0-570.12.1.el9_6.x86_64").stdout == "root=/dev/vda1 ro\n"
    rhel.armed()
    assert grubenv() == ["next_entry=m-5.14.0-570.12.1.el9_6.x86_64", "saved_entry=m-5.14.0-503.40.1.el9_5.x86_64"]
    assert options(rhel) == [f"root=/dev/vda1 ro {PANICS}"] * 2


def test_an_entry_that_came_after_has_a_panic_reboot_too_and_an_undo_takes_only_our_words(rhel: Host) -> None:
    old, new = (f"m-5.14.0-{name}.x86_64" for name in ("503.40.1.el9_5", "570.12.1.el9_6"))
    rhel.sh(f"sed -i 's/ ro$/ ro rd.shell=0/' $R/{ENTRIES}/*; mv $R/{ENTRIES}/{new}.conf $R; keep")
    rhel.sh(f"mv $R/{new}.conf $R/{ENTRIES}; arm 60 0 0 '' ''")
    assert [sorted(line.split()[2:]) for line in options(rhel)] == [sorted(PANICS.split())] * 2
    rhel.boots(new.removeprefix("m-")).sh(f"gate; restore {old.removeprefix('m-')}")
    assert "panic=30" in options(rhel)[1], "the newest is not the default: it is still one that is booted once"
    rhel.sh(f"restore {new.removeprefix('m-')}")
    assert options(rhel) == ["root=/dev/vda1 ro rd.shell=0"] * 2
