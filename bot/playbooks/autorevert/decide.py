"""What follows from a check that fails on the default branch? One pure decision, with its reason.

An innocent change must never be reverted for a flake, so one failure moves nothing: the check is
run again, on the commit that failed and on the one before it that passed, as often as its own past
makes necessary. Only a single suspect is reverted; among several the culprit is looked for
(docs/decisions/0004, docs/decisions/0005, docs/decisions/0007).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from bot.logs import explained
from bot.playbooks.checks.streak import CERTAIN, LIKELY, MOST, Certainty, Streak, weigh
from bot.playbooks.run import Wait
from bot.triggers import Autonomy, Value

UNLIKELY = 0.1
"""Below this it was a flake."""

Purpose = Literal["smoke", "evals", "slo", "safety"]
"""What a check is configured as."""


class SoleSuspect(Value):
    """The only change that may have begun it, as far as a revert is concerned."""

    sha: str
    age: timedelta
    pull_request: int | None = None
    together: tuple[int, ...] = ()
    """All the pull requests that came with it, where those are several."""
    is_mixed: bool = False
    """Commits came with it that belong to no pull request."""
    is_self_work: bool = False
    """All of it is; it is a person's work as soon as some of it is."""
    is_opted_out: bool = False
    """It carries the label `playbook:off`."""
    is_hotfix: bool = False
    """It is a hotfix of ours: taking it back brings an older breakage back."""
    is_reverted: bool = False

    @property
    def alone(self) -> int | None:
        """The only pull request whose work it is; None: it can only be named by its SHA."""
        return None if self.together or self.is_mixed else self.pull_request


class CheckEvidence(Value):
    """Everything the decision rests on, read just now.

    Attributes:
        streak: the failing end of the branch; None where it ends in a pass, or is not `seen`.
        seen: whether any run of the check was found on the branch.
        is_running: a run of the check on the bad commit is under way.
        suspect: the facts about the streak's only suspect, where there is one.
        autonomy: how far automatic reverts may go here, as configured.
        young: how old a change may be to be reverted by itself.
        repeats: how often we asked for runs again.
        can_repeat: the commits among good and bad on which GitHub lets us run it once more; None:
            both.
        decides: whether the check is among those that decide about the hotfix.
        can_try: whether commits can be tried again, as the bisect is configured.
    """

    streak: Streak | None
    seen: bool = True
    is_running: bool = False
    suspect: SoleSuspect | None = None
    autonomy: Autonomy = Autonomy.MERGE
    young: timedelta = timedelta(hours=24)
    repeats: int = Field(default=0, ge=0)
    can_repeat: frozenset[str] | None = None
    decides: bool = True
    can_try: bool = False

    @property
    def certainty(self) -> Certainty:
        """How sure it is; where the check decides about the hotfix, given that it passes there.

        A hotfix on which it fails is never merged.
        """
        found = self.streak
        if found is None:
            return Certainty(broken=0.0, begun=0.0)
        nearest, *further = found.before or (0,)
        nearest += self.decides
        return weigh(found.fails, found.passes, (nearest, *further), found.record)


class LeaveAlone(Value):
    """Leave it."""

    action: Literal["nothing"] = "nothing"
    reason: str


class RunAgain(Value):
    """Have the check run once more on each of these commits."""

    action: Literal["run again"] = "run again"
    shas: tuple[str, ...]


class TellPeople(Value):
    """Tell people what the evidence is, and change nothing."""

    action: Literal["propose"] = "propose"
    reason: str


class RevertCommit(Value):
    """Revert this commit; with `open` a person has it merged, with `propose` has it begin."""

    action: Literal["revert"] = "revert"
    sha: str
    autonomy: Autonomy
    reason: str


class BisectBetween(Value):
    """Look for the culprit between these two."""

    action: Literal["bisect"] = "bisect"
    good: str
    bad: str
    reason: str


Decision = Annotated[
    LeaveAlone | Wait | RunAgain | TellPeople | RevertCommit | BisectBetween,
    Field(discriminator="action"),
]


@explained
def decide(evidence: CheckEvidence) -> Decision:
    """Decide what follows from the evidence as it is now."""
    streak = evidence.streak
    if evidence.autonomy is Autonomy.OFF:
        return LeaveAlone(reason="automatic action is switched off here")
    if streak is None and not evidence.seen:
        return LeaveAlone(reason="no run of the check is seen on this branch")
    if streak is None:
        return LeaveAlone(reason="the check passes again")
    if evidence.is_running:
        return Wait(missing=("a run of the check is under way",))
    if streak.good is None:
        return LeaveAlone(reason="the check has not passed on this branch lately")
    if not streak.suspects:
        return LeaveAlone(reason="nothing but records of incidents changed since it passed")
    if evidence.certainty.broken < UNLIKELY:
        return LeaveAlone(reason=f"it flaked: {_counted(streak)}")
    if (again := _worth_repeating(evidence, streak, streak.good)) and evidence.repeats < MOST:
        return RunAgain(shas=again)
    if evidence.suspect is None:
        return _among_several(evidence, streak, streak.good)
    return _about(evidence.suspect, evidence, streak, streak.good)


def _worth_repeating(evidence: CheckEvidence, streak: Streak, good: str) -> tuple[str, ...]:
    """Where another run would tell more: both at once, since each may take long."""
    sure = evidence.certainty
    wanted = [streak.bad] if sure.broken < CERTAIN else []
    if sure.begun < CERTAIN and (not wanted or sum(streak.before[:1]) < 2):
        wanted.append(good)
    can = evidence.can_repeat
    return tuple(sha for sha in wanted if can is None or sha in can)


def _among_several(evidence: CheckEvidence, streak: Streak, good: str) -> Decision:
    reason = f"{_counted(streak)}, and {len(streak.suspects)} changes came since it passed"
    reproduced = streak.fails > 1 and evidence.certainty.broken >= LIKELY
    if evidence.autonomy is Autonomy.PROPOSE or not (reproduced or evidence.can_try):
        return TellPeople(reason=reason)
    return BisectBetween(good=good, bad=streak.bad, reason=reason)


def _about(suspect: SoleSuspect, evidence: CheckEvidence, streak: Streak, good: str) -> Decision:
    seen = f"{_counted(streak)}, and it passed on {good[:7]} before"
    if suspect.is_reverted:
        return LeaveAlone(reason="the change is reverted already")
    if suspect.is_hotfix:
        return TellPeople(reason=f"{seen}; the change is itself a hotfix")
    if suspect.is_opted_out:
        return TellPeople(reason=f"{seen}; the pull request is opted out of automatic action")
    proposes = evidence.autonomy is Autonomy.PROPOSE
    if evidence.certainty.begun < LIKELY or streak.fails < 2:
        if evidence.can_try and not proposes:
            return BisectBetween(
                good=good, bad=streak.bad, reason=f"{seen}; it could not be run again"
            )
        return TellPeople(reason=f"{seen}; it could not be run again, so it may be a flake")
    if suspect.age > evidence.young:
        if proposes:
            return TellPeople(reason=f"{seen}; the change is too old to blame right away")
        return BisectBetween(
            good=good,
            bad=streak.bad,
            reason=f"{seen}; the change is too old to blame right away",
        )
    most = Autonomy.MERGE if suspect.is_self_work else Autonomy.OPEN
    if evidence.certainty.begun < CERTAIN:
        most = Autonomy.OPEN
    return RevertCommit(sha=suspect.sha, autonomy=evidence.autonomy.at_most(most), reason=seen)


def _counted(streak: Streak) -> str:
    runs = streak.fails + streak.passes
    if runs == 1:
        return "it failed once"
    return f"it failed in {streak.fails} of {runs} runs"
