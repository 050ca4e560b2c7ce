"""A stale commit of the flag document does not ramp again."""

from __future__ import annotations

import json

import pytest

from bot.records.audit import chain
from tests.playbooks.providing import CAPABILITY, Providers, share
from tests.playbooks.rollback.test_playbook import at_25, fix

FLAGS = "flags/flagd.json"


@pytest.mark.thorough
async def test_a_stale_commit_of_the_flags_does_not_ramp_again(providers: Providers) -> None:
    shop = providers.shop
    await at_25(providers)
    stale = json.dumps(await providers.document())
    assert share(json.loads(stale)["flags"][CAPABILITY]) == 25
    await providers.serve_until(0, candidate=0.9)
    await shop.alice.merge((await fix(providers))["number"])
    await shop.alone()
    await shop.alice.push("main", {FLAGS: stale}, "Revert the rollback of the flags")
    assert await providers.provider() == "provider-a"

    async def replaced() -> bool:
        return await shop.alice.file(FLAGS, "main") != stale

    await shop.eventually(replaced)
    there = json.loads(await shop.alice.file(FLAGS, "main") or "{}")
    assert there == await providers.document()
    assert share(there["flags"][CAPABILITY]) == 0
    async with shop.bot.read_only.connect() as conn:
        entries = await chain.read(conn, shop.repository.id)
    assert "flags.replaced" in [getattr(entry, "action", None) for entry in entries]


@pytest.mark.thorough
async def test_a_document_that_claims_to_be_newer_is_overtaken(providers: Providers) -> None:
    shop = providers.shop
    await providers.shadowed()
    document = await providers.document()
    document["metadata"]["generation"] += 1000
    newer = json.dumps(document)
    await shop.alice.push("main", {FLAGS: newer}, "Flags of tomorrow")

    async def overtaken() -> bool:
        found = await providers.document()
        return bool(found["metadata"]["generation"] > document["metadata"]["generation"])

    await shop.eventually(overtaken)

    async def replaced() -> bool:
        text = await shop.alice.file(FLAGS, "main") or "{}"
        return bool(json.loads(text) == await providers.document())

    await shop.eventually(replaced)
