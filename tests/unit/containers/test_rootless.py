"""Containers of users' engines, as a host listed them, and the shell that lists them."""

from __future__ import annotations

import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from facts import processes

FACTS = Path(processes.__file__).parent


def shell(script: str, **programs: str) -> str:
    """What a script prints where these programs are others."""
    others = "\n".join(f"{name}() {{ {body}\n}}" for name, body in programs.items())
    return subprocess.run(["sh", "-c", f"{others}\n{script}"], capture_output=True, text=True, check=True).stdout


def test_a_node_that_is_mounted_over_a_plain_file_is_a_node(tmp_path: Path) -> None:
    (tmp_path / "null").touch()
    mounted = f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/null && mount --bind /dev/null {tmp_path}/null"
    moved = f"{mounted} && mount --move {tmp_path} /dev"
    script = f'run() {{ name=$1; shift; [ "$name" != processes.nodes ] || "$@"; }}\npids=$$\n{processes.SCRIPT}'
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*inside, moved], capture_output=True).returncode:
        pytest.skip("a test may make no user namespace here")
    done = subprocess.run([*inside, f"{moved}\n{script}"], capture_output=True, text=True)
    assert [line.partition("/root")[2] for line in done.stdout.splitlines()] == ["/dev/null c"]


@pytest.mark.parametrize(("file", "link"), [("unlisted.sh", "pid:[4026531836]"), ("rootless.sh", "user:[4026531837]")])
def test_what_is_in_the_hosts_own_namespace_is_left_out(file: str, link: str) -> None:
    """find(1) takes what it compares links with for a pattern, in which brackets are a class of characters."""
    asked = 'while [ "$1" != -lname ]; do shift; [ $# != 0 ] || { echo x; return; }; done; echo "asked $2" >&2'
    script = f"rows= names=\nexec 2>&1\n{(FACTS / file).read_text().replace('2>/dev/null', '')}"
    said = shell(script, readlink=f"echo '{link}'", find=asked, run='shift; "$@"')
    (pattern,) = [line.removeprefix("asked ") for line in said.splitlines() if line.startswith("asked ")]
    assert fnmatchcase(link, pattern)
    assert not fnmatchcase(link.replace("402653183", "402653299"), pattern)
