"""The kubelet of a node that kubeadm made, to judge and to plan on: any part of its reading can be given otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from deploys.core.change import Change, Context, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.kubelet.controls import SUBJECT
from deploys.engines.kubelet.rules import KubeletRules
from facts.core import yaml_text
from facts.core.survey import Survey
from facts.engines.kubelet import Kubelet
from facts.engines.kubelet.kubelet import SYSCTLS, KubeletReading, Setting, Setup, flat
from facts.kernel.kernel import Kernel
from facts.kernel.sysctls import Setting as Stored

CONFIG, FOLDER, FLAGS = "/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet.conf.d", "/etc/default/kubelet"
HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
GOOD_SYSCTLS = {name: str(value) for name, value in SYSCTLS.items()}
STORED = {name: Stored(value, "/etc/sysctl.d/k.conf") for name, value in GOOD_SYSCTLS.items()}
ACCEPT = "kubelet-api kubelet-seccomp"
SUITE = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"


def setup(text: str = HEAD, flags: dict[str, Any] | None = None, folder: str = "", config: str = CONFIG) -> Setup:
    files = {key: Setting(value, CONFIG) for key, value in flat(yaml_text.load(text))}
    return Setup(config, folder, {key: Setting(value, FLAGS) for key, value in (flags or {}).items()}, files)


def kubelet(text: str = HEAD, flags: dict[str, Any] | None = None, **more: Any) -> KubeletReading:
    """One that kubeadm made, and that runs with its files."""
    made = setup(text, flags)
    values: dict[str, Any] = {
        "present": True, "manager": "kubeadm", "version": "1.34.2-1.1", "running": True, "inside": (), "disk": made,
        "live": made, "stale": (), "broken": (), "texts": {CONFIG: text}, "settings": (), "credentials": (),
        "authorities": (), "listening": (), "sysctls": GOOD_SYSCTLS, "overlays": (),
    }  # fmt: skip
    return KubeletReading(**(values | more))


def context(reading: KubeletReading, stored: Any = STORED, linux: str = "6.12.57", accept: str = ACCEPT,
            **rules: Any) -> Context:  # fmt: skip
    kernel: Any = SimpleNamespace(release=linux, sysctls=SimpleNamespace(stored=stored.get))
    host = Survey({Kubelet: reading, Kernel: kernel})
    policy = Policy("p", {KubeletRules: KubeletRules(**rules)}, accept=frozenset(accept.split()))
    return Context(host, policy, {f.control.id: f for f in judge(SUBJECT.controls, host, policy)})


def found(reading: KubeletReading, name: str, **more: Any) -> tuple[State, str]:
    finding = context(reading, **more).findings[f"kubelet.{name}"]
    return finding.state, finding.verdict.reason


def planned(reading: KubeletReading, **more: Any) -> list[Change]:
    return list(SUBJECT.plan(context(reading, **more)))


def after(reading: KubeletReading, changes: Iterable[Change]) -> KubeletReading:
    """The kubelet once it runs with what was written."""
    (text,) = (each.text for each in changes if isinstance(each, WriteFile) and each.path == CONFIG)
    made = dataclasses.replace(setup(text), flags=reading.disk.flags if isinstance(reading.disk, Setup) else {})
    return dataclasses.replace(reading, disk=made, live=made, stale=(), texts={CONFIG: text})
