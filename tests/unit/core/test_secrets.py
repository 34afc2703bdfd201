"""Passwords that stand in a file of the host, or in what a tool says: none is shown or kept."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest

from deploys.core.change import Blocked, MergeJson
from deploys.core.json_merge import merged
from deploys.core.text import HIDDEN, clean, clean_text, without_secrets
from deploys.report.report import HostReport, build
from deploys.run.plan_view import PlanView
from deploys.run.steps import Step
from facts.engines.docker.docker import read_daemon_json
from tests.support.docker import docker, findings
from tests.support.report import a_run

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
    shown = PlanView(color=False, diff=True, width=200).render("h", steps=steps, blocked=blocked, unknown=())
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
        # cut off, so without a closing quote
        ('"password": "hunt er2', '"password": (not shown)'),
        ("PASSWORD='hunt er2", "PASSWORD=(not shown)"),
        ('"x": {"token": "t0k3n\\', '"x": {"token": (not shown)'),
        # blanks around the sign
        ('password = hunter2 vnc_password = "X Y" user = bob',
         "password = (not shown) vnc_password = (not shown) user = bob"),
        ("db_pass=hunter2 MYSQL_PASS=hunter2 user=u pass=hunter2 bypass=1",
         "db_pass=(not shown) MYSQL_PASS=(not shown) user=u pass=(not shown) bypass=1"),
        ('"Authorization": "Bearer abc", "x": 1', '"Authorization": (not shown), "x": 1'),
        ("curl -H 'Authorization: Bearer abc' h", "curl -H 'Authorization: (not shown)' h"),
        ("authorization=Basic abc -v", "authorization=(not shown) -v"),
        ('{\\"password\\": \\"hunter2\\", \\"a\\": 1}', '{\\"password\\": (not shown), \\"a\\": 1}'),
        ("http://user:pa/ss@proxy:80 http://user:p@ss/w@proxy:80/x",
         "http://(not shown)@proxy:80 http://(not shown)@proxy:80/x"),
        ("a=http://u:p@h,b=http://v:q@i/x", "a=http://(not shown)@h,b=http://(not shown)@i/x"),
        ("https_proxy=http://u:p@h rest", "https_proxy=(not shown) rest"),
        # no tail of it
        ("password=p{x}y z", "password=(not shown) z"),
        ("password=a;b z", "password=(not shown) z"),
        ("password={a}b z, token=[x", "password=(not shown) z, token=(not shown)"),
        ("user=u,password=x,uid=1", "user=u,password=(not shown),uid=1"),
        ("['PASSWORD=x', 'B=y']", "['PASSWORD=(not shown)', 'B=y']"),
        # names
        ('"token-service": {"image": "x", "token": "t0k3n"}', '"token-service": {"image": "x", "token": (not shown)}'),
        # nothing to hide
        ("pass: 3, 'pass': 3", "pass: 3, 'pass': 3"),
        ("authorization: denied", "authorization: denied"),
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
    assert clean_text(clean_text(text)) == wanted


def test_secrets_by_their_keys() -> None:
    shown = {"no-proxy": "x", "password": None, "token": "", "secret": True}
    assert clean({**shown, "proxies": {"a": 1}, "auth": [1]}) == {**shown, "proxies": HIDDEN, "auth": HIDDEN}


def test_names_are_no_keys() -> None:
    """A mapping by the names of containers or networks; what is in it is judged by its own keys."""
    shown = {"token-service": {"image": "x", "networks": ["prod-env"]}, "prod-env": ["web", {"port": 1}]}
    assert clean(shown) == shown
    assert clean({"token-service": {"token": "t0k3n"}, "prod-env": "x"}) == {
        "token-service": {"token": HIDDEN}, "prod-env": HIDDEN,
    }  # fmt: skip
    assert clean({"env": {"A": "x"}, "secrets": ["x"], "pass": 3, "Authorization": "Bearer x"}) == {
        "env": HIDDEN, "secrets": HIDDEN, "pass": 3, "Authorization": HIDDEN,
    }  # fmt: skip


@pytest.mark.parametrize(
    "piece", ["a://", "a://b:", "a://b:c@", "password=", "password = ", '"token": {', '"token": "', "token='", "pass",
              '\\"', "secret={", "secret=[}", "env = [", "authorization: ", "authorization: basic ", "= "]
)  # fmt: skip
def test_it_takes_no_longer_for_what_is_made_for_it(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.perf_counter()
        without_secrets(text)
        return time.perf_counter() - began

    assert min(seconds(200_000) for _ in range(3)) < 2
