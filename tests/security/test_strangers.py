"""What people without write access cost: no Run, no row, and no time of those who have rights."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.command_arguments import CommentPlace
from bot.commands.strangers import MOST_UNKNOWN
from bot.intake.event_payloads import CommentPosted
from bot.triggers import Repository, SourceKind
from fakegithub.faults.request_faults import Fail, Slow
from tests.security.test_talk import TEN, settled
from tests.shop import Shop

KEPT = ("inbox", "runs", "answers", "workflow_status", "operation_outputs")
WORDS = ("/revert", "/help", "/status", "/pause because I say so", "/approve", "/revrt", TEN)


def rows(shop: Shop) -> dict[str, int]:
    """How much of what is asked for is kept, the engine's own included."""
    found = {}
    for path in sorted(Path(shop.bot.settings.playbooks_data).glob("*.db")):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as conn:
            for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                if name in KEPT:
                    query = f'SELECT count(*) FROM "{name}"'  # noqa: S608 - our own tables
                    found[f"{path.stem}.{name}"] = int(conn.execute(query).fetchone()[0])
    return found


async def test_nothing_that_an_outsider_says_is_kept(shop: Shop) -> None:
    number = await shop.merged("A change", {"a.py": "a = 1\n"})
    await shop.alone()
    before = rows(shop)
    assert len(before) == len(KEPT)
    for words in WORDS:
        await shop.mallory.comment(number, words)
    await settled(shop)
    assert len(await shop.from_bot(number)) == 1
    assert rows(shop) == before


async def test_who_is_known_and_answered_is_turned_away_before_anything_is_written(
    shop: Shop,
) -> None:
    number = await shop.merged("A change", {"a.py": "a = 1\n"})
    assert await (await shop.says(number, "/revert", shop.mallory)).reaction() == "confused"
    await settled(shop)
    before = shop.bot.registry.get_sample_value(*TURNED_AWAY) or 0
    await shop.says(number, "/revert", shop.mallory)
    await shop.github.deliveries.settle()
    assert shop.bot.registry.get_sample_value(*TURNED_AWAY) == before + 1


TURNED_AWAY = (
    "playbooks_deliveries_total",
    {
        "event": "issue_comment",
        "outcome": "nothing: by somebody without write access, who is answered there",
    },
)


def said(shop: Shop, login: str, number: int, *, by_outsider: bool = True) -> CommentPosted:
    known = shop.repository
    return CommentPosted(
        repository=Repository(
            id=known.id, owner=known.owner.login, name=known.name, installation_id=1
        ),
        here=CommentPlace(shop.name, ""),
        login=login,
        kind=SourceKind.ISSUE_COMMENT,
        object_id=number,
        subject=1,
        is_pull_request=False,
        body="/revert",
        url=None,
        by_outsider=by_outsider,
    )


def test_of_somebody_nobody_knows_yet_a_few_words_wait_and_of_a_member_all(shop: Shop) -> None:
    away = [shop.bot.strangers.turns_away(said(shop, "nobody", n)) for n in range(9)]
    assert away == [False] * MOST_UNKNOWN + [True] * (9 - MOST_UNKNOWN)
    for number in range(9):
        assert not shop.bot.strangers.turns_away(said(shop, "alice", number, by_outsider=False))


@pytest.mark.thorough
async def test_where_github_does_not_tell_who_it_is_a_writer_is_heard_all_the_same(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    path = f"/repos/{shop.name}/collaborators/alice/permission"
    shop.github.faults.add(Fail(502), method="GET", path=path, times=2)
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    assert (await shop.merged_hotfix())["merged_at"]


@pytest.mark.sampled("/revert")
@pytest.mark.parametrize("words", ["/revert", "/cancel"])
async def test_a_stranger_who_spoke_first_holds_up_nobody(shop: Shop, words: str) -> None:
    broken = await shop.broken()
    path = f"/repos/{shop.name}/collaborators/mallory/permission"
    slow = shop.github.faults.add(Slow(3.0), method="GET", path=path)

    async def asked() -> bool:
        return slow.fired > 0

    await shop.mallory.comment(broken, words)
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    await shop.eventually(asked)
    assert (await shop.merged_hotfix())["merged_at"]
