"""Users who speak to the API without being root: by a group that its sockets belong to, and through sudo."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from shlex import quote

from deploys.core.change import Blocked, Change, Command, Context
from deploys.core.control import Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines.docker.rules import DockerRules
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker, DockerReading
from facts.engines.docker.shapes import GroupUser, SudoLine

UNDECLARED = "the policy does not declare docker.trusted_users"


def _trusted(users: list[str]) -> str:
    return f"only {', '.join(users)}" if users else "no user"


# --- Groups


def group_members(survey: Survey, policy: Policy) -> Verdict:
    docker, trusted = survey[Docker], policy[DockerRules].trusted_users
    if trusted is None:
        return not_applicable(UNDECLARED)
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    live = known(docker.group_users)
    strangers = [each for each in live if each.user not in trusted]
    names = sorted({each.user for each in live})
    if strangers:
        reason = f"these users can become root through Docker's socket: {', '.join(map(_say, strangers))}"
        return failed(
            f"{reason}; the policy trusts {_trusted(trusted)} (docker.trusted_users)",
            declared=trusted,
            disk=names,
            live=names,
        )
    what = "only users whom the policy trusts are in the groups of Docker's sockets"
    return passed(what, declared=trusted, disk=names, live=names)


def _say(each: GroupUser) -> str:
    return f"{each.user} ({'primary group' if each.primary else 'group'} {each.group})"


def plan_group_members(context: Context) -> Iterable[Change]:
    if not context.failing("docker.group-members"):
        return
    trusted = context.policy[DockerRules].trusted_users or []
    for each in known(context.survey[Docker].group_users):
        if each.user in trusted:
            continue
        what = f"remove {each.user} from group {each.group}"
        user, group = quote(each.user), quote(each.group)
        if each.primary:
            why = f"it is the primary group of {each.user}: give the user another one (usermod -g GROUP {user})"
            yield Blocked("docker", what, why=why)
        else:
            yield Command(
                "docker",
                f"{what} (open sessions keep the group until they end)",
                script=f"gpasswd -d {user} {group}",
                undo=f"gpasswd -a {user} {group}",
            )


# --- sudo


@dataclass(frozen=True)
class Grant:
    """A line of sudoers(5) that lets somebody run Docker's client, or the daemon, as root."""

    line: SudoLine
    whom: str  # a user; %group; ALL
    command: str

    def __str__(self) -> str:
        return f"{self.whom} runs {self.command} ({self.line.file})"


# USERS HOSTS = (RUNAS) TAGS: COMMANDS. Names of aliases are in capitals, and which users they stand for is not read.
_RULE = re.compile(r"(?P<whom>[^=\s,]+(?:\s*,\s*[^=\s,]+)*)\s+[^=\s]+\s*=\s*(?P<what>(?:\([^)]*\)\s*)?[^=\\]+)")
_TAG = re.compile(r"^\s*(\([^)]*\)\s*)?([A-Z_]+:\s*)*")
_ALIAS = re.compile(r"!?[A-Z][A-Z0-9_]*")
_DOCKER = re.compile(r"!?/\S*/docker[a-z-]*(\s|$)")


def grants(line: SudoLine) -> list[Grant]:
    """Who may run what by this line. UnknownReading where its form is another one than a plain rule's."""
    rule = _RULE.fullmatch(line.text)
    if not rule or re.match(r"(\w+_Alias|Defaults)\b", line.text):
        raise UnknownReading(f"who may run Docker through sudo is not known: {line.file} has “{line.text[:120]}”")
    users = [user.strip() for user in rule["whom"].split(",")]
    if any(_ALIAS.fullmatch(user) and user != "ALL" for user in users):
        raise UnknownReading(f"who {', '.join(users)} is in {line.file} is not known, and may run Docker through sudo")
    commands = [_TAG.sub("", part).strip() for part in rule["what"].split(",")]
    named = [part for part in commands if _DOCKER.match(part) and not part.startswith("!")]
    if not named and not any(part.startswith("!") and "docker" in part for part in commands):
        raise UnknownReading(
            f"what {', '.join(users)} may run through sudo is not known: {line.file}: {line.text[:120]}"
        )
    return [Grant(line, user, command) for user in users for command in named]


def _read_sudo(docker: DockerReading) -> tuple[list[Grant], list[str]]:
    """What the lines grant, and why some of them could not be understood."""
    found: list[Grant] = []
    unread: list[str] = []
    for line in known(docker.sudo):
        try:
            found += grants(line)
        except UnknownReading as error:
            unread.append(str(error))
    return found, unread


def sudo(survey: Survey, policy: Policy) -> Verdict:
    docker, trusted = survey[Docker], policy[DockerRules].trusted_users
    if trusted is None:
        return not_applicable(UNDECLARED)
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    found, unread = _read_sudo(docker)
    strangers = [str(grant) for grant in found if grant.whom not in ("root", "%root", *trusted)]
    if strangers:
        reason = f"sudo lets others than root use Docker, and so become root: {some(strangers)}"
        return failed(
            f"{reason}; the policy trusts {_trusted(trusted)} (docker.trusted_users)",
            declared=trusted,
            disk=strangers,
            live=strangers,
        )
    if unread:
        raise UnknownReading(unread[0])
    return passed("no rule of sudo's gives Docker to users whom the policy does not trust", declared=trusted)
