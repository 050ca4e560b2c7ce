"""From what follows from alerts to the Trigger that asks for it. Pure."""

from __future__ import annotations

from datetime import datetime

from bot.playbooks.alerts import messages as words
from bot.playbooks.alerts.decide import Following, LookForIt, RevertIt, RollBackCapability
from bot.playbooks.alerts.messages import AlertFacts
from bot.triggers import (
    OURSELVES,
    BisectRequest,
    CommitTarget,
    PullRequestTarget,
    Request,
    RevertRequest,
    RollbackRequest,
    Source,
    SourceKind,
    Target,
    Trigger,
)

_LONGEST_TOPIC = 500


def trigger_for(
    following: Following, facts: AlertFacts, alert: Trigger, *, run: str, at: datetime
) -> Trigger | None:
    """Make the Trigger that follows; None where people decide.

    A revert of one commit is asked for once, whatever alert names it; the rest once each time the
    alerts fire anew.

    Args:
        following: what was decided.
        facts: the incident; answers go to its issue.
        alert: the Trigger that is triaged.
        run: the first Run that followed them this time.
        at: now.
    """
    reason = f"alert {words.title(facts.group)}: {getattr(following, 'reason', '')}"
    match following:
        case RevertIt(sha=sha, pull_request=number, autonomy=autonomy):
            named: Target = PullRequestTarget(number=number) if number else CommitTarget(sha=sha)
            request: Request = RevertRequest(
                targets=(named,),
                reason=reason,
                severity=facts.severity,
                autonomy=autonomy,
                about=facts.group.group_key[:_LONGEST_TOPIC],
            )
            identity = f"revert:{sha}"
        case RollBackCapability(capability=capability):
            request = RollbackRequest(capability=capability, reason=reason, severity=facts.severity)
            identity = f"rollback:{capability}:{run}"
        case LookForIt():
            request, identity = BisectRequest(reason=reason), f"bisect:{run}"
        case _:
            return None
    return Trigger(
        source=Source(
            kind=SourceKind.ALERT,
            object_id=identity,
            subject=facts.issue,
            url=alert.source.url,
        ),
        repository=alert.repository,
        actor=OURSELVES,
        received_at=at,
        request=request,
    )
