"""libvirt's own form of files: what they say, where they are broken, and that an edit leaves all else as it was."""

from __future__ import annotations

import contextlib
import time

import pytest

from deploys.engines.libvirt.settings import edited
from facts.engines.libvirt.conf import Broken, read_conf

SHIPPED = """\
# The default security driver is SELinux.
#security_driver = "selinux"

user = 'root'  # by hand
cgroup_controllers = [ "cpu",
  "memory", ]
max_files = 32768
text = \"\"\"two
lines\"\"\"
user = "second"
"""


def values(text: str) -> dict[str, object]:
    return {key: entry.value for key, entry in read_conf(text).items()}


def test_the_first_line_of_a_key_counts_and_comments_do_not() -> None:
    assert values(SHIPPED) == {
        "user": "root", "cgroup_controllers": ("cpu", "memory"), "max_files": 32768, "text": "two\nlines",
    }  # fmt: skip
    assert read_conf(SHIPPED)["max_files"].line == 7


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\nuser = ", "line 2: 'the end' where a value"),
        ('user "root"', "line 1: '\"root\"' where = after user"),
        ("user = root", "line 1: 'root' where a value"),
        ('a = [ "x"\nb = 1', "line 2: 'b' where a comma"),
        ('a = [ "x",', "line 1: '[' where a list that is closed"),
        ('a = "x', "line 1: '\"x' where a key or a value"),
        ("1 = 2", "line 1: '1' where a key"),
        ("a = [ [", "line 1: '[' where a value"),
        ("{}", "line 1: '{}' where a key or a value"),
    ],
)
def test_a_broken_file_is_named_with_its_line(text: str, why: str) -> None:
    with pytest.raises(Broken, match=r"line") as found:
        read_conf(text)
    assert str(found.value).startswith(why)


@pytest.mark.parametrize("text", ['a = """' * 20000, "a = [" * 40000, "a = 1\n" * 40000, '"""' * 40001, "#\n" * 60000])
def test_nonsense_takes_time_in_proportion_to_its_size(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(Broken):
        read_conf(text)
    assert time.process_time() - began < 2


def test_a_key_is_changed_where_it_is_and_added_below_the_line_that_shows_it() -> None:
    after = edited(SHIPPED, {"user": "qemu", "security_driver": "apparmor", "cgroup_controllers": ("cpu",), "new": 1})
    assert after.split("\n")[:5] == [
        "# The default security driver is SELinux.",
        '#security_driver = "selinux"',
        'security_driver = "apparmor"',
        "",
        'user = "qemu"  # by hand',
    ]
    assert after.endswith('user = "second"\nnew = 1\n')
    assert values(after) == values(SHIPPED) | {
        "user": "qemu", "security_driver": "apparmor", "cgroup_controllers": ("cpu",), "new": 1,
    }  # fmt: skip
    assert edited(after, {"user": "qemu", "new": 1}) == after


def test_a_file_without_a_last_line_break_or_without_anything_gets_its_key() -> None:
    assert edited("a = 1", {"b": 2}) == "a = 1\nb = 2\n"
    assert edited("", {"b": 2}) == "b = 2\n"


def test_what_cannot_be_edited_for_certain_is_not() -> None:
    """The line that would show the key is within a text, which the edit would change."""
    with pytest.raises(ValueError, match="cannot be edited"):
        edited('text = """\n#b = 1\n"""\n', {"b": 2})
