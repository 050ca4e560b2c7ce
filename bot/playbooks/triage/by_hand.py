"""Asking people for what is not done by itself, where they watch it."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.playbooks.attempt import attempt
from bot.playbooks.candidate.reports import live_ledger
from bot.playbooks.rollback.retreat import would_give_traffic_back
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.playbooks.triage import text as words
from bot.playbooks.triage.blame import LeaveIt
from bot.playbooks.triage.text import AlertFacts
from bot.playbooks.words.telling import StatusPlaces
from bot.records import incidents
from bot.triggers import Trigger


async def ask_people(
    run: Run,
    trigger: Trigger,
    facts: AlertFacts,
    telling: StatusPlaces,
    records: AsyncEngine,
    *,
    first: str,
) -> None:
    """Ask for a rollback that is left to people: on the ramp's issue, else on the incident's.

    Once for each time the alert fires anew; nothing is asked where nothing could be done.

    Args:
        run: this Run.
        trigger: the Trigger that is triaged.
        facts: the incident.
        telling: puts words in their places.
        records: the database, for reading.
        first: the first Run that followed the alerts this time.
    """
    left = facts.following
    if not isinstance(left, LeaveIt) or left.capability is None:
        return
    capability = left.capability

    async def see(_: bool) -> int:
        async with records.connect() as conn:
            if not await would_give_traffic_back(conn, trigger.repository.id, capability):
                return 0
            live = await live_ledger(conn, trigger.repository.id, capability)
            watched = None if live is None else await incidents.find(conn, live.attempt)
        return (watched.issue if watched else None) or facts.issue or 0

    number = await run.step(Step.FIND_WATCHED_ISSUE, int, see)
    if not number:
        return

    async def ask(look_first: bool) -> bool:
        text = words.asked_by_hand(facts, left, number)
        await telling.comment(
            number, f"by-hand-{first}", text, look_first=look_first or first != run.id
        )
        return True

    what = f"comment on #{number}"
    await attempt(run, Step.COMMENT_ROLLBACK_COMMAND, bool, ask, what=what, otherwise=False)
