"""What is installed: the wheel has what the repository has, and works without it, from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploys.report.report import version
from tests.support.entry_points import ROOT, report

INSTALLED = ("config.py", "deploys", "facts", "inventories", "templates", "tests/__init__.py", "tests/verify")
QUIET = {"PYINFRA_PROGRESS": "off", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def call(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(words, cwd=cwd, env=env | QUIET, text=True, capture_output=True, stdin=subprocess.DEVNULL)


def tracked(*under: str) -> set[str]:
    return set(subprocess.check_output(["git", "ls-files", *under], cwd=ROOT, text=True).split("\n")) - {""}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a wheel, and a source distribution that it was built from."""
    folder = tmp_path_factory.mktemp("dist")
    clone = tmp_path_factory.mktemp("clone")
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    subprocess.run([sys.executable, "-m", "venv", folder / "tools"], check=True)
    python = folder / "tools" / "bin" / "python"
    for tool in (["pip", "install", "-q", "build"], ["build", "-o", str(folder), str(clone)]):
        done = call(python, "-m", *tool, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def site(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    (wheel,) = dist.glob("*.whl")
    done = call(folder / "bin" / "pip", "install", "-q", "-c", ROOT / "requirements.lock", wheel, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_has_what_the_repository_has(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {f"hullproof/{name}" for name in tracked(*INSTALLED)} | tracked("hullproof")


def test_the_source_distribution_has_what_the_wheel_is_built_from(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames() if not name.endswith(".egg-info")}
    assert tracked(*INSTALLED, "hullproof", "pyproject.toml", "setup.py", "LICENSE", "requirements.txt") <= names


def test_it_says_its_version_and_its_commands(site: Path, tmp_path: Path) -> None:
    hullproof = site / "bin" / "hullproof"
    assert call(hullproof, "--version", cwd=tmp_path).stdout == f"hullproof, version {version()}\n"
    for words in (["--help"], ["drift", "--help"], ["verify", "--help"]):
        done = call(hullproof, *words, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), words


def test_it_looks_at_this_host_by_the_command_and_by_pyinfra(site: Path, tmp_path: Path) -> None:
    command = call(site / "bin" / "hullproof", "drift", "@local", "--policy", "strict", cwd=tmp_path)
    first = report(tmp_path / "reports")
    assert command.returncode == first["exit_code"] != 1, command.stderr
    assert first["run"]["policy"] == "strict"
    (drift,) = site.glob("lib/python*/site-packages/hullproof/deploys/drift.py")
    plain = call(site / "bin" / "pyinfra", "@local", drift, "-y", "--data", "policy=strict", cwd=tmp_path)
    second = report(tmp_path / "reports")
    assert plain.returncode == second["exit_code"] == first["exit_code"], plain.stderr
    (one,), (two,) = first["hosts"].values(), second["hosts"].values()
    assert [row["control"] for row in one["findings"]] == [row["control"] for row in two["findings"]]


def test_the_proofs_are_there(site: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").write_text("raise ImportError('the wrong package')\n")
    (verify,) = site.glob("lib/python*/site-packages/hullproof/tests/verify")
    done = call(site / "bin" / "pytest", verify, "--inventory=@local", "--collect-only", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::test_" in done.stdout
    assert not list(verify.rglob(".pytest_cache"))
