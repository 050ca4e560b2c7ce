"""What a rollback and the others say to each other: an anomaly, and the plan that follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from bot.playbooks.candidate.capability import RolloutResources
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.records.documents.rollback_report import Reshadow
from bot.traffic.evidence_log import BreachFound
from bot.triggers import OURSELVES, RollbackRequest, Source, SourceKind, Trigger

REPORTED = "reported"
"""How an anomaly is named that came as an alert or a person's word: nothing was measured."""


_ASKED = "Asked for by "


def reported_by(login: str, reason: str | None) -> BreachFound:
    """What a person or an alert says is wrong; where they gave no reason, that they asked."""
    return BreachFound(metric=REPORTED, evidence=reason or f"{_ASKED}{login}.")


def why_taken_back(metric: str, evidence: str) -> str:
    """Say why traffic went back (plain text): what was measured, or the reason somebody gave."""
    if metric != REPORTED or evidence.startswith(_ASKED):
        return evidence
    return f"Reason given: {evidence}"


def is_reported(breach: BreachFound) -> bool:
    """Tell whether a rollback found this anomaly itself, so that it need not be asked for."""
    return breach.metric == REPORTED


async def ask_for_rollback(
    run: Run, trigger: Trigger, capability: str, breach: BreachFound, parts: RolloutResources
) -> None:
    """Start the rollback of what this Run watched; asked twice it is the same rollback."""
    request = Trigger(
        source=Source(kind=SourceKind.RUN, object_id=run.id),
        repository=trigger.repository,
        actor=OURSELVES,
        received_at=await run.now(),
        request=RollbackRequest(capability=capability, reason=breach.evidence),
    )

    async def ask(_: bool) -> bool:
        await parts.ask(request)
        return True

    await run.step(Step.REQUEST_ROLLBACK, bool, ask)


def plan_refs(candidate: str | None, plan: Reshadow) -> dict[str, JsonValue]:
    """Write a plan to re-shadow for the audit chain, where the next shadow finds it."""
    return {"reshadow": {"candidate": candidate, **plan.model_dump(mode="json")}}


def planned_pairs(written: Iterable[Mapping[str, JsonValue]], candidate: str) -> int:
    """Read how many pairs the last plan wants of this candidate; 0 where none says so."""
    for refs in written:
        plan = refs.get("reshadow")
        if isinstance(plan, dict) and plan.get("candidate") == candidate and plan.get("needed"):
            pairs = plan.get("min_pairs")
            return pairs if isinstance(pairs, int) else 0
    return 0
