"""The lab installs from where this machine's own apt does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.machine import image


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(image.MIRROR, raising=False)


def apt(monkeypatch: pytest.MonkeyPatch, **uris: str) -> None:
    """An apt with these sources, by label."""

    def run(argv: list[str], **_: object) -> str:
        label = argv[-1].removeprefix("Label: ").replace("-", "_")
        return f"{uris[label]}\n" if label in uris else ""

    monkeypatch.setattr(image, "run", run)


def test_each_suite_has_its_own_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    apt(monkeypatch, Debian="http://one.example/debian/", Debian_Security="http://two.example/security/")
    assert image.mirror() == "http://one.example/debian"
    assert image.security_mirror() == "http://two.example/security"


def test_a_list_of_mirrors_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "debian.list").write_text("# ours\nhttps://one.example/debian\tpriority:1\nhttp://two.example/debian\n")
    apt(monkeypatch, Debian=f"mirror+file:{tmp_path}/debian.list/")
    assert image.mirror() == "https://one.example/debian"


def test_a_mirror_that_was_named_is_taken_with_its_security_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    apt(monkeypatch, Debian="http://one.example/debian/", Debian_Security="http://one.example/debian-security/")
    monkeypatch.setenv(image.MIRROR, "http://mine.example/debian/")
    assert image.mirror() == "http://mine.example/debian"
    assert image.security_mirror() == "http://mine.example/debian-security"


@pytest.mark.parametrize("uri", ["", "file:/srv/debian", "cdrom:[Debian]", "mirror+file:/nowhere/debian.list"])
def test_without_one_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    apt(monkeypatch, Debian=uri)
    with pytest.raises(image.LabError, match=image.MIRROR):
        image.mirror()


def test_without_apt_it_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(image.LabError, match="apt-get update"):
        image.security_mirror()
