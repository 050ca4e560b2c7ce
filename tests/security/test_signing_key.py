"""All replicas of an installation sign audit anchors with one key, or do not start."""

from __future__ import annotations

import asyncio
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dbos import error as dbos_error
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.app import Bot
from bot.records import replicas
from bot.records.audit.anchors import private_pem, public_pem
from bot.records.audit.keys import FILE, SigningKeyRefused, keep_files, settle_key
from bot.records.database import open_database, url_from
from bot.settings import InvalidSettings
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp
from tests.plugins.postgres import postgres_server
from tests.records.conftest import engine, migrated_postgresql, migrated_sqlite, url
from tests.shop import settings_for

__all__ = ["engine", "migrated_postgresql", "migrated_sqlite", "postgres_server", "url"]

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ONE, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


async def settled(
    engine: AsyncEngine, data: Path, replica: str, given: Ed25519PrivateKey | None = None,
    at: datetime = NOW,
) -> bytes:  # fmt: skip
    """A replica starts with its own data folder; the public half of what it signs with."""
    pem = private_pem(given).decode() if given else None
    async with engine.begin() as conn:
        siblings = (await replicas.living(conn, at)).keys() - {replica}
        key = await settle_key(conn, given=pem, file=data / FILE, siblings=siblings, at=at)
        await replicas.join(conn, replica, at)
    keep_files(data / FILE, key, is_given=given is not None)
    return public_pem(key.public_key())


def put(folder: Path, key: Ed25519PrivateKey) -> Path:
    """A data folder in which a release before has made a key of its own."""
    folder.mkdir()
    (folder / FILE).write_bytes(private_pem(key))
    return folder


async def test_replicas_with_their_own_data_find_one_key(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    starts = [settled(engine, tmp_path / name, name) for name in ("a", "b", "c")]
    keys = (
        await asyncio.gather(*starts)
        if engine.dialect.name != "sqlite"
        else [await each for each in starts]
    )
    assert len(set(keys)) == 1
    for name in ("a", "b", "c"):
        assert stat.S_IMODE((tmp_path / name / FILE).stat().st_mode) == 0o600
        assert (tmp_path / name / f"{FILE}.pub").read_bytes() == keys[0]


async def test_a_second_key_of_an_earlier_release_is_put_aside(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    a, b = put(tmp_path / "a", ONE), put(tmp_path / "b", OTHER)
    first = await settled(engine, a, "a")
    assert first == public_pem(ONE.public_key())
    assert await settled(engine, b, "b") == first
    assert (b / FILE).read_bytes() == private_pem(ONE)
    aside = [each for each in b.iterdir() if each.read_bytes() == private_pem(OTHER)]
    assert len(aside) == 1
    assert await settled(engine, b, "b") == first
    assert len(list(b.iterdir())) == 3


async def test_a_second_given_key_is_refused_while_another_replica_runs(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    await settled(engine, tmp_path, "a", ONE)
    assert await settled(engine, tmp_path, "b", ONE) == public_pem(ONE.public_key())
    for given in (OTHER, None):
        with pytest.raises(SigningKeyRefused, match="PLAYBOOKS_SIGNING_KEY"):
            await settled(engine, tmp_path / "c", "c", given)
    later = NOW + timedelta(hours=1)
    assert await settled(engine, tmp_path, "a", OTHER, later) == public_pem(OTHER.public_key())
    with pytest.raises(SigningKeyRefused):
        await settled(engine, tmp_path / "b", "b", ONE, later)


async def test_a_given_key_is_never_in_the_database(engine: AsyncEngine, tmp_path: Path) -> None:
    await settled(engine, tmp_path, "a", ONE)
    async with engine.connect() as conn:
        rows = (await conn.exec_driver_sql("SELECT * FROM signing_keys")).all()
    assert "PRIVATE" not in str(rows)
    assert not (tmp_path / FILE).exists()


async def test_a_bot_with_another_key_says_in_one_line_what_to_do(
    github: DemoGitHub, playbooks_app: FakeApp, tmp_path: Path
) -> None:
    given = settings_for(github, playbooks_app, tmp_path / "a")
    first = Bot(given)
    try:
        await first.start()
    except dbos_error.DBOSException:
        pytest.skip("another test's bot has this process's only engine")
    try:
        other = given.model_copy(
            update={
                "playbooks_replica": "other",
                "playbooks_signing_key": type(given.github_private_key)(
                    private_pem(OTHER).decode()
                ),
            }
        )
        second = Bot(other)
        with pytest.raises(InvalidSettings) as refused:
            await second.start()
        assert "set PLAYBOOKS_SIGNING_KEY to the same key everywhere" in str(refused.value)
        assert "\n" not in str(refused.value)
        await second.records.dispose()
        await second.github.close()
    finally:
        await first.stop()
    records = open_database(url_from(tmp_path / "a"))
    async with records.connect() as conn:
        kept = (await conn.exec_driver_sql("SELECT public_pem FROM signing_keys")).scalar_one()
    await records.dispose()
    assert kept == (tmp_path / "a" / f"{FILE}.pub").read_text()
