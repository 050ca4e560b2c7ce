"""Everything in one file and back: SQLite to PostgreSQL to SQLite, open Runs included."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.engine.storage import engine_tables, make_tables
from bot.records import incidents, replicas, runs
from bot.records.audit import chain
from bot.records.audit.anchors import public_pem, sign
from bot.records.audit.verify import ExitCode, audit_verify
from bot.records.database import open_database, url_from
from bot.records.lifecycle import IncidentStatus
from bot.records.schema import migrate
from bot.records.tables import metadata
from bot.transfer import TransferRefused, export_all, import_all
from tests.engine.lives import World, live
from tests.plugins.postgres import postgres_server, postgres_url
from tests.records.examples import NOON, REPOSITORY, opening, trigger

__all__ = ["postgres_server", "postgres_url"]

KEY = Ed25519PrivateKey.generate()
DATA = Path(__file__).resolve().parents[1] / "docs" / "data.md"


def now() -> datetime:
    return datetime.now(UTC)


def quiet(_: str) -> None:
    pass


async def fill(url: str, count: int, *, outside: Path) -> None:
    """So many incidents with a Run each, every third one closed, and anchors outside."""
    engine = open_database(url)
    async with engine.begin() as conn:
        for number in range(1, count + 1):
            made, _ = await incidents.open_or_join(conn, opening(str(number), number=number))
            await runs.start(
                conn, f"run-{number:03}", trigger(str(number), number=number),
                playbook="revert", at=NOON, incident_id=made.id, inputs={"n": 2.50, "t": "é\u2028"},
            )  # fmt: skip
            if number % 3 == 0:
                await incidents.move(conn, made.id, IncidentStatus.DECLINED, at=NOON)
            # A reference to a row that may be brought in later.
            other = opening(str(count + 1 - number), number=count + 1 - number).id
            await conn.execute(
                sa.update(metadata.tables["incidents"])
                .where(metadata.tables["incidents"].c.id == made.id)
                .values(duplicate_of=other if number > count / 2 else None)
            )
        for number in range(count):
            entry = await chain.append(
                conn, REPOSITORY.id, "incident.opened", actor="alice", at=NOON,
                data={"seed": str(2**63), "n": number},
            )  # fmt: skip
    await engine.dispose()
    (outside / "anchors.jsonl").write_text(sign(entry.head, KEY, NOON).line())
    (outside / "key.pem").write_bytes(public_pem(KEY.public_key()))


async def everything(url: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables of records, whatever the database."""
    engine = open_database(url)
    found = {}
    async with engine.connect() as conn:
        for table in metadata.sorted_tables:
            rows = await conn.execute(sa.select(table).order_by(*table.primary_key))
            found[table.name] = [tuple(row) for row in rows]
    await engine.dispose()
    return found


async def is_intact(url: str, outside: Path) -> bool:
    report = await audit_verify(url, outside / "anchors.jsonl", outside / "key.pem")
    return report.code is ExitCode.INTACT


async def test_fifty_incidents_go_to_postgresql_and_back_and_open_runs_go_on(
    tmp_path: Path, postgres_url: str
) -> None:
    first, last = tmp_path / "first", tmp_path / "last"
    first.mkdir()
    a = f"sqlite:///{first / 'records.db'}"
    start = ("start", "listens", "run-001")
    wait = ("wake", "run-001", "hint"), ("until", "heard hint"), ("stop",)
    assert await live(tmp_path, start, *wait, url=a) == 0
    await fill(a, 50, outside=tmp_path)
    before = await everything(a)
    assert await is_intact(a, tmp_path)

    told: list[str] = []
    rows = await export_all(a, first, tmp_path / "one.gz", told.append, now())
    assert (tmp_path / "one.gz").stat().st_mode & 0o777 == 0o600
    assert await import_all(postgres_url, first, tmp_path / "one.gz", told.append, now()) == rows
    assert any("50 entries" in line for line in told)
    assert await everything(postgres_url) == before
    assert await is_intact(postgres_url, tmp_path)
    # The open Run goes on there, and a new row does not meet the number of one that was moved.
    heard = ("wake", "run-001", "retry", "there"), ("until", "heard retry"), ("stop",)
    assert await live(tmp_path, *heard, url=postgres_url) == 0

    b = f"sqlite:///{last / 'records.db'}"
    await export_all(postgres_url, first, tmp_path / "two.gz", told.append, now())
    await import_all(b, last, tmp_path / "two.gz", told.append, now())
    assert await everything(b) == before
    assert await is_intact(b, tmp_path)
    over = ("wake", "run-001", "cancel", "enough"), ("resume", "run-001")
    assert await live(tmp_path, *over, url=b) == 0
    # Each life hears again what is recorded, and then goes on.
    assert World(tmp_path).lines() == [
        "heard hint", "stopped",
        "heard hint", "heard retry", "stopped",
        "heard hint", "heard retry", "heard cancel", "run-001 ended",
    ]  # fmt: skip


@pytest.fixture
async def exported(tmp_path: Path) -> Path:
    """A small file, as it is written."""
    url = url_from(tmp_path / "from")
    await migrate(url)
    await make_engine_tables(url, tmp_path / "from")
    await fill(url, 3, outside=tmp_path)
    await export_all(url, tmp_path / "from", tmp_path / "file.gz", quiet, now())
    return tmp_path / "file.gz"


async def make_engine_tables(url: str, data: Path) -> None:
    engine = open_database(url)
    await make_tables(engine, data)
    await engine.dispose()


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def without_end(data: bytes) -> bytes:
    return gzip.compress(b"".join(gzip.decompress(data).splitlines(keepends=True)[:-1]))


def altered(data: bytes) -> bytes:
    return gzip.compress(gzip.decompress(data).replace(b"alice", b"mallory", 1))


def shortened(data: bytes) -> bytes:
    lines = gzip.decompress(data).splitlines(keepends=True)
    return gzip.compress(b"".join([*lines[:3], *lines[4:]]))


def appended(data: bytes) -> bytes:
    lines = gzip.decompress(data).splitlines(keepends=True)
    return gzip.compress(b"".join([*lines, lines[3]]))


def bent(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(changed) // 2] ^= 0xFF
    return bytes(changed)


def forged(data: bytes) -> bytes:
    """Another history, and a file that is as whole as the first."""
    *lines, end = gzip.decompress(data).splitlines(keepends=True)
    told = [
        line.replace(b'"incident.opened"', b'"nothing.happened"')
        if line.startswith(b'["audit_entries"') else line
        for line in lines
    ]  # fmt: skip
    whole = json.loads(end) | {"sha256": hashlib.sha256(b"".join(told)).hexdigest()}
    return gzip.compress(b"".join(told) + json.dumps(whole).encode() + b"\n")


def rewrite(file: Path, change: Callable[[bytes], bytes]) -> None:
    file.write_bytes(change(file.read_bytes()))


def something_else(_: bytes) -> bytes:
    return b"SQLite format 3\x00" * 50


@pytest.mark.sampled("truncated", "altered")
@pytest.mark.parametrize(
    "change", [truncated, without_end, altered, shortened, appended, bent, something_else]
)
async def test_a_file_that_is_not_whole_is_refused_before_anything_changes(
    exported: Path, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    rewrite(exported, change)
    with pytest.raises(TransferRefused) as refused:
        await import_all(url_from(tmp_path / "to"), tmp_path / "to", exported, quiet, now())
    assert not (tmp_path / "to").exists()
    assert any(w in str(refused.value) for w in ("truncated", "altered", "no file of"))


async def test_an_audit_chain_that_was_forged_with_its_file_is_refused_on_arrival(
    exported: Path, tmp_path: Path
) -> None:
    rewrite(exported, forged)
    url = url_from(tmp_path / "to")
    with pytest.raises(TransferRefused, match=r"audit chain of repository \d+ does not hold"):
        await import_all(url, tmp_path / "to", exported, quiet, now())
    assert all(not rows for rows in (await everything(url)).values())


async def test_a_database_that_has_something_is_refused_with_words(
    exported: Path, tmp_path: Path
) -> None:
    url = url_from(tmp_path / "to")
    await import_all(url, tmp_path / "to", exported, quiet, now())
    with pytest.raises(TransferRefused, match="not empty: there are rows in "):
        await import_all(url, tmp_path / "to", exported, quiet, now())


async def test_while_a_server_lives_nothing_is_moved(exported: Path, tmp_path: Path) -> None:
    url, data = url_from(tmp_path / "from"), tmp_path / "from"
    lock = replicas.takeover_lock(engine := open_database(url))
    assert lock is not None
    assert lock.take()
    with pytest.raises(TransferRefused, match="server is running"):
        await export_all(url, data, tmp_path / "again.gz", quiet, now())
    lock.release()
    async with engine.begin() as conn:
        await replicas.join(conn, "host:8080", now())
    await engine.dispose()
    with pytest.raises(TransferRefused, match="host:8080"):
        await export_all(url, data, tmp_path / "again.gz", quiet, now())
    assert not (tmp_path / "again.gz").exists()
    with pytest.raises(TransferRefused, match="exists already"):
        await export_all(url, data, exported, quiet, now() + timedelta(minutes=1))
    await export_all(url, data, tmp_path / "again.gz", quiet, now() + timedelta(minutes=1))


def _documented(words: str) -> str:
    """The commands of docs/data.md that hold these words."""
    blocks = re.findall(r"```sh\n(.*?)```", DATA.read_text("utf-8"), re.DOTALL)
    return str(next(each for each in blocks if words in each))


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the documented way needs sqlite3")
async def test_a_backup_made_and_put_back_as_documented_is_what_was_there_also_behind_a_crash(
    tmp_path: Path,
) -> None:
    def do(words: str) -> None:
        subprocess.run(["/bin/sh", "-ec", _documented(words)], cwd=tmp_path, check=True)  # noqa: S603

    var = tmp_path / "var"
    url = url_from(var)
    await migrate(url)
    await make_engine_tables(url, var)
    await fill(url, 3, outside=tmp_path)
    before = await everything(url)
    do(".backup")
    assert {each.stat().st_mode & 0o777 for each in (tmp_path / "backup").iterdir()} == {0o600}
    engine = open_database(url)
    async with engine.begin() as conn:
        await chain.append(conn, REPOSITORY.id, "incident.opened", actor="alice", at=NOON, data={})
    # As it lies there behind a crash, with what is not in the file itself yet.
    shutil.copytree(var, tmp_path / "crashed")
    await engine.dispose()
    shutil.rmtree(var)
    (tmp_path / "crashed").rename(var)
    do("rm -f")
    assert await everything(url) == before


def test_every_table_of_the_engine_is_known() -> None:
    assert {"workflow_status", "operation_outputs", "notifications"} <= {
        table.name for table in engine_tables()
    }
