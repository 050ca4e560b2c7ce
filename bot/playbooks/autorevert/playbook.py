"""A check failed on the default branch: look, have it run again, and ask for what follows.

Nothing is reverted here: what follows is a Trigger of its own, judged like anybody's. Looks that
find a flake leave one audit entry and nothing else.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from functools import partial

from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.autorevert import evidence as words
from bot.playbooks.autorevert.decide import (
    BisectBetween,
    Decision,
    LeaveAlone,
    RevertCommit,
    RunAgain,
    TellPeople,
    decide,
)
from bot.playbooks.autorevert.evidence import CheckLook, RerunsAsked, look, run_again
from bot.playbooks.autorevert.ports import AutorevertResources, chain, runs
from bot.playbooks.incident.workflow import CLOCKS_DIFFER_BY
from bot.playbooks.run import Run, SignalKind, Wait, attempt, first, heard
from bot.playbooks.steps import Patch, Step, WaitPoint
from bot.records.lifecycle import RunState
from bot.triggers import (
    OURSELVES,
    BisectRequest,
    CommitTarget,
    JudgeRequest,
    PullRequestTarget,
    Request,
    RevertRequest,
    Source,
    SourceKind,
    Target,
    Trigger,
    Value,
)

RUN_TAKES = timedelta(hours=1)
"""How long a run that was asked for may take before what is known has to do."""


async def autorevert(
    run: Run, trigger: Trigger, request: JudgeRequest, parts: AutorevertResources
) -> None:
    """Judge one failing check to its end; what follows is asked for as a Trigger of its own.

    Args:
        run: the Run this is part of.
        trigger: the failure as it was heard of; it names the repository.
        request: names the check, and the default branch that it is judged on.
        parts: what is acted through.

    Raises:
        StepFailed: a step failed for good.
    """
    await _Judging(run, trigger, request, parts).to_its_end()


class _Noted(Value):
    seq: int


class _Judging:
    def __init__(
        self, run: Run, trigger: Trigger, request: JudgeRequest, parts: AutorevertResources
    ) -> None:
        self.run, self.trigger = run, trigger
        self.check, self.base = request.check, request.base
        self.parts, self.github = parts, parts.github
        self.repeats = 0
        self.awaited: dict[str, int] = {}
        self.refused: tuple[str, ...] = ()
        self.deadline: datetime | None = None
        self._recorded = False

    async def to_its_end(self) -> None:
        while True:
            now = await self.run.now()
            late = self.deadline is not None and now >= self.deadline
            if late:
                self.awaited = {}
            looked = await self._look(now, exhausted=late)
            if looked.purpose is None:
                return None
            decision = decide(looked.evidence)
            if isinstance(decision, RunAgain) and await self._run_again(decision.shas, looked, now):
                continue
            match decision:
                case RunAgain() | Wait():
                    signals = await heard(self.run, self._a_while, WaitPoint.CHECK_RERUN)
                    if first(signals, SignalKind.CANCEL):
                        decision = LeaveAlone(reason="a person cancelled it")
                        return await self._end(looked, decision, now)
                case _:
                    return await self._end(looked, decision, now)

    @property
    def _a_while(self) -> float:
        return self.parts.patience.look_again.total_seconds()

    async def _look(self, now: datetime, *, exhausted: bool) -> CheckLook:
        # What the step works with must be as it was when it was first run.
        awaited, refused, repeats = dict(self.awaited), self.refused, self.repeats

        async def read(_: bool) -> CheckLook:
            return await look(
                self.check,
                self.base,
                github=self.github,
                mirror=self.parts.mirror,
                settled=self.parts.settled,
                now=now,
                repeats=repeats,
                awaited=awaited,
                exhausted=exhausted,
                refused=refused,
            )

        return await self.run.step(Step.READ_CHECK, CheckLook, read)

    async def _run_again(self, shas: tuple[str, ...], looked: CheckLook, now: datetime) -> bool:
        """Ask for another run on these commits; False: on some of them it is too early."""
        await self._watch(shas[0], now)
        ended = {sha: looked.runs[sha] for sha in shas}

        async def ask(look_first: bool) -> RerunsAsked:
            return await run_again(self.check, ended, self.github, look_first)

        asked = await self.run.step(Step.RERUN_CHECK, RerunsAsked, ask)
        is_answered = bool(asked.before or asked.refused)
        self.repeats += is_answered
        self.awaited = dict(asked.before)
        self.refused = (*self.refused, *asked.refused)
        if is_answered or self.deadline is None:
            self.deadline = now + RUN_TAKES
        return not asked.later

    async def _watch(self, sha: str, now: datetime) -> None:
        """From now on deliveries about this commit wake the Run."""
        run, trigger, recorded = self.run.id, self.trigger, self._recorded

        async def change(conn: AsyncConnection) -> bool:
            if not recorded:
                inputs = trigger.request.model_dump(mode="json")
                await runs.start(conn, run, trigger, playbook="judge", at=now, inputs=inputs)
                for state in (RunState.PREFLIGHT, RunState.RUNNING, RunState.VERIFYING):
                    await runs.move(conn, run, state, at=now)
            await runs.watch(conn, run, at=now, head_sha=sha, pull_request=None)
            return True

        await self.run.write(Step.WATCH_COMMIT, bool, change)
        self._recorded = True

    async def _end(self, looked: CheckLook, decision: Decision, now: datetime) -> None:
        # First of all nothing further is merged; then what follows is asked for.
        await self._note(looked, decision, now)
        asked = self._asked(looked, decision, now)
        if asked is not None:

            async def put(_: bool) -> bool:
                await self.parts.put(asked)
                return True

            await self.run.step(Step.REQUEST_PLAYBOOK.of(asked.request.command), bool, put)
        elif isinstance(decision, TellPeople):
            await self._propose(looked, decision)
        await self._finish(now)

    async def _finish(self, now: datetime) -> None:
        left = [f"{each.what}: {each.why}" for each in self.run.untold.left]
        is_told = not left or not self.run.patched(Patch.REFUSALS_ARE_RECORDED)
        if is_told and not self._recorded:
            return

        async def change(conn: AsyncConnection) -> bool:
            if self._recorded:
                await runs.move(conn, self.run.id, RunState.SUCCEEDED, at=now)
            if not is_told:
                await chain.append(
                    conn,
                    self.trigger.repository.id,
                    "run.finished",
                    actor=OURSELVES.login,
                    at=now,
                    run=self.run.id,
                    refs={"check": self.check, "not_done": [*left]},
                )
            return True

        await self.run.write(Step.END_RUN, bool, change)

    def _asked(self, looked: CheckLook, decision: Decision, now: datetime) -> Trigger | None:
        """The Trigger that follows; the same evidence never asks twice for the same."""
        match decision:
            case RevertCommit(sha=sha, autonomy=autonomy, reason=seen):
                suspect = looked.evidence.suspect
                number = suspect.pull_request if suspect else None
                alone = suspect.alone if suspect else None
                target: Target = PullRequestTarget(number=alone) if alone else CommitTarget(sha=sha)
                request: Request = RevertRequest(
                    targets=(target,),
                    reason=words.reason(self.check, looked, seen),
                    severity=self.parts.severity(looked.purpose or "smoke"),
                    autonomy=autonomy,
                    about=f"check:{self.check}",
                )
                return self._trigger(f"revert:{sha}", number, looked.url, now, request)
            case BisectBetween(good=good, bad=bad, reason=seen):
                request = BisectRequest(
                    good=good,
                    bad=bad,
                    check=self.check,
                    reason=words.reason(self.check, looked, seen),
                )
                named = hashlib.sha256(self.check.encode()).hexdigest()[:12]
                return self._trigger(f"bisect:{named}:{bad}", None, looked.url, now, request)
            case _:
                return None

    def _trigger(
        self, identity: str, number: int | None, url: str | None, now: datetime, request: Request
    ) -> Trigger:
        source = Source(
            kind=SourceKind.CHECK_RUN,
            object_id=identity,
            subject=number,
            is_pull_request=number is not None,
            url=url,
        )
        return Trigger(
            source=source,
            repository=self.trigger.repository,
            actor=OURSELVES,
            received_at=now,
            request=request,
        )

    async def _propose(self, looked: CheckLook, decision: TellPeople) -> None:
        suspect = looked.evidence.suspect
        if suspect is None or suspect.pull_request is None:
            return
        number = suspect.pull_request
        named = f"#{suspect.alone}" if suspect.alone else suspect.sha
        body = words.proposal(self.check, looked, decision, named)
        key = f"judged:{suspect.sha}:{hashlib.sha256(self.check.encode()).hexdigest()[:12]}"
        since = self.trigger.received_at - CLOCKS_DIFFER_BY

        async def comment(look_first: bool) -> bool:
            await self.github.comments.ensure_comment(
                number, key=key, body=body, since=since, look_first=look_first
            )
            return True

        what = f"comment on #{number}"
        await attempt(
            self.run, Step.COMMENT_ON_PULL_REQUEST, bool, comment, what=what, otherwise=False
        )

    def _failure(self, looked: CheckLook) -> str:
        """What makes this failure one, however many commits are red with it: where it began."""
        streak = looked.evidence.streak
        if streak is None or streak.good is None:
            return self.trigger.key
        return f"{self.trigger.repository.id}:red since {streak.good}:{self.check}"

    async def _note(self, looked: CheckLook, decision: Decision, now: datetime) -> None:
        """Pause what has to be paused, and write down what was seen and decided."""
        self_work = _is_self_works_fault(looked, decision)
        is_safety = looked.purpose == "safety" and not isinstance(decision, LeaveAlone)
        change = partial(
            self._write, looked, decision, now, hold=self_work or is_safety, is_safety=is_safety
        )
        await self.run.write(Step.RECORD_JUDGEMENT, _Noted, change)

    async def _write(
        self,
        looked: CheckLook,
        decision: Decision,
        now: datetime,
        conn: AsyncConnection,
        *,
        hold: bool,
        is_safety: bool,
    ) -> _Noted:
        if hold:
            await self.parts.hold(
                conn,
                self.trigger,
                key=self._failure(looked),
                reason=words.hold_reason(self.check, looked),
                is_safety=is_safety,
                at=now,
            )
        evidence = looked.evidence
        refs: dict[str, JsonValue] = {"check": self.check}
        data: dict[str, JsonValue] = {
            "decision": decision.action,
            "reason": getattr(decision, "reason", ""),
            "purpose": looked.purpose,
            "repeats": evidence.repeats,
        }
        if evidence.streak is not None:
            sure = evidence.certainty
            refs |= {"good": evidence.streak.good, "bad": evidence.streak.bad}
            refs["suspects"] = list(evidence.streak.suspects[:20])
            data |= {"fails": evidence.streak.fails, "passes": evidence.streak.passes}
            data |= {"broken": round(sure.broken, 6), "begun": round(sure.begun, 6)}
        entry = await chain.append(
            conn,
            self.trigger.repository.id,
            "check.judged",
            actor=OURSELVES.login,
            at=now,
            run=self.run.id,
            refs=refs,
            data=data,
        )
        return _Noted(seq=entry.seq)


def _is_self_works_fault(looked: CheckLook, decision: Decision) -> bool:
    suspect = looked.evidence.suspect
    return isinstance(decision, RevertCommit) and suspect is not None and suspect.is_self_work
