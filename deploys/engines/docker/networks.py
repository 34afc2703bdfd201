"""Docker's networks, for the subjects that change those of every engine."""

from __future__ import annotations

from typing import Any

from deploys.core.change import Activate, Change, Context
from deploys.engines.docker import daemon
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.engines.docker.neutral import ENABLE_ICC, neutral
from facts.engines.docker.settings import configured
from facts.engines.shapes import EngineReading


class DockerNetworks:
    """A NetworkEngine."""

    def reading(self, survey: Survey) -> EngineReading:
        return neutral(survey[Docker])

    def keep_default_apart(self, context: Context, subject: str) -> Change:
        what = "stop containers on the default bridge from reaching each other (icc: false)"
        return daemon.daemon_json(context, subject, what, put={"icc": False})

    def keep_later_apart(self, context: Context, subject: str) -> Change:
        options = configured(context.survey[Docker], "default-network-opts")
        merged: dict[str, Any] = dict(options) if isinstance(options, dict) else {}
        merged["bridge"] = {**merged.get("bridge", {}), ENABLE_ICC: "false"}
        what = f"keep containers apart on new networks, unless created with {ENABLE_ICC}=true"
        return daemon.daemon_json(context, subject, what, put={"default-network-opts": merged})

    def write_rules_again(self, context: Context, subject: str) -> Change:
        what = "make Docker write its firewall rules again"
        if obstacle := daemon.restart_obstacle(context, {}):
            return obstacle.block(subject, what)
        service = daemon.docker_service(context)
        return Activate(subject, what, interrupts=service.interrupts, service=service)

    def why_called(self, context: Context) -> str:
        return daemon.why_called(context)
