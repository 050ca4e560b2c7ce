"""What follows from alerts that fire? One pure decision, by whom they name.

The rules: docs/decisions/0007.

A pull request or commit that is named may be reverted, a capability is rolled back. Where nothing
is named, the only change of the last while is a suspect: its revert is prepared, and a person has
it merged; among several the culprit is looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from bot.logs import explained
from bot.playbooks.autorevert.decide import SoleSuspect
from bot.records.alerts import Condition, Said
from bot.triggers import Autonomy, Severity, Value

BAD_ENOUGH = (Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
"""Something is done by itself only from here on."""
_MOST_COMMANDS = 5
_SETTLING = 4
_LONGEST_CALM = timedelta(minutes=30)
WITHOUT_A_SIGN = (Severity.HIGH, Severity.CRITICAL)
"""An alert that names nothing and says not even what sort it is must at least be this bad."""


class AlertEvidence(Value):
    """What the decision rests on.

    Attributes:
        conditions: those that fire.
        autonomy: how far automatic action may go here, as configured.
        named: the change that is named, as a revert sees it, if there is one.
        suspects: where nothing is named: what was merged shortly before, as single changes.
        is_known: whether the capability that is named is configured, or has something to take
            back.
    """

    conditions: tuple[Condition, ...]
    autonomy: Autonomy = Autonomy.MERGE
    named: SoleSuspect | None = None
    suspects: tuple[SoleSuspect, ...] = ()
    is_known: bool = True


class LeaveIt(Value):
    """People decide. `reason` is said on the incident.

    Attributes:
        reason: why nothing is done by itself.
        commands: what a person may comment to have it done.
        capability: whose traffic they are asked about, because here only proposals are made.
    """

    action: Literal["leave it"] = "leave it"
    reason: str
    commands: tuple[str, ...] = ()
    capability: str | None = None


class RevertIt(Value):
    """Revert this change; with `open`, a person has it merged."""

    action: Literal["revert"] = "revert"
    sha: str
    pull_request: int | None
    autonomy: Autonomy
    reason: str


class RollBackCapability(Value):
    """Give the traffic of this capability back."""

    action: Literal["roll back"] = "roll back"
    capability: str
    reason: str


class LookForIt(Value):
    """Bisect the default branch."""

    action: Literal["bisect"] = "bisect"
    reason: str


Following = Annotated[
    LeaveIt | RevertIt | RollBackCapability | LookForIt, Field(discriminator="action")
]


def naming(conditions: Sequence[Condition]) -> Said | None:
    """The word of the condition that names somebody, a change before a capability."""
    said = [each.said for each in conditions]
    for names in ("pull_request", "commit", "capability"):
        for each in said:
            if getattr(each, names) is not None:
                return each
    return None


@explained
def what_follows(evidence: AlertEvidence) -> Following:
    """Decide what is done about alerts that fire."""
    severities = {each.said.severity for each in evidence.conditions}
    named = naming(evidence.conditions)
    if evidence.autonomy is Autonomy.OFF:
        reason = "automatic action is switched off here"
        return LeaveIt(reason=reason, commands=_by_hand(named, evidence))
    if not severities & set(BAD_ENOUGH):
        return LeaveIt(reason="no alert in the group is more severe than low")
    if named is None:
        return _suspicion(evidence, severities)
    reason = f"an alert names it: {named.title}"
    if named.pull_request is None and named.commit is None:
        return _of_capability(named.capability or "", evidence, reason)
    return _of_change(evidence, named, reason)


def _of_capability(capability: str, evidence: AlertEvidence, reason: str) -> Following:
    if not evidence.is_known:
        return LeaveIt(reason=f"the capability {capability} is not configured here")
    if evidence.autonomy is Autonomy.PROPOSE:
        return LeaveIt(
            reason="automatic action only proposes here",
            commands=(f"/rollback {capability}",),
            capability=capability,
        )
    return RollBackCapability(capability=capability, reason=reason)


def _of_change(evidence: AlertEvidence, named: Said, reason: str) -> Following:
    suspect = evidence.named
    if suspect is None:
        what = f"#{named.pull_request}" if named.pull_request else (named.commit or "")[:7]
        return LeaveIt(reason=f"{what} is no merged change of the default branch")
    if suspect.is_reverted:
        return LeaveIt(reason="the change that is named is reverted already")
    if suspect.is_opted_out:
        reason = "the pull request that is named is opted out of automatic action"
        return LeaveIt(reason=reason, commands=_by_hand(named, evidence))
    if suspect.is_hotfix:
        return LeaveIt(reason="the change that is named is itself a hotfix")
    most = Autonomy.MERGE if suspect.is_self_work else Autonomy.OPEN
    return _revert(suspect, evidence.autonomy.at_most(most), reason)


def _suspicion(evidence: AlertEvidence, severities: set[Severity]) -> Following:
    signals = {each.said.signal for each in evidence.conditions}
    if "budget.overrun" in signals:
        return LeaveIt(reason="the report does not say what spent it")
    if signals == {"alert"} and not severities & set(WITHOUT_A_SIGN):
        return LeaveIt(reason="the alert names no change, and is not bad enough to suspect one")
    standing = [each for each in evidence.suspects if not each.is_reverted]
    if not standing:
        return LeaveIt(reason="nothing was merged shortly before")
    if len(standing) > 1:
        if evidence.autonomy is Autonomy.PROPOSE:
            return LeaveIt(
                reason="several changes were merged shortly before",
                commands=tuple(_revert_by_hand(each) for each in standing[:_MOST_COMMANDS]),
            )
        return LookForIt(reason=f"{len(standing)} changes were merged shortly before")
    [suspect] = standing
    if suspect.is_opted_out or suspect.is_hotfix:
        return LeaveIt(reason="the only change merged shortly before is left alone")
    autonomy = evidence.autonomy.at_most(Autonomy.OPEN)
    reason = f"it is all that was merged shortly before: {evidence.conditions[0].said.title}"
    return _revert(suspect, autonomy, reason)


def _by_hand(named: Said | None, evidence: AlertEvidence) -> tuple[str, ...]:
    """What a person may comment to have done what an alert asks for."""
    if named is not None and evidence.named is not None and not evidence.named.is_reverted:
        return (_revert_by_hand(evidence.named),)
    if named is not None and named.capability is not None and evidence.is_known:
        return (f"/rollback {named.capability}",)
    return ()


def _revert_by_hand(suspect: SoleSuspect) -> str:
    return f"/revert #{suspect.alone}" if suspect.alone else f"/revert {suspect.sha}"


def _revert(suspect: SoleSuspect, autonomy: Autonomy, reason: str) -> Following:
    return RevertIt(sha=suspect.sha, pull_request=suspect.alone, autonomy=autonomy, reason=reason)


def calm_before_end(usual_wait: timedelta, times: int) -> timedelta:
    """How long everything has to stay clear before an incident is over: alerts flap.

    A quarter of the usual wait; each time it began again, twice as long as the time before, up to
    half an hour. Else what flaps all day would close and reopen its issue all day.

    Args:
        usual_wait: how long is waited for a word while something fires.
        times: how often the incident has begun, this time included.
    """
    # More doublings than these are above the limit anyway, and may not be a timedelta any more.
    return min(usual_wait / _SETTLING * (1 << min(times - 1, 20)), _LONGEST_CALM)
