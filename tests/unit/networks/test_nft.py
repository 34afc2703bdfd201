"""Rules that this kernel, or this nft, does not know: told when it is planned, not when it is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.bridges.plan import plan as plan_bridges
from deploys.core.change import Blocked, Context, WriteFile
from deploys.networks import nft, tables
from deploys.networks.isolation import NetworksRules
from facts.core.reading import Block, Section, Unknown
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.kernel.kernel import Kernel, KernelReading
from facts.networks import nftables
from facts.networks.networks import RULES_FILE, Networks
from facts.networks.nftables import Nftables
from tests.support.bridges import context as bridges_context
from tests.support.hosts import judged
from tests.support.kernel_host import KERNEL
from tests.support.networks import SUBJECT as NETWORKS
from tests.support.networks import docker, reading

EVERY = ("nf_tables", "nft_ct", "nft_fib_inet", "nft_masq", "nft_meta_bridge")
RULES = NetworksRules(icc=False, cover="all", host_services=[], antispoof=True)
TEXT = tables.rules_text(RULES, {"docker0": True}, {"docker0": True})


def kernel(modules: Any = EVERY, version: tuple[int, ...] | None = (1, 1, 3), **more: Any) -> KernelReading:
    return replace(KERNEL, nft=Nftables(modules, version), **more)


def without(name: str) -> tuple[str, ...]:
    return tuple(module for module in EVERY if module != name)


def lacking(host: KernelReading | Unknown, text: str = TEXT) -> str:
    return nft.lacking(text, Survey({Kernel: host}))


@pytest.mark.parametrize(("name", "option"), [("nf_tables", "NF_TABLES"), ("nft_meta_bridge", "NFT_BRIDGE_META"),
                                              ("nft_ct", "NFT_CT"), ("nft_fib_inet", "NFT_FIB_INET")])  # fmt: skip
def test_what_the_kernel_lacks(name: str, option: str) -> None:
    assert lacking(kernel()) == ""
    assert f"no module {name} (CONFIG_{option})" in lacking(kernel(without(name)))
    assert lacking(replace(kernel(without(name)), modules=("overlay", name))) == "", "loaded, whatever is on disk"
    assert lacking(replace(kernel(without(name)), builtin=(name,))) == ""


def test_only_what_the_rules_say_is_needed() -> None:
    assert lacking(kernel(without("nft_masq"))) == ""
    plain = "table inet x {\n\tchain c { iifname a drop }\n}\n"
    assert lacking(kernel(("nf_tables",)), plain) == ""
    assert lacking(kernel(()), plain) != ""


def test_what_is_not_known_stands_in_nobodys_way() -> None:
    for host in (kernel(Unknown("no answer")), replace(kernel(()), modules=Unknown("no answer")),
                 replace(kernel(()), builtin=Unknown("no answer")), Unknown("no answer")):  # fmt: skip
        assert lacking(host) == ""
    assert lacking(kernel(version=None)) == ""


def test_an_nft_that_is_too_old() -> None:
    assert "nft 1.0.2 does not support" in lacking(kernel(version=(1, 0, 2)))
    assert lacking(kernel(version=(1, 0, 6))) == ""
    loose = tables.rules_text(NetworksRules(icc=False), {"docker0": True}, {"docker0": True})
    assert lacking(kernel(version=(0, 9, 8)), loose) == "", "only what needs it"


def plan(host: KernelReading) -> list[Any]:
    context: Context = judged(NETWORKS, RULES, {Networks: reading(), Docker: docker(), Kernel: host},
                              "network-isolation host-services")  # fmt: skip
    return list(NETWORKS.plan(context))


def test_docker_networks_are_blocked_with_the_reason() -> None:
    blocked = [change for change in plan(kernel(without("nft_meta_bridge"))) if isinstance(change, Blocked)]
    assert ["NFT_BRIDGE_META" in change.why for change in blocked] == [True]
    assert "keep containers apart" in blocked[0].what
    paths = [change.path for change in plan(kernel(without("nft_meta_bridge"))) if isinstance(change, WriteFile)]
    assert not [path for path in paths if path.startswith("/etc/hullproof") or "hullproof-port" in path]
    assert RULES_FILE in [change.path for change in plan(kernel()) if isinstance(change, WriteFile)]


def test_declared_networks_are_blocked_with_the_reason() -> None:
    where = bridges_context()
    where.survey.readings[Kernel] = kernel(without("nf_tables"))
    (blocked,) = plan_bridges(where)
    assert isinstance(blocked, Blocked)
    assert "CONFIG_NF_TABLES" in blocked.why
    where.survey.readings[Kernel] = kernel()
    assert not any(isinstance(change, Blocked) for change in plan_bridges(where))


def test_reading() -> None:
    def parsed(modules: str, version: str) -> Nftables:
        return nftables.parse(Section({"nft-modules": Block(0, modules), "nft": Block(0, version)}))

    assert parsed("nft_ct\nnf_tables\n", "nftables v1.0.6 (Lester Gooch #5)\n") == Nftables(
        ("nf_tables", "nft_ct"), (1, 0, 6)
    )
    assert parsed("", "what?") == Nftables((), None)
    absent = nftables.parse(Section({"nft-modules": Block(2, "cd: can't cd to /lib/modules/x")}))
    assert isinstance(absent.modules, Unknown)
