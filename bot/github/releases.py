"""What older releases of GitHub Enterprise Server do not know, and what is done there instead.

All differences that the bot meets stand here, from 3.10 on: every request it makes was compared
with GitHub's own description of each release (https://github.com/github/rest-api-description).
Nobody is asked for its release: each difference is known by how it is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.github.errors import Unprocessable

_DOCS = "https://docs.github.com/enterprise-server"
BELIEVED_SECONDS = 3600.0
"""How long a release is taken for old: it may be upgraded while the bot runs."""


@dataclass(frozen=True)
class Novelty:
    """One thing that older releases do not know.

    Attributes:
        name: GitHub's word for it.
        since: the first release of GitHub Enterprise Server that knows it.
        before: how an older one answers.
        instead: what is done then.
        source: where GitHub says so.
    """

    name: str
    since: str
    before: str
    instead: str
    source: str


RULESETS = Novelty(
    name="rulesets",
    since="3.11",
    before="404",
    instead="no rule of one is in force (`errors.is_absent`)",
    source=f"{_DOCS}@3.11/rest/repos/rules#get-rules-for-a-branch",
)
ACTIVITY = Novelty(
    name="activity",
    since="3.11",
    before="404",
    instead="who moved a branch is not known (`GitData.pushes`)",
    source=f"{_DOCS}@3.11/rest/repos/repos#list-repository-activities",
)
MERGE_QUEUES = Novelty(
    name="merge_queue",
    since="3.12",
    before="no rule names it, and GraphQL knows none of its fields",
    instead="nothing is asked about a queue where no rule names one",
    source=f"{_DOCS}@3.12/repositories/configuring-branches-and-merges-in-your-repository/"
    "configuring-pull-request-merges/managing-a-merge-queue",
)
DELIVERY_STATUS = Novelty(
    name="status",
    since="3.17",
    before="every delivery is listed, whatever its status",
    instead="each is looked at (`Deliveries.failed`)",
    source=f"{_DOCS}@3.17/rest/apps/webhooks#list-deliveries-for-an-app-webhook",
)
RUN_DETAILS = Novelty(
    name="return_run_details",
    since="3.20",
    before='422, `"return_run_details" is not a permitted key`',
    instead="the run is dispatched without, and found by its title (`Workflows`)",
    source=f"{_DOCS}@3.19/rest/actions/workflows#create-a-workflow-dispatch-event",
)


def is_not_known(novelty: Novelty, refusal: Unprocessable) -> bool:
    """Tell whether a request was refused because its release does not know this field."""
    return f'"{novelty.name}" is not a permitted key' in refusal.said


class Lacking:
    """What this GitHub was found not to know, so that it is not refused each time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Remember by this clock: seconds since 1970."""
        self._clock = clock
        self._found: dict[Novelty, float] = {}

    def __contains__(self, novelty: Novelty) -> bool:
        """Tell whether it was found not to be known, lately."""
        at = self._found.get(novelty)
        return at is not None and abs(self._clock() - at) < BELIEVED_SECONDS

    def note(self, novelty: Novelty) -> None:
        """Remember that it is not known."""
        self._found[novelty] = self._clock()
