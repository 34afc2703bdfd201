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

    soft: int = Field(ge=-1, description="The soft limit; -1 is unlimited.")
    hard: int = Field(ge=-1, description="The hard limit; -1 is unlimited.")

    @model_validator(mode="after")
    def _ordered(self) -> Ulimit:
        if self.hard != -1 and (self.soft == -1 or self.soft > self.hard):
            raise ValueError(f"soft {self.soft} is above hard {self.hard}")
        return self


class Pool(Rules):
    """A range of addresses from which Docker takes the subnets of new networks."""

    base: Annotated[str, AfterValidator(_network)] = Field(description="The range, such as 10.200.0.0/16.")
    size: int = Field(ge=8, le=126, description="The prefix length of each network in it.")


class DockerRules(Rules):
    """The Docker daemon and its containers."""

    required: bool | None = Field(None, description="true: Docker must be installed and running.")
    live_restore: bool | None = Field(None, description="Containers keep running while the daemon is down.")
    no_new_privileges: bool | None = Field(
        None, description="Processes in new containers gain no privileges from setuid programs."
    )
    userland_proxy: bool | None = Field(None, description="Published ports are forwarded by docker-proxy processes.")
    log_driver: str | None = Field(
        None, description="The logging driver of new containers (docker info: LoggingDriver)."
    )
    log_opts: dict[str, dict[str, str]] | None = Field(
        None,
        description="By logging driver, the options that it must have; only those of the driver in use are required.",
    )
    log_level: Literal["debug", "info", "warn", "error", "fatal"] | None = Field(
        None, description="The level of the daemon's own log."
    )
    default_ulimits: dict[str, Ulimit] | None = Field(None, description="Resource limits of new containers, by name.")
    default_address_pools: list[Pool] | None = Field(
        None, description="The ranges from which new networks get their subnets."
    )
    iptables: bool | None = Field(None, description="Docker manages its own packet filter rules.")
    ip6tables: Literal[True] | None = Field(None, description="Docker manages its own packet filter rules for IPv6.")
    tcp: Literal["none", "tls"] | None = Field(
        None, description="none: the API does not listen on TCP; tls: it may, where clients need a certificate."
    )
    insecure_registries: list[str] | None = Field(None, description="The only registries that may be used without TLS.")
    experimental: bool | None = Field(None, description="Whether the daemon's experimental features are on.")
    refused_storage_drivers: list[str] | None = Field(None, description="Storage drivers that must not be in use.")
    file_modes: bool | None = Field(
        None,
        description="true: Docker's files and sockets belong to root, with modes no wider than CIS Docker section 3.",
    )
    trusted_users: list[str] | None = Field(
        None,
        description="The only users who may speak to Docker's API by a group or through sudo, each of whom can become "
        "root; [] is none.",
    )
    relays: list[str] | None = Field(
        None,
        description="The only programs and units, by name, that may pass connections on to Docker's socket; [] is "
        "none.",
    )
