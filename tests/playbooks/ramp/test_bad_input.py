"""What cannot be asked for is answered with what can; nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest

from bot.playbooks.run import Signal, SignalKind
from bot.records import incidents, runs
from bot.traffic import evidence_log as ledgers
from bot.triggers import Actor, ActorKind
from tests.intake.github.delivering import comment
from tests.playbooks.providing import CAPABILITY, Providers
from tests.security.test_not_installed import deliver
from tests.shop import Answer


async def asked(providers: Providers, path: str, **body: Any) -> tuple[int, str]:
    """The status and the sentence that a program gets."""
    body = {"repository": providers.shop.name, "capability": CAPABILITY, **body}
    status, answer = await providers.post(path, body)
    return status, answer.get("detail", "")


@pytest.mark.thorough
async def test_names_that_are_not_configured(providers: Providers) -> None:
    status, said = await asked(
        providers, "/providers/shadow/start", capability="llm.sumarize", candidate="provider-b"
    )
    assert status == 422
    assert "`llm.summarize`" in said
    status, said = await asked(providers, "/providers/shadow/start", candidate="provider-z")
    assert status == 422
    assert "Its candidates: `provider-b`, `provider-c`" in said
    status, said = await asked(providers, "/providers/shadow/start", candidate="provider-a")
    assert (status, said) == (409, "`provider-a` serves `llm.summarize` already.")
    status, said = await asked(providers, "/providers/ramp/5", capability="nothing")
    assert status == 422
    status, said = await asked(providers, "/incidents/rollback", capability="no", reason="x")
    assert status == 422
    assert await providers.flag() == {}


async def test_what_cannot_be_ramped_or_rolled_back(providers: Providers) -> None:
    for stage in ("7", "5.0", "-5", "five", "0", "101"):
        status, said = await asked(providers, f"/providers/ramp/{stage}")
        assert (status, said) == (400, "The stage must be one of 5, 25, 50, 100.")
    status, said = await asked(providers, "/providers/ramp/5")
    assert status == 409
    assert "`/shadow llm.summarize CANDIDATE`" in said
    status, said = await asked(providers, "/incidents/rollback", reason="it looks odd")
    assert status == 409
    assert "nothing to roll back" in said


@pytest.mark.thorough
async def test_stages_come_one_after_the_other(providers: Providers) -> None:
    await providers.configure(approvals={25: 1, 50: 1})
    issue = await providers.shadowed()
    status, said = await asked(providers, "/providers/ramp/25")
    assert (status, said.partition(".")[0]) == (
        409,
        "Nothing is ramped yet, so 25% would skip a stage",
    )
    status, _ = await asked(providers, "/providers/ramp/5%25")
    assert status == 202
    await providers.ramping(5)
    for stage, why in (("5", "cannot come again"), ("50", "would skip a stage")):
        status, said = await asked(providers, f"/providers/ramp/{stage}")
        assert status == 409
        assert why in said
        assert "The next stage is 25%" in said
    status, said = await asked(providers, "/providers/shadow/start", candidate="provider-c")
    assert status == 409
    assert "A ramp of `llm.summarize` is under way" in said
    second = await providers.shop.says(issue, f"/ramp {CAPABILITY}")
    assert await second.reaction() == "+1"
    assert "A ramp of this capability is under way" in (await providers.shop.mentions(issue))[-1]
    await providers.served(1200)
    assert await providers.percent() == 5
    status, _ = await asked(providers, "/providers/ramp/25")
    assert status == 202
    await providers.serve_until(25)

    async def only_the_ramp_goes_on() -> bool:
        async with providers.shop.bot.read_only.connect() as conn:
            return len(await runs.list_live(conn, providers.shop.repository.id)) == 1

    await providers.shop.eventually(only_the_ramp_goes_on)


@pytest.mark.thorough
async def test_two_requests_at_once_are_one_ramp(providers: Providers) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    comments = [await shop.alice.comment(issue, f"/ramp {CAPABILITY}") for _ in range(3)]
    await providers.ramping(5)

    async def answered() -> bool:
        given = [await shop.alice.reactions(comment["id"]) for comment in comments]
        return sum("+1" in each for each in given) == 2

    await shop.eventually(answered)
    ramps = await shop.alice.issues(labels="ramp")
    assert len(ramps) == 1


@pytest.mark.thorough
async def test_a_person_may_end_a_ramp_and_begin_another(providers: Providers) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    ramp = await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    await shop.says(issue, "/cancel")
    assert await ramp.reaction() == "confused"
    assert await providers.provider() == "provider-a"
    assert "the ramp was cancelled by `alice`" in (await shop.mentions(issue))[-1]
    assert (await providers.file("ramp_reports"))["stages"][0]["ended"] == "cancelled"
    # What comes to nothing takes nothing from the proposal before it.
    other = await shop.alice.open_issue("Try provider-c", "It may be better still.")
    shadow = await shop.says(other, f"/shadow {CAPABILITY} provider-c")
    await providers.mirroring()
    await shop.says(other, "/cancel")
    assert await shadow.reaction() == "confused"
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    # Another id, another salt, and none of the evidence of the one before.
    flag = await providers.flag()
    assert flag["targeting"]["if"][1]["fractional"][0]["cat"][0] == f"{CAPABILITY}:2:"
    async with shop.bot.read_only.connect() as conn:
        found = await incidents.latest_about(
            conn, shop.repository.id, "ramp", f"capability:{CAPABILITY}"
        )
        ledger = None if found is None else await ledgers.find(conn, found.id)
    assert ledger is not None
    assert ledger.last == 0
    assert ledger.attempt != (await providers.file("ramp_reports"))["id"]


@pytest.mark.thorough
async def test_a_reader_moves_no_traffic(providers: Providers) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    answer = await shop.says(issue, f"/ramp {CAPABILITY}", shop.mallory)
    assert await answer.reaction() == "confused"
    assert await providers.percent() == 0


@pytest.mark.thorough
async def test_prometheus_is_named_and_nobody_said_where_it_is(providers: Providers) -> None:
    shop = providers.shop
    await providers.configure(prometheus={"successes": "answers_total", "failures": "errors_total"})
    issue = await providers.shadowed()
    answer = await shop.says(issue, f"/ramp {CAPABILITY}")
    assert await answer.reaction() == "confused"
    said = (await shop.mentions(issue))[-1]
    assert "is judged by Prometheus, which this bot cannot ask: PROMETHEUS_URL is not set" in said
    assert "take `prometheus` out" in said
    assert await providers.percent() == 0
    status, said = await asked(providers, "/providers/ramp/5")
    assert status == 409
    assert "PROMETHEUS_URL is not set" in said
    await providers.configure(prometheus=None)
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)


async def test_a_yes_that_was_on_its_way_is_to_no_stage_that_was_not_asked_about(
    providers: Providers,
) -> None:
    await providers.configure(approvals={25: 1})
    shop = providers.shop
    issue = await providers.shadowed()
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    run = await shop.last_run()
    assert run is not None
    bob = Actor(kind=ActorKind.PERSON, login="bob")
    for reason in (None, "stage 5"):
        late = Signal(kind=SignalKind.APPROVE, actor=bob, reason=reason)
        await shop.bot.engine.wake(run.id, late, f"late {reason}")
    await providers.served(1200)
    await shop.standing(issue, "The stage of 25% needs 1 approval; none given so far.")
    assert await providers.percent() == 5
    await shop.says(issue, "/approve")
    await providers.serve_until(25)
    await shop.says(issue, "/cancel")


@pytest.mark.thorough
async def test_a_capability_paused_while_its_first_stage_waits_gets_nothing(
    providers: Providers,
) -> None:
    shop = providers.shop
    await providers.configure(approvals={5: 1})
    issue = await providers.shadowed()
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await shop.standing(issue, "Approve the first stage, 5%")
    paused = await shop.says(issue, f"/pause {CAPABILITY} because of the holidays")
    assert await paused.reaction() == "+1"
    await shop.says(issue, "/approve")
    await shop.standing(issue, "is paused (of the holidays)")
    assert await providers.percent() == 0
    lifted = await shop.says(issue, f"/unpause {CAPABILITY} because they are over")
    assert await lifted.reaction() == "+1"
    await shop.says(issue, "/retry")
    await shop.standing(issue, "Approve the first stage, 5%")
    await shop.says(issue, "/approve")
    await providers.ramping(5)


@pytest.mark.thorough
async def test_a_founders_stage_takes_a_founders_own_word_only(providers: Providers) -> None:
    shop = providers.shop
    await providers.configure(approvals={5: "founder", 25: "founder"})
    issue = await providers.shadowed()
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await shop.standing(issue, "A Founder decides: approve the first stage, 5%")
    # Whoever thinks better of it is told that nothing was served.
    await shop.says(issue, "/cancel")
    await shop.told(issue, "stays on `provider-a`: the ramp was cancelled by `alice`", times=1)
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await shop.standing(issue, "A Founder decides: approve the first stage, 5%")
    # Nobody else's word counts, and they are told so.
    answer = await shop.says(issue, "/approve", shop.bob)
    assert await answer.reaction() == "confused"
    said = (await shop.mentions(issue))[-1]
    assert "has only a Founder approve this stage (`olivia`)" in said
    await shop.says(issue, "/approve", shop.olivia)
    await providers.ramping(5)
    answer = await shop.says(issue, f"/ramp {CAPABILITY} 25", shop.bob)
    assert await answer.reaction() == "+1"
    assert "waits for a Founder's yes as well" in (await shop.mentions(issue))[-1]
    # Nor does an App's in a Founder's name.
    empty = await shop.olivia.comment(issue, "What do you think?")
    said = comment(f"/ramp {CAPABILITY} 25", id_=empty["id"], login="olivia")
    said["comment"]["performed_via_github_app"] = {"id": 5, "slug": "helper"}
    said["issue"] = {"number": issue}
    said["repository"] |= {"id": shop.repository.id, "name": shop.repository.name}
    said["installation"] = {"id": shop.installation().id}
    assert await deliver(shop, "issue_comment", said) == 202
    answer = Answer(shop, issue, empty["id"])
    assert await answer.reaction() == "confused"
    assert "came through helper" in (await shop.mentions(issue))[-1]
    await providers.served(1200)
    await shop.standing(issue, "The stage of 25% needs a Founder's approval.")
    await shop.says(issue, f"/ramp {CAPABILITY} 25", shop.olivia)
    await providers.ramping(25)
    await shop.says(issue, "/cancel")
