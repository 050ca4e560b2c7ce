"""`/status` and `/severity`: what is under way about one issue or pull request."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.commands import replies
from bot.commands.answer import TriggerAnswer
from bot.commands.command_context import CommandContext
from bot.github.calls.issues import Emotion
from bot.github.client import RepositoryClient
from bot.playbooks.best_effort import attempt
from bot.playbooks.steps import Step
from bot.records import incidents
from bot.records.audit import chain
from bot.records.incidents import Incident
from bot.records.notifications import announce
from bot.triggers import SeverityRequest


async def tell_status(answer: TriggerAnswer, here: CommandContext) -> None:
    """Say where everything here stands, and what is next."""

    async def read(_: bool) -> dict[str, str]:
        issues = [each.issue for each in here.incidents if each.issue is not None]
        found = [await answer.client.issues.find(number) for number in issues]
        return {str(each.number): replies.next_thing(each.body) for each in found if each}

    unknown: dict[str, str] = {}
    next_things = await attempt(
        answer.run,
        Step.READ_NEXT_STEPS,
        dict[str, str],
        read,
        what="read the incident's issue",
        otherwise=unknown,
    )
    told = [
        (incident, [r for r in here.runs if r.incident_id == incident.id])
        for incident in here.incidents
    ]
    await answer.say(replies.status(told, next_things))


async def set_severity(
    answer: TriggerAnswer, here: CommandContext, request: SeverityRequest
) -> None:
    """Give the open incidents here another severity, in the records and as a label."""
    run, trigger = answer.run, answer.trigger
    open_here = [incident for incident in here.incidents if incident.is_open]
    if not open_here:
        return await answer.nothing_here()
    now = await run.now()

    async def change(conn: AsyncConnection) -> bool:
        for incident in open_here:
            changed = await incidents.set_severity(conn, incident.id, request.severity)
            await announce(conn, changed, at=now)
        await chain.append(
            conn,
            trigger.repository.id,
            "incident.severity",
            actor=trigger.actor.login,
            at=now,
            incident=open_here[0].id,
            run=run.id,
            data={"severity": request.severity},
        )
        return True

    await run.write(Step.SET_SEVERITY, bool, change)
    await attempt(
        run,
        Step.CHANGE_SEVERITY_LABEL,
        bool,
        lambda _: _relabel(answer.client, open_here, f"severity:{request.severity}"),
        what="change the severity label",
        otherwise=False,
    )
    return await answer.react(Emotion.DONE)


async def _relabel(client: RepositoryClient, found: Sequence[Incident], label: str) -> bool:
    for incident in found:
        if incident.issue is not None:
            present = (await client.issues.get(incident.issue)).labels
            for old in present:
                if old.startswith("severity:") and old != label:
                    await client.labels.remove(incident.issue, old)
            await client.labels.add(incident.issue, [label])
    return True
