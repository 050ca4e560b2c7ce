"""What earlier attempts at the same incident have tried already: nothing of it is tried again."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.culprit.evidence import FreeResult, TrialOutcome, TrialReport
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.records import bisect_progress, runs
from bot.records.documents.bisect_report import TrialMade

_SAID = frozenset({"pass", "fail", "untestable"})


async def earlier_trials(run: Run, incident: str) -> tuple[TrialMade, ...]:
    """Read the trials of earlier attempts that said something of a commit.

    Each is named by its attempt too, such as `3@1`: the third trial of the first attempt.
    """

    async def read(conn: AsyncConnection) -> list[TrialMade]:
        found = []
        earlier = [each for each in await runs.of_incident(conn, incident) if each.id != run.id]
        for attempt, each in enumerate(earlier, 1):
            shown = await bisect_progress.of_run(conn, each.id)
            found += [
                trial.model_copy(update={"name": f"{trial.name}@{attempt}"})
                for trial in (shown.trials if shown else ())
                if trial.outcome in _SAID
            ]
        return found

    return tuple(await run.write(Step.READ_EARLIER_TRIALS, list[TrialMade], read))


def as_evidence(trials: Sequence[TrialMade]) -> tuple[FreeResult, ...]:
    """Turn them into evidence: each was made on a machine of its own."""
    return tuple(
        FreeResult(
            each.sha, TrialReport(TrialOutcome(each.outcome)), environment=f"fresh-{each.name}"
        )
        for each in trials
        if each.outcome in _SAID
    )
