from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tests.contracts import download
from tests.contracts.download import Contract, Unavailable


def tarball(folder: Path, content: bytes) -> Path:
    path = folder / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("package/file.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def pinned(path: Path, packed: Path, version: str = "1.0.0") -> Contract:
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    return Contract("some-package", version, digest, "package/file.json", path)


def test_what_is_missing_is_fetched_once(tmp_path: Path) -> None:
    packed = tarball(tmp_path, b"{}")
    contract = pinned(tmp_path / "cache" / "file.json", packed)
    asked: list[str] = []

    def fetch(wanted: Contract, folder: Path) -> Path:
        del folder
        asked.append(wanted.version)
        return packed

    assert download.download([contract], fetch) == [contract]
    assert contract.path.read_bytes() == b"{}"
    assert download.download([contract], fetch) == []
    newer = pinned(contract.path, packed, version="1.1.0")
    assert download.download([newer], fetch) == [newer]
    assert asked == ["1.0.0", "1.1.0"]


def test_a_download_with_another_digest_is_not_used(tmp_path: Path) -> None:
    packed = tarball(tmp_path, b"{}")
    contract = pinned(tmp_path / "file.json", packed)
    other = tarball(tmp_path, b'{"altered": true}')
    with pytest.raises(Unavailable, match="differs from the pinned digest"):
        download.download([contract], lambda *_: other)
    assert not contract.path.exists()


def test_offline_says_so_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = Contract("no-such-package", "0.0.0", "", "x", tmp_path / "x")
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "npm"
    fake.write_text("#!/bin/sh\necho 'getaddrinfo EAI_AGAIN' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    assert download.main([missing]) == 1
    said = capsys.readouterr().err
    assert "no-such-package@0.0.0 could not be fetched (getaddrinfo EAI_AGAIN)" in said
    assert "Tests run without it" in said
