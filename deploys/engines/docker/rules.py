"""The policy's `docker` section."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from deploys.core.policy import Rules


def _network(text: str) -> str:
    return str(ip_network(text))


class Ulimit(Rules):
    """A resource limit that containers start with, as setrlimit(2) takes it."""

    soft: int = Field(ge=-1, description="What a process starts with; -1 is no limit.")
    hard: int = Field(ge=-1, description="How far it may raise it; -1 is no limit.")

    @model_validator(mode="after")
    def _ordered(self) -> Ulimit:
        if self.hard != -1 and (self.soft == -1 or self.soft > self.hard):
            raise ValueError(f"soft {self.soft} is above hard {self.hard}")
        return self


class Pool(Rules):
    """A range that Docker takes networks from."""

    base: Annotated[str, AfterValidator(_network)] = Field(description="The range, such as 10.200.0.0/16.")
    size: int = Field(ge=8, le=126, description="The prefix length of each network in it.")


class DockerRules(Rules):
    """What must hold for the Docker daemon and its containers."""

    required: bool | None = Field(None, description="Whether the host must have Docker, running.")
    live_restore: bool | None = Field(None, description="Containers keep running while the daemon is down.")
    no_new_privileges: bool | None = Field(None, description="Processes in new containers gain nothing by setuid.")
    userland_proxy: bool | None = Field(None, description="Published ports go through docker-proxy processes.")
    log_driver: str | None = Field(None, description="Where new containers' output goes (docker info: LoggingDriver).")
    log_opts: dict[str, dict[str, str]] | None = Field(
        None, description="Per log driver, the options it must have; those of the driver in use are demanded."
    )
    log_level: Literal["debug", "info", "warn", "error", "fatal"] | None = Field(
        None, description="How much the daemon itself logs."
    )
    default_ulimits: dict[str, Ulimit] | None = Field(None, description="Resource limits of new containers, by name.")
    default_address_pools: list[Pool] | None = Field(None, description="Where new networks' subnets come from.")
    iptables: bool | None = Field(None, description="Docker keeps its packet filter rules itself.")
    tcp: Literal["none", "tls"] | None = Field(
        None, description="Whether the API may listen on TCP: not at all, or only where clients show a certificate."
    )
    insecure_registries: list[str] | None = Field(None, description="The only registries allowed without TLS.")
    experimental: bool | None = Field(None, description="Experimental features of the daemon.")
    refused_storage_drivers: list[str] | None = Field(None, description="Storage drivers that must not be in use.")
    file_modes: bool | None = Field(None, description="Docker's files and sockets belong to root and are not too open.")
    trusted_users: list[str] | None = Field(
        None, description="The only members of group docker, who can become root through it; [] is nobody."
    )
