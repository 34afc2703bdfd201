"""Networks of Podman's that keep apart from each other: their option `isolate` (podman-network-create(1)), which counts
once a container on them starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploys.core.change import Change, Context, WriteFile, by_hand, mending
from deploys.core.control import Verdict, failed, not_applicable, passed, some
from deploys.core.json_merge import merge_text
from deploys.core.policy import Policy
from deploys.engines.podman.rules import PodmanRules
from deploys.engines.podman.settings import setting
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines.podman.podman import Network, Podman, PodmanReading

ID = "podman.networks"
ALL = "all"
ISOLATED = ("true", "strict")  # netavark takes any other word for false
# Podman reads a folder of networks, and passes over the files that make no sense.
VALIDATE = """\
d=$(mktemp -d) && cp -- {{}} "$d/{name}.json" &&
  timeout 60 podman --network-config-dir "$d" network inspect {name} >/dev/null
s=$?; rm -rf -- "$d"; [ "$s" = 0 ]"""


def check(survey: Survey, policy: Policy) -> Verdict:
    podman, wanted = survey[Podman], policy[PodmanRules].isolate
    asked = _asked(podman, wanted)
    if not asked:
        return not_applicable("Podman has no networks here that the policy wants to keep apart")
    if together := _together(podman, asked):
        said = some(f"{name} ({why})" for name, why in together.items())
        reason = f"networks of Podman's do not keep apart: {said}; the policy wants them to (podman.isolate)"
        return failed(reason, declared=wanted, disk=list(together), live=list(together))
    for name in asked:
        known(known(podman.networks)[name])
    return passed("these networks keep apart once containers on them start", declared=wanted, disk=[], live=[])


def _asked(podman: PodmanReading, wanted: str | list[str] | None) -> list[str]:
    """The networks of which it is asked. What has no other network beside it keeps apart by itself."""
    default = setting(podman, "network.default_network", "podman")
    there = sorted({*known(podman.networks), str(default)})
    if wanted != ALL:
        return [name for name in there if name in (wanted or ())]
    return there if len(there) > 1 else []


def _together(podman: PodmanReading, names: Iterable[str]) -> dict[str, str]:
    """By name, why a network does not keep apart; nothing of what cannot be read."""
    networks = known(podman.networks)
    found = {name: _why(networks.get(name)) for name in names}
    return {name: why for name, why in found.items() if why}


def _why(network: Network | Unknown | None) -> str:
    if network is None:
        return "Podman's own, which has no file"
    if isinstance(network, Unknown) or network.options.get("isolate") in ISOLATED:
        return ""
    return "isolate is not set" if network.driver == "bridge" else f"{network.driver} has no isolate"


def plan(context: Context) -> Iterator[Change]:
    if not context.failing(ID):
        return
    podman, wanted = context.survey[Podman], context.policy[PodmanRules].isolate
    networks, together = known(podman.networks), _together(podman, _asked(podman, wanted))
    changes = [_isolate(name, networks.get(name)) for name in together if wanted != ALL]
    yield from mending([ID], filter(None, changes))
    if len(list(filter(None, changes))) < len(together):
        yield by_hand(context.findings[ID])


def _isolate(name: str, network: Network | Unknown | None) -> Change | None:
    if not isinstance(network, Network) or network.driver != "bridge":
        return None
    what = f"keep Podman's network {name} apart from others that are isolated, once a container on it starts"
    text = merge_text(network.text, {"options": {**network.options, "isolate": "true"}})
    return WriteFile(
        "podman", what, path=network.path, text=text, before=network.text, mode="", owner="", shared="json",
        validate=VALIDATE.format(name=name),
    )  # fmt: skip
