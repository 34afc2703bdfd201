"""What others cost to look at this machine, beside a drift of it: CPU time of the controller and the host at once.

They do not ask the same, so that the ratios say what a look costs with each, and not which is the better program. Of
one that cannot be had here, the line says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.cost import ROOT, least
from tests.bench.fleet import PYINFRA

REPEAT = 2
FACTS = 40  # of pyinfra's own, those that want no argument
ANSIBLE = ROOT / "build" / "ansible"
ANY_END = range(256)
DEPLOY = f"""
import importlib, inspect
from pyinfra import host
left = {FACTS}
for name in ("server", "apt", "deb", "hardware", "systemd", "iptables"):
    module = importlib.import_module(f"pyinfra.facts.{{name}}")
    for fact in vars(module).values():
        own = inspect.isclass(fact) and fact.__module__ == module.__name__ and "command" in vars(fact)
        if own and left and list(inspect.signature(fact.command).parameters) == ["self"]:
            host.get_fact(fact)
            left -= 1
assert not left, left
"""


def rows() -> Iterator[str]:
    """A line for each."""
    with tempfile.TemporaryDirectory() as folder:
        deploy = Path(folder) / "facts.py"
        deploy.write_text(DEPLOY)
        drift = [PYINFRA, "-y", "@local", str(ROOT / "deploys" / "drift.py"), "--data", f"report={folder}"]
        ours = least(drift, REPEAT, ends=ANY_END).cpu
        yield f"this machine itself, drift: {ours:.2f} s of CPU, controller and host"
        others = {
            f"pyinfra, {FACTS} of its own facts": [PYINFRA, "-y", "@local", str(deploy)],
            "ansible, setup": _ansible("-m", "setup"),
            "lynis audit system": _installed("lynis", "audit", "system", "--quick", "--no-colors"),
            "goss validate": _installed("goss", "--gossfile", "/etc/goss.yaml", "validate"),
        }
        for name, command in others.items():
            if isinstance(command, str):
                yield f"{name}: {command}"
            else:
                yield f"{name}: {least(command, REPEAT, ends=ANY_END).cpu / ours:.1f} times that"
        yield "dev-sec's role: not run, since it would have to be downloaded"


def _installed(program: str, *arguments: str) -> list[str] | str:
    path = shutil.which(program)
    return [path, *arguments] if path else f"{program} is not installed here"


def _ansible(*arguments: str) -> list[str] | str:
    """ansible-core in an environment of its own below build/; why it could not be had."""
    program = ANSIBLE / "bin" / "ansible"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ANSIBLE)], check=True)
        pip = [str(ANSIBLE / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", "ansible-core"]
        if subprocess.run(pip, capture_output=True).returncode:
            shutil.rmtree(ANSIBLE)
            return "ansible-core could not be installed"
    return [str(program), "localhost", "-c", "local", *arguments]
