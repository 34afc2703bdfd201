"""dockerd's options: on its command line, in daemon.json, and since which release."""

from __future__ import annotations

import re

from facts.reading import Unknown

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
    containerd containerd-namespace containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd data-
    root debug default-address-pool default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode
    default-runtime default-shm-size default-ulimit dns dns-opt dns-search exec-opt exec-root experimental fixed-
    cidr fixed-cidr-v6 group host host-gateway-ip icc init init-path insecure-registry ip ip-forward ip-masq
    ip6tables iptables ipv6 label live-restore log-driver log-level log-opt max-concurrent-downloads max-
    concurrent-uploads max-download-attempts metrics-addr mtu network-control-plane-mtu no-new-privileges node-
    generic-resource oom-score-adjust pidfile raw-logs registry-mirror rootless seccomp-profile selinux-enabled
    shutdown-timeout storage-driver storage-opt swarm-default-advertise-addr tls tlscacert tlscert tlskey
    tlsverify tlsverify userland-proxy userland-proxy-path userns-remap builder features
"""
_SINCE: dict[Release, str] = {
    (23, 0): "http-proxy https-proxy no-proxy proxies validate",
    (24, 0): "default-network-opt",
    (25, 0): "cdi-spec-dir log-format",
    (28, 0): "allow-direct-routing bridge-accept-fwmark bip6 feature ip-forward-no-drop",
    (29, 0): "firewall-backend",
}


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
