"""Passwords that stand in a file of the host, or in what a tool says: none is shown or kept."""

from __future__ import annotations

import dataclasses
import json

import pytest

from deploys.engine.arrange import Step, merged
from deploys.engine.change import Blocked, MergeJson
from deploys.engine.clean import HIDDEN, clean, clean_text
from deploys.engine.plan_view import PlanView
from deploys.engine.report import HostReport, build
from facts.docker import read_daemon_json
from tests.unit.test_docker import docker, findings
from tests.unit.test_report import a_run

SECRETS = ("hunter2", "s3cr3t", "dXNlcjpw", "t0k3n")
DAEMON_JSON = {
    "proxies": {"http-proxy": "http://bob:hunter2@proxy:3128", "no-proxy": "localhost"},
    "https-proxy": "http://bob:s3cr3t@proxy:3128",
    "log-opts": {"splunk-token": "t0k3n", "splunk-url": "https://bob:hunter2@splunk:8088", "env": "A,B"},
    "auths": {"registry": {"auth": "dXNlcjpw"}},
    "userland-proxy": False,
    "userland-proxy-path": "/usr/bin/docker-proxy",
    "authorization-plugins": ["authz"],
}


def test_no_secret_of_daemon_json_reaches_a_report() -> None:
    twice = json.dumps(DAEMON_JSON)[:-1] + ', "icc": true, "icc": false}'
    reading = dataclasses.replace(docker({}), daemon_json=read_daemon_json("/etc/docker/daemon.json", twice))
    context, _ = findings(reading, insecure_registries=[], log_opts={"json-file": {"max-file": "3"}})
    found = list(context.findings.values())
    assert any("icc more than once" in finding.verdict.reason for finding in found)
    changes = [{"subject": "x", "what": f"set {DAEMON_JSON!r}", "journal": json.dumps(DAEMON_JSON)}]
    text = json.dumps(
        build(a_run(), [HostReport("h", "error", f"cannot: {DAEMON_JSON}", findings=found, changes=changes)])
    )
    assert not [secret for secret in SECRETS if secret in text]
    for shown in ("docker-proxy", "authz", "splunk:8088"):
        assert shown in text


def test_no_secret_of_daemon_json_reaches_a_plan() -> None:
    before = json.dumps(DAEMON_JSON, indent=2)
    merge = MergeJson("docker", f"set {DAEMON_JSON}", path="/etc/docker/daemon.json", before=before, put={"icc": False},
                      drop=("https-proxy",), interrupts="http://bob:hunter2@h")  # fmt: skip
    steps, blocked = [Step("docker", (merged([merge]),))], [Blocked("docker", "x", why=f"{DAEMON_JSON}")]
    shown = PlanView(color=False, diff=True, width=200).render("h", steps, blocked, ())
    assert not [secret for secret in SECRETS if secret in shown]
    assert '+  "icc": false' in shown
    assert '-  "https-proxy": (not shown)' in shown


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://user:pa:ss@proxy:3128/x https://token@h ssh://h/x@y", "http://(not shown)@proxy:3128/x "
                                                                      "https://(not shown)@h ssh://h/x@y"),
        ("HTTP_PROXY=http://h:1 MYSQL_PASSWORD='a b' --log-opt splunk-token=t0k3n --debug",
         "HTTP_PROXY=(not shown) MYSQL_PASSWORD=(not shown) --log-opt splunk-token=(not shown) --debug"),
        ('"auths": {"r": {"auth": "dXNlcjpw"}}, "x": 1', '"auths": (not shown), "x": 1'),
        ("{'password': 'p', 'user': 'u'}", "{'password': (not shown), 'user': 'u'}"),
        ('"secret": {"never": "ended', '"secret": (not shown)'),
        ('"password": null, "token": true, "secret": ""', '"password": null, "token": true, "secret": ""'),
        # nothing to hide
        ("grep: /etc/passwd: Permission denied", "grep: /etc/passwd: Permission denied"),
        ("net.ipv4.conf.all.proxy_arp=1", "net.ipv4.conf.all.proxy_arp=1"),
        ('"userland-proxy-path": "/usr/bin/docker-proxy"', '"userland-proxy-path": "/usr/bin/docker-proxy"'),
        ('"authorization-plugins": ["x"], "no-proxy": "y"', '"authorization-plugins": ["x"], "no-proxy": "y"'),
        ("audit.key=passwd", "audit.key=passwd"),
    ],
)  # fmt: skip
def test_secrets_by_what_they_are(text: str, wanted: str) -> None:
    assert clean_text(text) == wanted
    assert clean_text(f"{text} {'x' * 300}").startswith(wanted)  # as one that is not kept


def test_secrets_by_their_keys() -> None:
    shown = {"no-proxy": "x", "password": None, "token": "", "secret": True}
    assert clean({**shown, "proxies": {"a": 1}, "auth": [1]}) == {**shown, "proxies": HIDDEN, "auth": HIDDEN}
