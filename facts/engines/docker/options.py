"""dockerd's options: on its command line, in daemon.json, and since which release."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from facts.core.reading import Unknown

Release = tuple[int, int]

# Options whose name in daemon.json is not their name on the command line: the lists stand in the plural there.
_PLURAL = {
    "add-runtime": "runtimes",
    "authorization-plugin": "authorization-plugins",
    "cdi-spec-dir": "cdi-spec-dirs",
    "default-address-pool": "default-address-pools",
    "default-network-opt": "default-network-opts",
    "default-ulimit": "default-ulimits",
    "dns-opt": "dns-opts",
    "exec-opt": "exec-opts",
    "feature": "features",
    "host": "hosts",
    "insecure-registry": "insecure-registries",
    "label": "labels",
    "log-opt": "log-opts",
    "node-generic-resource": "node-generic-resources",
    "registry-mirror": "registry-mirrors",
    "storage-opt": "storage-opts",
}


def config_key(option: str) -> str:
    """The key of daemon.json for a long option of dockerd (moby: daemon/config, the named list options)."""
    return _PLURAL.get(option, option)


# `dockerd --help` of 20.10, and the two keys that are no options. To ask each host's binary would cost more than the
# rest of the reading.
_SINCE_20_10 = """
    add-runtime allow-nondistributable-artifacts api-cors-header authorization-plugin bip bridge cgroup-parent
    containerd containerd-namespace containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd
    data-root debug default-address-pool default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode
    default-runtime default-shm-size default-ulimit dns dns-opt dns-search exec-opt exec-root experimental
    fixed-cidr fixed-cidr-v6 group host host-gateway-ip icc init init-path insecure-registry ip ip-forward ip-masq
    ip6tables iptables ipv6 label live-restore log-driver log-level log-opt max-concurrent-downloads
    max-concurrent-uploads max-download-attempts metrics-addr mtu network-control-plane-mtu no-new-privileges
    node-generic-resource oom-score-adjust pidfile raw-logs registry-mirror rootless seccomp-profile selinux-enabled
    shutdown-timeout storage-driver storage-opt swarm-default-advertise-addr tls tlscacert tlscert tlskey tlsverify
    userland-proxy userland-proxy-path userns-remap builder features
"""
_SINCE: dict[Release, str] = {
    (23, 0): "http-proxy https-proxy no-proxy proxies validate",
    (24, 0): "default-network-opt",
    (25, 0): "cdi-spec-dir log-format",
    (28, 0): "allow-direct-routing bridge-accept-fwmark bip6 feature ip-forward-no-drop",
    (29, 0): "firewall-backend",
}


# What a value in daemon.json has to be, or dockerd does not start (tried with `dockerd --validate` of 26.1; null is as
# good as nothing).
_TEXT = """
    api-cors-header bip bip6 bridge bridge-accept-fwmark cgroup-parent containerd containerd-namespace
    containerd-plugins-namespace data-root default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode
    default-runtime default-shm-size exec-root firewall-backend fixed-cidr fixed-cidr-v6 group host-gateway-ip
    http-proxy https-proxy init-path ip log-driver log-format log-level metrics-addr no-proxy pidfile seccomp-profile
    storage-driver swarm-default-advertise-addr tlscacert tlscert tlskey userland-proxy-path userns-remap
"""
_SWITCH = """
    allow-direct-routing debug experimental icc init ip-forward ip-forward-no-drop ip-masq ip6tables iptables ipv6
    live-restore no-new-privileges raw-logs selinux-enabled tls tlsverify userland-proxy
"""
_LIST = """
    allow-nondistributable-artifacts authorization-plugins cdi-spec-dirs dns dns-opts dns-search exec-opts hosts
    insecure-registries labels node-generic-resources registry-mirrors storage-opts
"""
_NUMBER = """
    cpu-rt-period cpu-rt-runtime max-concurrent-downloads max-concurrent-uploads max-download-attempts mtu
    network-control-plane-mtu shutdown-timeout
"""


def _is(kind: type[Any]) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


def _holds(kind: type[Any], of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A list or an object of such values."""
    return lambda value: type(value) is kind and all(map(of, value.values() if kind is dict else value))


_TEXTS = _holds(dict, _is(str))
_WANTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(_TEXT.split(), ("a text", _is(str))),
    **dict.fromkeys(_SWITCH.split(), ("true or false", _is(bool))),
    **dict.fromkeys(_LIST.split(), ("a list of texts", _holds(list, _is(str)))),
    **dict.fromkeys(_NUMBER.split(), ("a whole number", _is(int))),
    "builder": ("an object", _is(dict)),
    "default-address-pools": ("a list of objects", _holds(list, _is(dict))),
    "default-network-opts": ("an object of objects of texts", _holds(dict, _TEXTS)),
    "default-ulimits": ("an object of objects", _holds(dict, _is(dict))),
    "features": ("an object of switches, true or false", _holds(dict, _is(bool))),
    "log-opts": ("an object of texts", _TEXTS),
    "proxies": ("an object", _is(dict)),
    "runtimes": ("an object of objects", _holds(dict, _is(dict))),
}


def misfit(key: str, value: Any) -> str:
    """What is wrong with a value of daemon.json; "" for nothing that is known here."""
    what, fits = _WANTED.get(key, ("", lambda _: True))
    return "" if value is None or fits(value) else f"{key} is not {what}"


def read_release(version: str | None) -> Release | None:
    """(20, 10) of `20.10.24+dfsg1`; a package's epoch, as in `5:27.3.1-1~ubuntu`, does not count."""
    match = re.match(r"(?:\d+:)?(\d+)\.(\d+)", version or "")
    return (int(match[1]), int(match[2])) if match else None


def known_keys(release: Release | None) -> tuple[str, ...] | Unknown:
    """The keys of daemon.json that a release of dockerd knows."""
    if release is None or release < (20, 10):
        return Unknown("which settings this dockerd knows is only told for version 20.10 and later")
    options = _SINCE_20_10.split()
    for since, names in _SINCE.items():
        options += names.split() if release >= since else []
    return tuple(sorted(config_key(option) for option in options))


_SHORT = {"b": "bridge", "D": "debug", "G": "group", "H": "host", "l": "log-level", "p": "pidfile"}
_SHORT["s"] = "storage-driver"


def read_flags(words: list[str]) -> dict[str, str]:
    """Long options with their values; `true` for a bare switch; several values of one option with spaces between."""
    flags: dict[str, list[str]] = {}
    name = ""
    for word in words:
        option, equals, value = word.partition("=")
        if option.startswith("--"):
            name = option[2:]
        elif len(option) > 1 and option[0] == "-" and option[1] in _SHORT:
            name, value = _SHORT[option[1]], word[2:].removeprefix("=")
            equals = value
        elif name and not word.startswith("$"):
            flags[name].append(word)  # dockerd takes no arguments, so this is the value of the option before
            continue
        else:
            continue
        flags.setdefault(name, [])
        if equals:
            flags[name].append(value)
            name = ""
    return {option: " ".join(values) or "true" for option, values in flags.items()}
