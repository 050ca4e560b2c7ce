"""A house in which much is going on: records as the bot writes them, without waiting for it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.canary.policy import Policy
from bot.limits import Caps
from bot.records import (
    answered,
    approvals,
    bisects,
    budgets,
    incidents,
    pauses,
    runs,
    sensitive_config,
    steps,
)
from bot.records.audit import chain
from bot.records.bisects import Bar, BisectProgress, Suspected
from bot.records.documents.reports import FreshRuns, TrialMade, Verification
from bot.records.incidents import Incident, Opening
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.pauses import PauseKind, Pausing
from bot.records.runs import StoredRun
from bot.records.steps import Reversibility
from bot.safety.budgets import REVERTS, caps
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.evidence_log import pack
from bot.traffic.flagd import Split
from bot.triggers import (
    SELF_WORK,
    Actor,
    ActorKind,
    PullRequestTarget,
    Repository,
    RevertRequest,
    Severity,
    Source,
    SourceKind,
    Trigger,
    derived_id,
)
from demo.person import Person
from tests.canary.traffic import frozen
from tests.traffic.trials import observed

_numbers = count(1)


def _sha(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()[:40]


ORDER = {
    RunState.QUEUED: (),
    RunState.PREFLIGHT: (RunState.PREFLIGHT,),
    RunState.RUNNING: (RunState.PREFLIGHT, RunState.RUNNING),
    RunState.VERIFYING: (RunState.PREFLIGHT, RunState.RUNNING, RunState.VERIFYING),
    RunState.AWAITING_APPROVAL: (RunState.PREFLIGHT, RunState.AWAITING_APPROVAL),
    RunState.FAILED: (RunState.PREFLIGHT, RunState.RUNNING, RunState.FAILED),
    RunState.SUCCEEDED: (
        RunState.PREFLIGHT,
        RunState.RUNNING,
        RunState.VERIFYING,
        RunState.SUCCEEDED,
    ),
}
"""The way to each state."""


class House:
    """Fills the records of one repository."""

    def __init__(self, records: AsyncEngine, repository: Repository, now: datetime) -> None:
        self.records = records
        self.repository = repository
        self.now = now

    async def incident(
        self,
        title: str,
        *,
        severity: Severity = Severity.HIGH,
        ago: timedelta = timedelta(minutes=7),
        kind: str = "revert",
        state: RunState = RunState.VERIFYING,
        reason: str | None = None,
        settled_after: timedelta | None = None,
        by: str = "alice",
        data: dict[str, str] | None = None,
    ) -> tuple[Incident, StoredRun]:
        """One incident with its Run, its story, and, where it was settled, its end."""
        number = next(_numbers)
        at = self.now - ago
        trigger = Trigger(
            source=Source(
                kind=SourceKind.ISSUE_COMMENT, object_id=f"house-{number}", subject=number
            ),
            repository=self.repository,
            actor=Actor(kind=ActorKind.PERSON, login=by),
            received_at=at,
            request=RevertRequest(targets=(PullRequestTarget(number=number),)),
        )
        identity = derived_id(trigger.key, at)
        opening = Opening(
            id=identity,
            repository=self.repository,
            kind=kind,
            subject=f"pull_request:{number}",
            title=title,
            severity=severity,
            source="issue_comment",
            opened_by=by,
            detected_at=at,
            suspect=f"pull_request:{number}",
        )
        async with self.records.begin() as conn:
            run = await runs.start(conn, identity, trigger, playbook=kind, at=at)
            incident, _ = await incidents.open_or_join(conn, opening)
            await runs.note(
                conn,
                run.id,
                at=at,
                incident_id=incident.id,
                seed="8401",
                artifact_path=f"apps/orchestrator/orchestrator/incidents/{kind}-{identity}.json",
            )
            ends = at + (settled_after or timedelta(minutes=2))
            for step in ORDER[state]:
                last = step is state
                await runs.move(conn, run.id, step, at=ends, reason=reason if last else None)
            await incidents.refer(
                conn,
                incident.id,
                issue=number + 1000,
                pull_request=number + 1001,
                adr=f"docs/decisions/20260101-{identity}-revert.md",
            )
            await self._steps(conn, run.id, at, number)
            await self._told(
                conn, incident, run.id, "incident.opened", at, data or {"reason": "logins fail"}
            )
            await self._told(conn, incident, run.id, "issue.opened", at, {})
            await self._told(conn, incident, run.id, "hotfix.opened", at + timedelta(seconds=4), {})
            if settled_after is not None:
                await self._settle(conn, incident, run.id, at, settled_after)
            found = await incidents.find(conn, identity)
            assert found is not None
            made = await runs.find(conn, identity)
            assert made is not None
        return found, made

    async def tried_again(self, incident: Incident, times: int, since: datetime) -> list[str]:
        """Further Runs of an incident, all but the first of which broke off; their ids."""
        made = []
        for number in range(times):
            at = since + timedelta(seconds=number)
            trigger = Trigger(
                source=Source(kind=SourceKind.ISSUE_COMMENT, object_id=f"house-{next(_numbers)}"),
                repository=self.repository,
                actor=Actor(kind=ActorKind.PERSON, login="alice"),
                received_at=at,
                request=RevertRequest(targets=(PullRequestTarget(number=1),)),
            )
            made.append(derived_id(trigger.key, at))
            async with self.records.begin() as conn:
                await runs.start(conn, made[-1], trigger, playbook="revert", at=at)
                await runs.note(conn, made[-1], at=at, incident_id=incident.id)
                await runs.move(conn, made[-1], RunState.PREFLIGHT, at=at)
                if number:
                    await runs.move(conn, made[-1], RunState.FAILED, at=at, reason="no room")
        return made

    async def tell(self, run: StoredRun, headline: str, *details: str) -> None:
        """People were told that they are needed."""
        async with self.records.begin() as conn:
            at = self.now - timedelta(minutes=3)
            await runs.stand(
                conn, run.id, at=at, state="needs you", headline=headline, details=details
            )

    async def bisect(
        self, title: str, *, status: str = "searching", subjects: Sequence[str] = ()
    ) -> tuple[Incident, StoredRun]:
        """A bisect at work, with a posterior to look at."""
        incident, run = await self.incident(
            title, kind="bisect", state=RunState.RUNNING, severity=Severity.MEDIUM
        )
        named = list(subjects) or ["Round prices at the till", "Cache the catalogue", "Tidy up"]
        shares = [0.71, 0.16, 0.05]
        bars = [0.002] * 40
        bars[22], bars[23], bars[30] = shares
        trials = [
            TrialMade(
                name=f"t{n}",
                sha=_sha(f"{n}"),
                why="halves the range",
                reason="smoke failed" if n % 3 else "",
                outcome="fail" if n % 3 else "pass",
                seconds=31.0 + n,
                workflow_run=str(n),
                url=None,
            )
            for n in range(1, 9)
        ]
        verification = Verification(
            boundary="confirmed",
            revert="confirmed",
            runs=(
                FreshRuns(sha=_sha("c"), role="culprit", passed=0, failed=5),
                FreshRuns(sha=_sha("d"), role="parent", passed=5, failed=0),
            ),
        )
        is_found = status == "culprit"
        document = BisectProgress(
            check="unit",
            base="main",
            good=_sha("a"),
            bad=_sha("b"),
            commits=244,
            known_results=12,
            status=status,
            culprit=_sha("c") if is_found else None,
            confidence=0.991 if is_found else 0.71,
            reason="",
            p_no_culprit=0.01,
            p_before_range=0.02,
            rounds=3,
            bars=tuple(
                Bar(first=6 * n + 1, count=6, sha=_sha(f"{n}"), probability=p)
                for n, p in enumerate(bars)
            ),
            suspects=tuple(
                Suspected(sha=_sha(c), probability=p, subject=s)
                for c, p, s in zip("cde", shares, named, strict=False)
            ),
            trials=tuple(trials),
            trials_left=52,
            verification=verification if is_found else None,
            seed="18273645",
            notes=("The history is long: merges are looked into later.",),
        )
        async with self.records.begin() as conn:
            await bisects.put_progress(conn, run.id, self.repository.id, document, at=self.now)
        return incident, run

    async def ramp(self, capability: str = "llm.summarize", *, errors: float = 0.03) -> str:
        """A ramp in its second stage, with observations; its id."""
        attempt = f"ramp-{self.repository.id}-{next(_numbers)}"
        _, run = await self.incident(f"Ramp {capability}", kind="ramp", severity=Severity.LOW)
        split = Split(
            baseline="acme/model-1",
            candidate="acme/model-2",
            percent=5,
            mode="ramp",
            attempt=attempt,
            salt="7",
        )
        policy = Policy.model_validate({"baseline": "acme/model-1", "candidates": ["acme/model-2"]})
        began = self.now - timedelta(minutes=40)
        async with self.records.begin() as conn:
            await ledgers.open_log(
                conn,
                attempt=attempt,
                run_id=run.id,
                repository_id=self.repository.id,
                capability=capability,
                policy=policy,
                at=began,
                frozen=frozen(),
            )
            for part in range(12):
                at = began + timedelta(seconds=180 * part)
                if part in (0, 4):
                    if part:
                        await ledgers.enter_phase(conn, attempt, 1, at=at)
                    serving = await allocation.set_traffic(
                        conn,
                        self.repository.id,
                        capability,
                        split.model_copy(update={"percent": 25 if part else 5}),
                        allocation.Decided(
                            at=at,
                            actor="alice",
                            why="the next stage" if part else "the shadow was good",
                            run=run.id,
                        ),
                    )
                ledger = await ledgers.locked(conn, attempt)
                seen = [
                    each.model_copy(update={"capability": capability})
                    for each in observed(
                        80,
                        percent=25 if part >= 4 else 5,
                        generation=serving.generation,
                        errors=errors,
                        seed=part,
                        at=at,
                        name=attempt,
                    )
                ]
                await ledgers.append(conn, ledger, "observations", pack(seen), at=at)
        return attempt

    async def paused(self, reason: str = "the evals are red", scope: str = SELF_WORK) -> None:
        """Self-work is held."""
        async with self.records.begin() as conn:
            await pauses.pause(
                conn,
                Pausing(
                    key=f"house-{next(_numbers)}",
                    repository_id=self.repository.id,
                    scope=scope,
                    kind=PauseKind.MANUAL,
                    reason=reason,
                    by="alice",
                    at=self.now - timedelta(minutes=12),
                ),
            )

    async def config_question(self, person: Person) -> int:
        """A real pull request changes what only a Founder may; its number, once the bot knows."""
        changed: dict[str, str | None] = {".github/playbooks.yml": "caps: {reverts_a_day: 12}\n"}
        number = await person.open_pull_request("More reverts a day", changed, branch="caps")
        async with asyncio.timeout(60):
            while not await self._asked_of_a_founder():  # noqa: ASYNC110 - the bot is at work
                await asyncio.sleep(0.05)
        return number

    async def _asked_of_a_founder(self) -> bool:
        async with self.records.connect() as conn:
            return bool(await sensitive_config.waiting(conn, [self.repository.id]))

    async def spent(self) -> None:
        """Some of the caps were drawn on."""
        budget = caps(Caps())[REVERTS]
        async with self.records.begin() as conn:
            for number in range(8):
                await budgets.spend(
                    conn, self.repository.id, budget, f"house-{number}", 1, self.now
                )

    async def busy(self) -> dict[str, str]:
        """One of everything; ids by what they are for."""
        minutes, days = timedelta(minutes=1), timedelta(days=1)
        waiting, waiting_run = await self.incident(
            'Revert #4 "Faster totals"',
            severity=Severity.CRITICAL,
            ago=4 * minutes,
            state=RunState.AWAITING_APPROVAL,
            reason="the migration db/0042_drop_users.sql cannot be undone",
        )
        await self.incident(
            'Revert #7 "Cache the catalogue"', severity=Severity.HIGH, ago=9 * minutes
        )
        await self.incident(
            'Revert #9 "New checkout"',
            severity=Severity.HIGH,
            ago=31 * minutes,
            state=RunState.FAILED,
            reason="merge the hotfix: two reviews are missing",
        )
        _, red = await self.incident(
            'Revert #10 "Faster search"', severity=Severity.HIGH, ago=14 * minutes
        )
        await self.tell(
            red,
            "Look at `smoke`: only on hotfix #1005 does it fail, so I did not merge it.",
            "On `main` it was not red. Perhaps later changes need what is undone here: then revert "
            "those with it, as in `/revert #10 #…`.",
        )
        await self.incident('Revert #11 "Wording"', severity=Severity.LOW, ago=55 * minutes)
        _, bisect = await self.bisect("unit fails on main")
        for n in range(6):
            await self.incident(
                f'Revert #{n + 20} "Refactor the till, part {n}"',
                severity=list(Severity)[n % 4],
                ago=(n + 1) * days,
                state=RunState.SUCCEEDED,
                settled_after=(6 + 5 * n) * minutes,
            )
        async with self.records.begin() as conn:
            await answered.put_result(
                conn,
                waiting_run.id,
                repository_id=self.repository.id,
                actor="alice",
                outcome=answered.RequestState.REFUSED,
                at=self.now,
                text="@alice Only a Founder decides this (`olivia`).\n\nAsk for it there.",
            )
        async with self.records.begin() as conn:
            await approvals.ask(
                conn,
                waiting_run.id,
                self.repository.id,
                commit=_sha("hotfix"),
                plan_digest=_sha("plan"),
                requested_by="alice",
                at=self.now,
                expires_at=self.now + timedelta(hours=20),
            )
        attempt = await self.ramp()
        await self.paused()
        await self.spent()
        return {
            "incident": waiting.id,
            "run": bisect.id,
            "request": waiting_run.id,
            "attempt": attempt,
        }

    async def leave(self) -> None:
        """End what was only said to be at work: no engine knows of it."""
        async with self.records.begin() as conn:
            for run in await runs.list_live(conn, self.repository.id):
                if run.trigger_key.partition(":")[2].startswith("issue_comment:house-"):
                    await runs.move(conn, run.id, RunState.CANCELLED, at=self.now)

    async def _steps(self, conn: AsyncConnection, run: str, at: datetime, number: int) -> None:
        for name, undo, made in (
            ("push the hotfix branch", "delete the branch", f"refs/heads/hotfix/revert-{number}"),
            ("open the hotfix pull request", "close it", f"#{number + 1001}"),
        ):
            await steps.begin(
                conn, run, name, at=at, reversibility=Reversibility.REVERSIBLE, compensation=undo
            )
            await steps.finish(conn, run, name, at=at, external_ref=made)
        await steps.begin(
            conn,
            run,
            "merge the hotfix",
            at=at,
            reversibility=Reversibility.COMPENSATABLE,
            compensation="revert the revert",
        )

    async def _settle(
        self, conn: AsyncConnection, incident: Incident, run: str, at: datetime, after: timedelta
    ) -> None:
        await self._told(conn, incident, run, "hotfix.merged", at + after, {})
        await incidents.move(conn, incident.id, IncidentStatus.MITIGATED, at=at + 0.7 * after)
        await incidents.move(conn, incident.id, IncidentStatus.RESOLVED, at=at + after)
        await self._told(conn, incident, run, "incident.resolved", at + after, {})

    async def _told(
        self,
        conn: AsyncConnection,
        incident: Incident,
        run: str,
        action: str,
        at: datetime,
        data: dict[str, str],
    ) -> None:
        await chain.append(
            conn,
            self.repository.id,
            action,
            actor=incident.opened_by,
            at=at,
            incident=incident.id,
            run=run,
            refs={"pull_request": 4, "commit": "4f4079fee" * 4},
            data=dict(data),
        )
