"""Records defend themselves: what anybody pushes to their branch is neither kept nor copied."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.records.audit import chain
from bot.records.audit.anchors import read_anchors
from bot.records.audit.chain import AuditEntry
from bot.records.audit.verify import Intact, audit_verify
from fakegithub.deliveries.delivery_faults import Lose
from tests.shop import Shop

BRANCH = "playbooks/records"
ANCHORS = "audit/anchors.jsonl"


async def recovered(shop: Shop) -> tuple[Any, int]:
    """A revert from beginning to end: its report, and the issue."""
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    hotfix = await shop.merged_hotfix()
    await shop.final_word(broken)
    [issue] = await shop.incidents()
    report = await shop.report_of(hotfix, BRANCH)
    return report, int(issue["number"])


def forged(report: Any) -> str:
    return json.dumps({**report, "severity": "low", "title": "Nothing happened"})


def path_of(report: Any) -> str:
    return f"apps/orchestrator/orchestrator/incidents/revert-{report['incident']}.json"


async def entries(shop: Shop) -> list[AuditEntry]:
    async with shop.bot.read_only.connect() as conn:
        found = await chain.read(conn, shop.repository.id)
    return [e for e in found if isinstance(e, AuditEntry) and e.action == "records.rebuilt"]


async def all_written_again(shop: Shop, before: dict[str, str]) -> None:
    async def same() -> bool:
        return {path: await shop.alice.file(path, BRANCH) for path in before} == before

    await shop.eventually(same)


async def told(shop: Shop, issue: int) -> list[str]:
    async def said() -> list[str]:
        return [each for each in await shop.from_bot(issue) if "`playbooks/records`" in each]

    found: list[str] = await shop.eventually(said)
    return found


async def kept(shop: Shop, report: Any) -> dict[str, str]:
    paths = (path_of(report), report["adr"], ANCHORS)
    found = {path: await shop.alice.file(path, BRANCH) for path in paths}
    return {path: text for path, text in found.items() if text is not None}


@pytest.mark.sampled("report")
@pytest.mark.parametrize("what", ["report", "adr", "anchors", "gone"])
async def test_what_somebody_changes_is_written_again_and_said_once(shop: Shop, what: str) -> None:
    report, issue = await recovered(shop)
    before = await kept(shop, report)
    assert len(before) == 3
    path = {"adr": report["adr"], "anchors": ANCHORS}.get(what, path_of(report))
    content = None if what == "gone" else forged(report)
    change = await shop.bob.push(BRANCH, {path: content, "more.txt": "x"}, "Mine")
    before = {p: text for p, text in before.items() if p != ANCHORS or what != "anchors"}
    await all_written_again(shop, before)
    [said] = await told(shop, issue)
    assert change[:12] in said
    [entry] = await entries(shop)
    assert entry.refs == {"branch": BRANCH, "commit": change}
    if what == "anchors":
        text = await shop.alice.file(ANCHORS, BRANCH) or ""
        assert len(read_anchors(text)) == entry.data["anchors"]
    else:
        assert entry.data["paths"] == [path]
    await shop.looked_again()
    assert len(await told(shop, issue)) == len(await entries(shop)) == 1


@pytest.mark.thorough
async def test_a_deleted_branch_comes_back_with_all_anchors(shop: Shop) -> None:
    report, issue = await recovered(shop)
    before = await kept(shop, report)
    await shop.bob.delete(f"git/refs/heads/{BRANCH}")
    await all_written_again(shop, before)
    [said] = await told(shop, issue)
    assert said.startswith("**The branch `playbooks/records` was deleted.**")
    [entry] = await entries(shop)
    assert entry.data["why"] == "the branch was deleted"
    data = shop.bot.settings.playbooks_data
    key = data / "signing-key.pem.pub"
    found = await audit_verify(shop.bot.database_url, shop.repository.git.path, key)
    [chain] = [c for c in found.chains if c.repository_id == shop.repository.id]
    assert isinstance(chain.verdict, Intact), str(chain.verdict)


@pytest.mark.thorough
@pytest.mark.parametrize("gone", [False, True])
async def test_unheard_of_it_is_found_before_anything_is_amended_or_copied(
    shop: Shop, gone: bool
) -> None:
    report, issue = await recovered(shop)
    path = path_of(report)
    shop.github.faults.on_delivery(Lose(recorded=False), event="^push$", times=None)
    if gone:
        await shop.bob.delete(f"git/refs/heads/{BRANCH}")
    else:
        files: dict[str, str | None] = {path: forged(report), report["adr"]: "# Nothing\n"}
        await shop.bob.push(BRANCH, files, "Mine")
    await shop.bob.patch(f"issues/{issue}", state="open")

    async def active() -> Any:
        found = json.loads(await shop.alice.file(path, "main") or "null")
        return found if found and found["status"] == "active" else None

    copied = await shop.eventually(active)
    assert "title" not in copied
    assert copied["severity"] == report["severity"]
    assert await shop.alice.file(path, BRANCH) == await shop.alice.file(path, "main")
    adr = await shop.alice.file(report["adr"], "main") or ""
    assert "Nothing" not in adr
    assert report["incident"] in adr
    assert len(await told(shop, issue)) == len(await entries(shop)) == 1


@pytest.mark.thorough
async def test_now_and_then_it_is_looked_at_without_a_delivery(shop: Shop) -> None:
    report, issue = await recovered(shop)
    before = await kept(shop, report)
    shop.github.faults.on_delivery(Lose(recorded=False), event="^push$", times=None)
    await shop.bob.delete(f"git/refs/heads/{BRANCH}")
    await shop.bot.records_keeper._want_all()
    await all_written_again(shop, before)
    assert len(await told(shop, issue)) == 1
