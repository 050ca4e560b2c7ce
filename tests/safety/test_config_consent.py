"""A yes to the configuration is to what was shown, by a Founder who did not write it."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any

import pytest

from bot.config import parse_config
from bot.records import sensitive_config
from bot.safety.config_in_force import digest_of, sensitive_sections
from bot.safety.founders import (
    Objection,
    ShownConfig,
    digest_said,
    is_meant,
    may_name,
    objection_to_consent,
)
from tests.safety.test_config_check import PATH, config_check, known, press_approve, proposed
from tests.shop import Clock, Shop

ONE, TWO = "1" * 64, "2" * 64

FOUNDER_BOB = "founder: {people: [bob]}\n"
FEWER = "caps: {reverts_a_day: 3}\n"
STILL_FEWER = "caps: {reverts_a_day: 2}\n"


def digest(text: str) -> str:
    return digest_of(sensitive_sections(parse_config(text)))


@pytest.mark.parametrize(
    ("named", "seen", "meant"),
    [
        (None, ShownConfig(digests=(TWO,)), True),
        (None, ShownConfig(digests=(ONE,)), False),
        (None, ShownConfig(digests=(ONE, TWO)), False),
        (None, ShownConfig(digests=(TWO, ONE)), False),
        (None, ShownConfig(), False),
        (None, ShownConfig(is_settled=True), True),
        (None, ShownConfig(digests=(ONE,), is_settled=True), False),
        (None, ShownConfig(digests=(ONE, TWO), said=TWO[:12]), True),
        (None, ShownConfig(digests=(TWO,), said=ONE[:12]), False),
        (TWO[:7], ShownConfig(digests=(ONE,)), True),
        (TWO, ShownConfig(), True),
        (TWO[:6], ShownConfig(digests=(TWO,)), False),
        (ONE[:12], ShownConfig(digests=(TWO,)), False),
        ("", ShownConfig(digests=(TWO,)), False),
    ],
)
def test_a_yes_is_to_one_version(named: str | None, seen: ShownConfig, meant: bool) -> None:
    assert is_meant(TWO, named, seen) is meant


def test_a_digest_is_told_from_the_id_of_a_run() -> None:
    assert may_name("0c1d2e3")
    assert may_name("0" * 64)
    for word in ("0c1d2e", "7k2m3np", "0" * 65, "", "0C1D2E3"):
        assert not may_name(word)
    assert digest_said("Read it, then comment `/approve 0c1d2e3f4a5b`.") == "0c1d2e3f4a5b"
    assert digest_said("`/approve 7k2m`, or `/approve`") == ""


PEOPLE = ("olivia", "carol", "bob")
FOUNDERS = (("olivia",), ("olivia", "carol"), ())


@pytest.mark.parametrize(
    ("who", "writers", "founders"),
    [
        (who, writers, founders)
        for who, founders in product(PEOPLE, FOUNDERS)
        for writers in ((), ("bob",), ("Olivia",), ("bob", "olivia"), ("web-flow", "carol"))
    ],
)
def test_nobody_approves_what_they_wrote_while_there_is_another_founder(
    who: str, writers: tuple[str, ...], founders: tuple[str, ...]
) -> None:
    found = objection_to_consent(who, founders, writers)
    wrote = who in {each.lower() for each in writers}
    if who not in founders:
        assert found is Objection.NO_FOUNDER
    elif wrote and len(founders) > 1:
        assert found is Objection.THEIR_OWN
    else:
        assert found is None


async def counts(shop: Shop) -> Any:
    """The configuration that counts now."""
    repository = shop.bot.gate_reporter._repositories[shop.repository.id]
    shop.bot.config.forget(repository.id)
    return (await shop.bot.config.of(repository)).config


async def answered(shop: Shop, number: int, words: str, person: Any) -> tuple[str, str]:
    """What a comment was answered: the reaction, and the last words."""
    reaction = await (await shop.says(number, words, person)).reaction()
    return reaction, (await shop.from_bot(number))[-1]


@pytest.mark.thorough
async def test_a_push_just_before_the_yes_makes_nobody_a_founder(shop: Shop) -> None:
    number, head = await proposed(shop, "fewer", FEWER)
    await config_check(shop, head, "neutral")
    head = await shop.bob.push("fewer", {PATH: FEWER + FOUNDER_BOB}, "One more thing")
    reaction, said = await answered(shop, number, "/approve", shop.olivia)
    assert reaction == "confused"
    wanted = digest(FEWER + FOUNDER_BOB)
    assert "It changes `founder`, `caps`" in said
    assert f"`/approve {wanted[:12]}`" in said

    # Nor does the digest she was shown before, once it was replaced.
    reaction, said = await answered(shop, number, f"/approve {digest(FEWER)[:12]}", shop.olivia)
    assert reaction == "confused"
    await shop.bob.merge(number)
    assert (await counts(shop)).founder.people == ()
    assert await (await shop.says(number, "/approve", shop.bob)).reaction() == "confused"
    assert (await counts(shop)).caps.reverts_a_day == 10

    reaction, said = await answered(shop, number, f"/approve {wanted[:7]}", shop.olivia)
    assert (reaction, "Approved: `founder`, `caps`" in said) == ("+1", True), said
    assert (await counts(shop)).founder.people == ("bob",)


@pytest.mark.thorough
async def test_after_the_new_version_was_shown_in_words_a_bare_yes_is_to_it(shop: Shop) -> None:
    number, head = await proposed(shop, "fewer", FEWER)
    await config_check(shop, head, "neutral")
    await shop.bob.push("fewer", {PATH: STILL_FEWER}, "Fewer")
    assert (await answered(shop, number, "/approve", shop.olivia))[0] == "confused"
    assert (await answered(shop, number, "/approve", shop.olivia))[0] == "+1"
    await shop.bob.merge(number)
    assert (await counts(shop)).caps.reverts_a_day == 2


@pytest.mark.thorough
async def test_a_push_after_the_yes_needs_one_of_its_own(shop: Shop) -> None:
    number, head = await proposed(shop, "fewer", FEWER)
    await config_check(shop, head, "neutral")
    assert (await answered(shop, number, "/approve", shop.olivia))[0] == "+1"
    later = await shop.bob.push("fewer", {PATH: FOUNDER_BOB}, "Something else")
    run = await config_check(shop, later, "neutral")
    assert f"`/approve {digest(FOUNDER_BOB)[:12]}`" in run["output"]["summary"]
    await shop.bob.merge(number)
    assert (await counts(shop)).founder.people == ()
    assert (await counts(shop)).caps.reverts_a_day == 10


async def test_who_wrote_it_does_not_approve_it_while_there_is_another_founder(
    shop: Shop,
) -> None:
    shop.github.set_collaborator(shop.repository, "alice", "admin")
    # Bob's pull request, with a commit of alice's.
    number, _ = await proposed(shop, "fewer", "# Fewer\n")
    head = await shop.alice.push("fewer", {PATH: FEWER}, "As bob wished")
    await config_check(shop, head, "neutral")
    short = digest(FEWER)[:12]
    reaction, said = await answered(shop, number, f"/approve {short}", shop.alice)
    assert (reaction, "Nobody may approve what they wrote" in said) == ("confused", True), said
    assert "Ask another Founder: `olivia`" in said
    own = await shop.alice.open_pull_request("Mine", {PATH: STILL_FEWER}, branch="mine")
    theirs = f"/approve {digest(STILL_FEWER)}"
    assert (await answered(shop, own, theirs, shop.alice))[0] == "confused"
    # A commit that leaves the file alone is no objection.
    await shop.olivia.push("mine", {"notes.txt": "x\n"}, "Notes")
    assert (await answered(shop, own, theirs, shop.olivia))[0] == "+1"
    # Where nobody else could, who wrote it may.
    shop.github.set_collaborator(shop.repository, "olivia", "maintain")
    assert (await answered(shop, number, f"/approve {short}", shop.alice))[0] == "+1"


@pytest.mark.thorough
async def test_the_button_on_the_default_branch_is_not_for_who_pushed_it(shop: Shop) -> None:
    await known(shop)
    shop.github.set_collaborator(shop.repository, "alice", "admin")
    head = await shop.alice.push("main", {PATH: FEWER}, "Fewer")
    run = await config_check(shop, head, "neutral")
    await press_approve(shop, run, "alice")

    async def refused() -> bool:
        said = (await config_check(shop, head, "neutral"))["output"]["summary"]
        return "Nobody may approve what they wrote themselves." in said

    await shop.eventually(refused)
    await press_approve(shop, run, "olivia")
    await config_check(shop, head, "success")
    assert (await counts(shop)).caps.reverts_a_day == 3


@pytest.mark.thorough
async def test_an_approval_expires_before_the_merge(shop: Shop, clock: Clock) -> None:
    number, head = await proposed(shop, "fewer", FEWER)
    await config_check(shop, head, "neutral")
    reaction, said = await answered(shop, number, "/approve", shop.olivia)
    assert (reaction, "within 72 hours" in said) == ("+1", True), said
    clock.forward(hours=73)
    await shop.bob.merge(number)
    assert (await counts(shop)).caps.reverts_a_day == 10

    async def asked() -> bool:
        async with shop.bot.read_only.connect() as conn:
            return bool(await sensitive_config.waiting(conn, [shop.repository.id]))

    await shop.eventually(asked)
    assert (await answered(shop, number, "/approve", shop.olivia))[0] == "+1"
    assert (await counts(shop)).caps.reverts_a_day == 3


async def test_a_direct_push_behind_a_merged_pull_request_is_not_covered_by_its_yes(
    shop: Shop,
) -> None:
    number = await shop.merged("Fewer", {PATH: FEWER})
    await shop.bob.push("main", {PATH: FOUNDER_BOB}, "One more thing")
    await asyncio.sleep(1.1)
    reaction, said = await answered(shop, number, "/approve", shop.olivia)
    assert (reaction, digest(FOUNDER_BOB)[:12] in said) == ("confused", True), said
    assert (await counts(shop)).founder.people == ()
