"""Containers of users' engines, as a host listed them, and the shell that lists them."""

from __future__ import annotations

import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import facts

FACTS = Path(str(facts.__file__)).parent


def shell(script: str, **programs: str) -> str:
    """What a script prints where these programs are others."""
    others = "\n".join(f"{name}() {{ {body}\n}}" for name, body in programs.items())
    return subprocess.run(["sh", "-c", f"{others}\n{script}"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("file", "link"), [("unlisted.sh", "pid:[4026531836]"), ("rootless.sh", "user:[4026531837]")])
def test_what_is_in_the_hosts_own_namespace_is_left_out(file: str, link: str) -> None:
    """find(1) takes what it compares links with for a pattern, in which brackets are a class of characters."""
    asked = 'while [ "$1" != -lname ]; do shift; [ $# != 0 ] || { echo x; return; }; done; echo "asked $2" >&2'
    script = f"rows= names=\nexec 2>&1\n{(FACTS / file).read_text().replace('2>/dev/null', '')}"
    said = shell(script, readlink=f"echo '{link}'", find=asked, run='shift; "$@"')
    (pattern,) = [line.removeprefix("asked ") for line in said.splitlines() if line.startswith("asked ")]
    assert fnmatchcase(link, pattern)
    assert not fnmatchcase(link.replace("402653183", "402653299"), pattern)
