"""A GitHub whose certificate is signed by an authority of one's own: client and git reach it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bot.git.errors import GitFailed
from bot.git.process import Git
from bot.github.transport.http import exchange, new_session
from bot.github.transport.retry import Lost


def certificate(folder: Path) -> Path:
    """A key and its certificate, for 127.0.0.1, signed by itself; in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(20)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "own.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """A server that knows no repository: its address, and the file of its certificate."""
    file = certificate(tmp_path)
    secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secured.load_cert_chain(file)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=secured)
    await site.start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}", file
    await runner.cleanup()


async def said_by_git(address: str, folder: Path) -> str:
    with pytest.raises(GitFailed) as failed:
        await Git(folder).run("ls-remote", f"{address}/acme/shop.git", network=True)
    return str(failed.value)


async def test_whoever_is_not_trusted_is_named_and_nothing_was_sent(
    https: tuple[str, Path], tmp_path: Path
) -> None:
    address, _ = https
    async with new_session(5.0) as session:
        answer = await exchange(session, "POST", f"{address}/api/v3", {}, b"{}")
    assert answer == Lost("GitHub's certificate is not trusted here", sent=False)
    assert "certificate" in await said_by_git(address, tmp_path)


async def test_a_server_that_speaks_no_tls_is_no_untrusted_certificate() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, new_session(5.0) as session:
        said = await exchange(session, "GET", f"https://127.0.0.1:{port}/meta", {}, None)
    assert said == Lost("TLS with GitHub failed", sent=False)


async def test_a_host_that_nobody_knows_is_said() -> None:
    async with new_session(5.0) as session:
        said = await exchange(session, "GET", "https://github.invalid/meta", {}, None)
    assert said == Lost("GitHub could not be reached: no such host", sent=False)


@pytest.mark.parametrize("setting", ["SSL_CERT_FILE", "GIT_SSL_CAINFO"])
async def test_git_trusts_whom_the_client_trusts(
    setting: str, https: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, file = https
    monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
    monkeypatch.setenv(setting, str(file))
    said = await said_by_git(address, tmp_path)
    assert "certificate" not in said
    assert "not found" in said
