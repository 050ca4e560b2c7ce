"""An alert's incident under way, and how it is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue, TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.playbooks.alerts import messages as words
from bot.playbooks.alerts.decide import Following
from bot.playbooks.alerts.messages import AlertFacts
from bot.playbooks.alerts.ports import AlertResources, alerts, chain, incidents, notifications, runs
from bot.playbooks.incident import record_files
from bot.playbooks.incident.context import Opened
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.publisher import StatusPlaces
from bot.playbooks.incident.publisher import keep as keep_standing
from bot.playbooks.incident.record_files import RECORDS_BRANCH, Recorded, RecordFile, recorded
from bot.playbooks.incident.recorder import IncidentRecorder
from bot.playbooks.incident.workflow import CLOCKS_DIFFER_BY
from bot.playbooks.run import Ending, NotAllowed, Run, Tries, attempt
from bot.playbooks.steps import Step
from bot.records.alerts import KIND, ConditionGroup, subject_of
from bot.records.audit.anchors import sign
from bot.records.incidents import Incident, Opening
from bot.records.lifecycle import REOPEN_WINDOW, IncidentStatus, RunState
from bot.records.runs import StoredRun
from bot.triggers import UNKNOWN_SEVERITY, Severity, Trigger, Value, derived_id

_ZERO_OF_CLOCKS = 1970
_DECIDED = "following"
_FOLLOWING: TypeAdapter[Following] = TypeAdapter(Following)


class Triaged(Value):
    """The incident, and the group as it was when it was opened.

    Attributes:
        opened: the incident.
        group: the group.
        first: the first Run that followed this episode: what was asked for is known by its name.
            Empty for a Run begun before 2026-11-30, which is the first.
        following: what an earlier Run decided about this episode; None: nothing was decided yet.
    """

    opened: Opened
    group: ConditionGroup
    first: str = ""
    following: Following | None = None


def severity_of(group: ConditionGroup) -> Severity:
    """The worst of what fires; of what has cleared, where nothing fires any more."""
    firing = [each for each in group.conditions if each.firing] or list(group.conditions)
    return max(
        (each.said.severity for each in firing), key=attrgetter("rank"), default=UNKNOWN_SEVERITY
    )


def began_at(group: ConditionGroup, detected: datetime) -> datetime:
    """When it began: never after we heard of it, whatever the senders' clocks say.

    The zero of a clock (the years 1 and 1970) says that its sender does not know.
    """
    told = [each.at for each in group.conditions if each.at.year > _ZERO_OF_CLOCKS]
    return min([*told, detected])


async def open_for_group(
    run: Run, trigger: Trigger, group_id: str, *, signing_key: Ed25519PrivateKey
) -> Triaged | None:
    """Open the incident of a group with its audit entry and notifications.

    What was resolved a short while ago is taken up again: it fires again. Where an earlier Run of
    the same episode ended before the alerts did, this one goes on for it. From now on this Run is
    who hears of the group.

    Returns:
        None where there is no such group, or another Run is at work on it.
    """
    now = await run.now()

    async def change(conn: AsyncConnection) -> Triaged | None:
        group = await alerts.find(conn, group_id, lock=True)
        if group is None or await _is_followed(conn, group, besides=run.id):
            return None
        await alerts.follow(conn, group.id, run.id)
        incident, action = await _incident(conn, trigger, group, now)
        incident = await incidents.count_alerts(conn, incident.id, group.received)
        over = "it was over before I heard of it" if group.is_clear else None
        await notifications.announce(conn, incident, at=now, spared=over)
        await runs.note(conn, run.id, at=now, incident_id=incident.id)
        for state in (RunState.RUNNING, RunState.VERIFYING):
            await runs.move(conn, run.id, state, at=now)
        before = [r for r in await runs.of_incident(conn, incident.id) if r.id != run.id]
        episode = _of_episode(before, group)
        entry = await chain.append(
            conn,
            trigger.repository.id,
            action,
            actor=trigger.actor.login,
            at=now,
            incident=incident.id,
            run=run.id,
            refs={"group": group.group_key, "source": group.source},
            data={
                "reason": group.title,
                "severity": incident.severity,
                "episode": group.episode,
                "conditions": len(group.conditions),
            },
        )
        anchor = sign(entry.head, signing_key, now)
        opened = Opened(incident=incident, joined=False, attempt=len(before) + 1, anchor=anchor)
        return Triaged(
            opened=opened,
            group=group,
            first=episode[0].id if episode else run.id,
            following=_decided(episode),
        )

    # `Triaged | None` is a type, and only used to read the result back.
    return await run.write(Step.OPEN_INCIDENT, Triaged | None, change)  # type: ignore[arg-type]


async def remember(conn: AsyncConnection, run: str, following: Following, at: datetime) -> None:
    """Keep what a Run decided: whoever goes on for it neither judges nor pauses again.

    What was begun meanwhile would be taken for innocent, or its neighbours for guilty.
    """
    known = await runs.find(conn, run)
    if known is not None:
        decided = {_DECIDED: _FOLLOWING.dump_python(following, mode="json")}
        await runs.note(conn, run, at=at, inputs={**known.inputs, **decided})


def _decided(episode: Sequence[StoredRun]) -> Following | None:
    found = [r.inputs[_DECIDED] for r in episode if _DECIDED in r.inputs]
    return _FOLLOWING.validate_python(found[-1]) if found else None


def _of_episode(before: Sequence[StoredRun], group: ConditionGroup) -> list[StoredRun]:
    """The Runs that followed the group's present episode, oldest first."""
    asked: dict[str, JsonValue] = {"group": group.id, "episode": group.episode}
    return [r for r in before if asked.items() <= r.inputs.items()]


async def _is_followed(conn: AsyncConnection, group: ConditionGroup, *, besides: str) -> bool:
    if not group.followed or group.run in ("", besides):
        return False
    known = await runs.find(conn, group.run)
    # One that has not begun yet is on its way.
    return known is None or known.is_live


async def _incident(
    conn: AsyncConnection, trigger: Trigger, group: ConditionGroup, now: datetime
) -> tuple[Incident, str]:
    subject = subject_of(group.id)
    latest = await incidents.latest_about(conn, group.repository_id, KIND, subject)
    resolved_at = latest.resolved_at if latest else None
    if (
        latest is not None
        and latest.status is IncidentStatus.RESOLVED
        and resolved_at is not None
        and now - resolved_at <= REOPEN_WINDOW
    ):
        return (
            await incidents.move(conn, latest.id, IncidentStatus.ACTIVE, at=now),
            "incident.reopened",
        )
    opening = Opening(
        id=derived_id(trigger.key, trigger.received_at),
        repository=trigger.repository,
        kind=KIND,
        subject=subject,
        title=words.title(group),
        severity=severity_of(group),
        source=trigger.source.kind,
        source_url=trigger.source.url,
        opened_by=trigger.actor.login,
        detected_at=trigger.received_at,
        started_at=began_at(group, trigger.received_at),
        group_key=group.group_key,
        dedup_key=group.conditions[0].fingerprint if group.conditions else None,
    )
    incident, joined = await incidents.open_or_join(conn, opening)
    return incident, "incident.joined" if joined else "incident.opened"


class AlertWorkflow:
    """One group of alerts and its incident, under way.

    Attributes:
        facts: what its texts need; grows as things appear.
        adr: the text of its decision record.
        recorder: writes down what happens.
        status_places: puts words in their places.
        said: what the issue says by now.
        since: when the incident was detected.
        attempt: which attempt at the incident this is, counted from 1.
        first: the first Run that followed this episode of the alerts: perhaps this one.
        decided: what an earlier one decided about it.
        judged: the severity that the alerts themselves have given it, whatever people say of it.
    """

    def __init__(self, run: Run, trigger: Trigger, parts: AlertResources, triaged: Triaged) -> None:
        """Begin, or begin again after a crash."""
        self.run, self.trigger, self.parts = run, trigger, parts
        self.github = parts.github
        opened = triaged.opened
        self.incident = opened.incident.id
        self.attempt = opened.attempt
        self.first = triaged.first or run.id
        self.decided = triaged.following
        self.recorder = IncidentRecorder(run, trigger, opened, parts.signing_key)
        self.since = opened.incident.detected_at
        self.status_places = StatusPlaces(
            self.github, self.incident, since=self.since - CLOCKS_DIFFER_BY, run=run.id
        )
        self.adr = ""
        self.said = ""
        self._kept: StatusMessage | None = None
        self._labelled = self.judged = opened.incident.severity
        self.facts = AlertFacts(
            incident=self.incident,
            severity=opened.incident.severity,
            group=triaged.group,
            adr=opened.incident.adr or "",
            records_url=f"{parts.web_url}/blob/{RECORDS_BRANCH}",
            page=parts.page_of(self.incident),
            issue=opened.incident.issue,
        )

    async def tell(self) -> None:
        """Make the issue, its label and the records say where it stands, if they do not yet."""
        facts, number = self.facts, self.facts.issue
        body = words.issue_body(facts)
        if body == self.said:
            return
        await self.keep()
        if number is None:
            # Issues are switched off here: the cockpit shows it.
            self.said = body
            return
        old, new = f"severity:{self._labelled}", f"severity:{facts.severity}"

        async def tell(_: bool) -> bool:
            tries = Tries()
            await tries.go("edit", self.status_places.update_issue(number, body))
            if old != new:
                await tries.go("unlabel", self.github.labels.remove(number, old))
                await tries.go("label", self.github.labels.add(number, [new]))
            if refused := [each.why for each in tries.tried if each.why]:
                raise NotAllowed(refused[0])
            return True

        what = f"edit #{number}"
        await attempt(self.run, Step.PUBLISH_STATUS, bool, tell, what=what, otherwise=False)
        self.said, self._labelled = body, facts.severity

    async def keep(self) -> None:
        """Have the cockpit show where it stands."""
        standing = words.standing(self.facts)
        if standing != self._kept:
            await keep_standing(self.run, standing)
            self._kept = standing

    async def record(self, step: Step, message: str) -> None:
        """Put the decision record on the records branch, as this step."""
        files = (RecordFile(path=self.facts.adr, content=markdown.for_file(self.adr)),)
        anchor = self.recorder.anchor

        async def record() -> Recorded:
            async with self.parts.recording:
                return await record_files.record(
                    self.github,
                    self.parts.store,
                    files,
                    anchor,
                    message,
                    incident=self.incident,
                )

        put = await recorded(self.run, step, record)
        if put is not None:
            self.facts = self.facts.model_copy(
                update={"records_url": f"{self.parts.web_url}/blob/{put.branch}"}
            )

    async def close(
        self,
        state: RunState,
        reason: Literal["completed", "not_planned"],
        outcome: Literal["succeeded", "stopped"],
    ) -> Ending:
        """Bring the decision record and the issue to their end, and end the Run."""
        await self.record(Step.RECORD_OUTCOME, f"Record the outcome of incident {self.incident}")
        number = self.facts.issue

        async def close(_: bool) -> bool:
            if number is not None and not await self._fires_again():
                await self.status_places.close_issue(number, completed=reason == "completed")
            return True

        what = f"close #{number}"
        await attempt(self.run, Step.CLOSE_INCIDENT_ISSUE, bool, close, what=what, otherwise=False)
        await self.recorder.finish(state, self.digest)
        return Ending(outcome=outcome)

    async def _fires_again(self) -> bool:
        """Whether another Run has taken the incident up again: the issue is that one's now."""
        async with self.parts.records.connect() as conn:
            known = await incidents.find(conn, self.incident)
        return known is not None and known.status is IncidentStatus.ACTIVE

    @property
    def digest(self) -> str:
        """The decision record's SHA-256, in hex: it is all the report there is."""
        return hashlib.sha256(self.adr.encode()).hexdigest()
