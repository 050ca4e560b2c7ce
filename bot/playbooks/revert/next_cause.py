"""A hotfix that did not cure: a bisect of its own looks for the real cause (Decisions 6)."""

from __future__ import annotations

import hashlib
from datetime import datetime

from bot.playbooks.incidents.case import IncidentContext
from bot.triggers import OURSELVES, BisectRequest, Source, SourceKind, Trigger


def bisect_for(
    trigger: Trigger, case: IncidentContext, check: str, *, bad: str, now: datetime
) -> Trigger:
    """Ask for the commit that broke a check, between the last good commit and the broken one.

    The same incident asks once for the same check.

    Args:
        trigger: what asked for the revert.
        case: the revert's facts.
        check: what fails with the hotfix as it did without it.
        bad: a commit of the base branch on which it fails.
        now: the time.
    """
    named = hashlib.sha256(check.encode()).hexdigest()[:12]
    return Trigger(
        source=Source(
            kind=SourceKind.CHECK_RUN,
            object_id=f"not-cured:{case.incident}:{named}",
            url=trigger.source.url,
        ),
        repository=trigger.repository,
        actor=OURSELVES,
        received_at=now,
        request=BisectRequest(
            good=case.before,
            bad=bad,
            check=check,
            reason=f"The revert of incident {case.incident} did not cure it.",
        ),
    )
