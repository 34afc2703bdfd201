"""Controls that are keys of KubeletConfiguration: how each is judged, by the next start's files and by what runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploys.core.change import Context, Obstacle
from deploys.core.control import Control, Impact, Severity, State, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines.kubelet.rules import KubeletRules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.kubelet.kubelet import Kubelet, KubeletReading, Setting, Setup

NOT_IN_FORCE = "not known to be in force: its files were changed after the kubelet started"
NONE = Setting(None, "")


def setting(setup: Setup, key: str) -> Setting:
    """What a key is set to, and where; NONE where nothing sets it. The command line beats the files."""
    return setup.flags.get(key) or known(setup.files).get(key) or NONE


def say(value: Any) -> str:
    if isinstance(value, list):
        return some(map(str, value), 2)
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key. `legacy`: what counts without it where no --config is given. `unset`: a clause for an empty value.
    `put`: what is written, by key; None where hullproof sets nothing. `read`: the value, where it is more than that of
    one key. `beside`: what else the host lacks for it. `first`: why it cannot be set now. `seen`: what shows a value
    that is no longer in a file."""

    name: str
    keys: tuple[str, ...]
    title: str
    severity: Severity
    why: str
    references: tuple[str, ...]
    wanted: Callable[[KubeletRules], Any]
    default: Any
    legacy: Any = None
    unset: str = ""
    holds: Callable[[Any, Any], bool] = lambda value, wanted: bool(value == wanted)
    put: Callable[[Any], Mapping[str, Any]] | None = None
    by_hand: str = ""
    read: Callable[[KubeletReading, Setup], Any] | None = None
    beside: Callable[[Survey], str] = lambda survey: ""
    first: Callable[[Context], Obstacle | None] = lambda context: None
    seen: Callable[[KubeletReading], Any] = lambda kubelet: None

    @property
    def control(self) -> str:
        return f"kubelet.{self.name}"

    @property
    def wanted_by(self) -> str:
        """The key of the policy."""
        return f"kubelet.{self.name.replace('-', '_')}"

    def row(self) -> Control:
        return Control(
            id=self.control,
            title=self.title,
            severity=self.severity,
            why=self.why,
            check=self.check,
            references=self.references,
            impact=Impact.RESTART,
            by_hand=self.by_hand or f"set {' and '.join(self.keys)} in the kubelet's configuration, and restart it",
            files=("/var/lib/kubelet/config.yaml",),
            packages=("kubelet",),
        )

    def value(self, kubelet: KubeletReading, setup: Setup) -> Any:
        if self.read:
            return self.read(kubelet, setup)
        found = setting(setup, self.keys[0])
        if found is not NONE:
            return found.value
        return self.legacy if self.legacy is not None and not setup.config else self.default

    def disk(self, kubelet: KubeletReading) -> Any:
        return self.value(kubelet, known(kubelet.disk))

    def live(self, kubelet: KubeletReading) -> Any:
        """Of the command line it is known what runs; of the files, where they are older than the process."""
        live = known(kubelet.live)
        assert live is not None
        if kubelet.stale and not any(key in live.flags for key in self.keys):
            return self.seen(kubelet) or NOT_IN_FORCE
        return self.value(kubelet, live)

    def check(self, survey: Survey, policy: Policy) -> Verdict:
        kubelet = survey[Kubelet]
        if not kubelet.present:
            return not_applicable("no kubelet is there")
        wanted = self.wanted(policy[KubeletRules])
        if wanted is None:
            return not_applicable(f"the policy does not declare {self.wanted_by}")
        if why := out_of_reach(kubelet):
            return not_applicable(why)
        disk = self.disk(kubelet)
        live = self.live(kubelet) if kubelet.running else None
        if self.holds(disk, wanted) and (wrong := self.beside(survey)):
            return failed(f"{wrong}; {self._wants(wanted)}", declared=wanted, disk=disk, live=live)
        return self._judge(kubelet, wanted, disk, live)

    def _judge(self, kubelet: KubeletReading, wanted: Any, disk: Any, live: Any) -> Verdict:
        on_disk = self.holds(disk, wanted)
        in_force = on_disk if not kubelet.running else live != NOT_IN_FORCE and self.holds(live, wanted)
        read = {"declared": wanted, "disk": disk, "live": live}
        is_ = self._is(disk, self._where(kubelet))
        if on_disk and in_force:
            runs = " and in the running kubelet" if kubelet.running else "; the kubelet does not run"
            return passed(f"{self._is(disk)}, on disk{runs}", **read)
        if on_disk:
            now = f"which is {live}" if live == NOT_IN_FORCE else f"but in the running kubelet {self._is(live)}"
            return Verdict(State.PENDING_RESTART, f"{is_}, {now}; a restart of the kubelet applies it", **read)
        if kubelet.running and in_force:
            is_ = f"{self._is(live)} now, but on disk {is_}, so a restart of the kubelet would lose it"
        return failed(f"{is_}; {self._wants(wanted)}", **read)

    def _is(self, value: Any, where: str = "") -> str:
        return self.unset if self.unset and not value else f"{self.keys[0]} is {say(value)}{where}"

    def _wants(self, wanted: Any) -> str:
        return f"the policy wants {say(wanted)} ({self.wanted_by})"

    def _where(self, kubelet: KubeletReading) -> str:
        found = next((each for key in self.keys if (each := setting(known(kubelet.disk), key)) is not NONE), NONE)
        if found is NONE:
            return ", as nothing sets it"
        return f" ({found.file or 'its command line'})"


def out_of_reach(kubelet: KubeletReading) -> str:
    """Why the settings of this kubelet are not judged; "" where they are."""
    if kubelet.inside and not kubelet.running:
        return f"the kubelet (pid {kubelet.inside[0]}) runs in a container"
    config = kubelet.disk.config if isinstance(kubelet.disk, Setup) else ""
    if config in kubelet.texts and kubelet.texts[config] is None and kubelet.credentials == ():
        return f"this node has not joined a cluster: {config} is not there"
    return ""
