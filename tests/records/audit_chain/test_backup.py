"""Backups: made while the server runs, restored, and older than what anchors know."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.cli import main
from bot.records.audit import chain
from bot.records.audit.anchors import public_pem, sign
from bot.records.audit.verify import (
    AuditReport,
    ExitCode,
    Intact,
    Older,
    audit_verify,
    declare_restored,
)
from bot.records.database import open_database
from bot.records.schema import migrate
from tests.engine.lives import World, live
from tests.records.examples import NOON, REPOSITORY

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def backup(source: Path, target: Path) -> None:
    """As `sqlite3 FILE ".backup TARGET"` does."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def restore(source: Path, target: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    backup(source, target)


class Installation:
    """A database, and the anchors that its chain left outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "playbooks.db"
        self.url = f"sqlite:///{self.file}"
        (folder / "key.pem").write_bytes(public_pem(KEY.public_key()))

    async def append(self, count: int, *, actor: str = "alice", anchored: bool = True) -> None:
        engine = open_database(self.url)
        async with engine.begin() as conn:
            for _ in range(count):
                entry = await chain.append(conn, REPOSITORY.id, "x", actor=actor, at=NOON)
        await engine.dispose()
        if anchored:
            with (self.folder / "anchors.jsonl").open("a") as file:
                file.write(sign(entry.head, KEY, NOON).line())

    async def verified(self) -> AuditReport:
        return await audit_verify(self.url, self.folder / "anchors.jsonl", self.folder / "key.pem")


@pytest.fixture
async def installed(tmp_path: Path) -> Installation:
    """Ten entries; a backup that was made behind the sixth."""
    found = Installation(tmp_path)
    await migrate(found.url)
    await found.append(3)
    await found.append(3, anchored=False)
    backup(found.file, tmp_path / "backup.db")
    await found.append(4)
    return found


async def test_a_backup_of_now_is_intact(installed: Installation) -> None:
    backup(installed.file, installed.folder / "now.db")
    restore(installed.folder / "now.db", installed.file)
    assert (await installed.verified()).code is ExitCode.INTACT


async def test_an_older_backup_is_named_as_such(installed: Installation) -> None:
    restore(installed.folder / "backup.db", installed.file)
    report = await installed.verified()
    (only,) = report.chains
    assert only.verdict == Older(entries=6, anchored=10)
    assert report.code is ExitCode.TRUNCATED
    (line,) = report.lines()
    assert "truncated" not in line
    assert "older backup was restored" in line
    assert "playbooks audit restored" in line


@pytest.mark.parametrize("went_on", [0, 8], ids=["at once", "when more was written"])
async def test_an_older_backup_that_somebody_vouches_for_is_intact_and_said_for_ever(
    installed: Installation, went_on: int
) -> None:
    restore(installed.folder / "backup.db", installed.file)
    if went_on:
        await installed.append(went_on, actor="bob")
        assert (await installed.verified()).code is ExitCode.ALTERED
    files = installed.folder / "anchors.jsonl", installed.folder / "key.pem"
    named = await declare_restored(
        installed.url, *files, by="olivia", because="disk failed", at=NOON + timedelta(days=1)
    )
    assert named == {REPOSITORY.id: 1}
    for _ in range(2):
        report = await installed.verified()
        (only,) = report.chains
        assert isinstance(only.verdict, Intact)
        assert report.code is ExitCode.INTACT
        assert "says olivia: disk failed" in report.lines()[0]
        assert "up to entry 10 of the former chain is lost" in report.lines()[0]
        await installed.append(5, actor="bob")
    # Nobody hides anything behind the statement: what was anchored since counts as before.
    with closing(sqlite3.connect(installed.file)) as raw, raw:
        raw.execute("DROP TRIGGER IF EXISTS audit_entries_no_delete")
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute("DELETE FROM audit_entries WHERE seq > 9")
    assert (await installed.verified()).code is ExitCode.TRUNCATED


async def test_without_anything_lost_nothing_is_noted(installed: Installation) -> None:
    files = installed.folder / "anchors.jsonl", installed.folder / "key.pem"
    assert await declare_restored(installed.url, *files, by="o", because="b", at=NOON) == {}
    assert (await installed.verified()).code is ExitCode.INTACT


def test_the_command_says_what_it_noted(tmp_path: Path) -> None:
    said = CliRunner().invoke(
        main,
        ["audit", "restored", "--anchors", str(tmp_path), "--public-key", str(tmp_path / "no.pem"),
         "--because", "disk"],
        env={"PLAYBOOKS_DATA": str(tmp_path), "DATABASE_URL": ""},
    )  # fmt: skip
    assert said.exit_code == 1
    assert "no.pem" in said.stderr


async def test_a_run_goes_on_from_a_backup_that_was_made_while_it_waited(tmp_path: Path) -> None:
    wait = ("start", "listens", "one"), ("wake", "one", "hint"), ("until", "heard hint")
    assert await live(tmp_path, *wait, ("stop",)) == 0
    for name in ("engine.db", "records.db"):  # in this order: see docs/data.md
        backup(tmp_path / name, tmp_path / f"{name}.backup")
    assert await live(tmp_path, ("wake", "one", "cancel"), ("resume", "one")) == 0
    for name in ("engine.db", "records.db"):
        restore(tmp_path / f"{name}.backup", tmp_path / name)
    assert await live(tmp_path, ("wake", "one", "cancel"), ("resume", "one")) == 0
    assert World(tmp_path).lines().count("one ended") == 2
