"""What lies on disk is readable by the bot's own account alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.app import Bot
from bot.records.database import open_database, url_from
from bot.records.schema import migrate
from bot.wiring.readings import keep_folder_private


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("_open_umask")
async def test_a_database_is_private_from_its_first_moment_on(tmp_path: Path) -> None:
    data = tmp_path / "var"
    await migrate(url_from(data))
    records = open_database(url_from(data))
    async with records.begin():
        found = {each.name: mode(each) for each in data.iterdir()}
    await records.dispose()
    assert found.keys() >= {"playbooks.db", "playbooks.db-wal", "playbooks.db-shm"}
    assert set(found.values()) == {0o600}
    assert mode(data) == 0o700


def test_what_was_more_open_is_tightened_at_the_start(tmp_path: Path) -> None:
    data = tmp_path / "var"
    (data / "mirrors").mkdir(parents=True)
    for name in ("playbooks.db", "playbooks.db-wal", "engine.db", "signing-key.pem"):
        (data / name).touch(0o644)
    (data / "link").symlink_to(tmp_path / "elsewhere")
    data.chmod(0o755)
    keep_folder_private(data)
    assert mode(data) == 0o700
    inside = [each for each in data.iterdir() if not each.is_symlink()]
    assert {mode(each) for each in inside if each.is_dir()} == {0o700}
    assert {mode(each) for each in inside if each.is_file()} == {0o600}


@pytest.mark.parametrize("mistaken", [0o1777, 0o755])
def test_a_folder_with_others_things_in_it_stays_theirs_and_what_is_ours_is_closed(
    tmp_path: Path, mistaken: int
) -> None:
    shared = tmp_path / "shared"
    for name, open_to in {"program": 0o755, "notes.txt": 0o644, "playbooks.db": 0o644}.items():
        shared.mkdir(exist_ok=True)
        (shared / name).touch(open_to)
    (shared / "folder").mkdir(mode=0o755)
    shared.chmod(mistaken)
    keep_folder_private(shared)
    assert {each.name: mode(each) for each in (shared, *shared.iterdir())} == {
        "shared": mistaken, "program": 0o755, "notes.txt": 0o644, "folder": 0o755,
        "playbooks.db": 0o600, "mirrors": 0o700, "trials": 0o700,
    }  # fmt: skip


def test_a_bot_at_work_has_nothing_open_to_others(bot: Bot) -> None:
    data = bot.settings.playbooks_data
    inside = [data, *(each for each in data.iterdir() if not each.is_symlink())]
    assert {each.name for each in inside if mode(each) & 0o077} <= {"signing-key.pem.pub"}
    assert {each.name for each in inside} >= {"playbooks.db", "engine.db", "mirrors", "trials"}
