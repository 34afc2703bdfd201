"""No container's process gains privileges by setuid programs: containers.conf has no key for it, and a hook sets it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploys.core import templates
from deploys.core.change import Change, Context, WriteFile
from deploys.core.control import Severity
from deploys.engines.podman.settings import Row, said, setting
from facts.core.reading import known
from facts.engines.podman.podman import HOOK, HOOKS, PROGRAM, Podman, PodmanReading

KEY = "engine.hooks_dir"
SHIPPED = ["/usr/share/containers/oci/hooks.d"]  # what Podman reads where no file says anything
HOOK_TEXT = templates.text("engines/podman/no-new-privileges.json")
PROGRAM_TEXT = templates.text("engines/podman/no-new-privileges.sh")


def _missing(podman: PodmanReading, wanted: Any) -> str:
    """A hook whose files are missing is skipped without a word. Nothing is planned where Podman's files are broken."""
    known(podman.settings)
    for path, text, is_text in ((HOOK, HOOK_TEXT, podman.hook), (PROGRAM, PROGRAM_TEXT, podman.program)):
        if known(is_text) != text:
            return f"{path} is {'not there' if is_text is None else 'not as hullproof writes it'}"
    return "" if HOOKS in setting(podman, KEY, SHIPPED) else said(podman, KEY, SHIPPED)


def _hook(context: Context) -> Iterator[Change]:
    podman = context.survey[Podman]
    for path, text, before, mode in (
        (PROGRAM, PROGRAM_TEXT, known(podman.program), "0755"),
        (HOOK, HOOK_TEXT, known(podman.hook), "0644"),
    ):
        if text != before:
            what = f"write the hook that sets no_new_privs ({path})"
            yield WriteFile("podman", what, path=path, text=text, before=before, mode=mode)


def _with_ours(podman: PodmanReading, wanted: Any) -> dict[str, Any]:
    folders = setting(podman, KEY, SHIPPED)
    return {KEY: [*(folder for folder in folders if folder != HOOKS), HOOKS]}


DEFAULT = Row(
    name="no-new-privileges",
    title="Processes in Podman's containers gain no privileges by setuid programs",
    severity=Severity.MEDIUM,
    why="A setuid program in an image makes an ordinary user of the container its root.",
    references=("CIS-Docker-2.14", "NIST-800-190-4.4.3"),
    wrong=_missing,
    put=_with_ours,
    first=_hook,
    by_hand="start containers with --security-opt no-new-privileges, or have a hook of Podman's set it",
)
