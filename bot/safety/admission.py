"""May this be done now, by this caller, for this plan? Pure.

Rescue comes first (docs/decisions/0003): a reversible recovery that a person with write access asks
for is never refused for budgets, caps, a pause or an opt-out. Those bind what nobody asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Literal

from bot import markdown
from bot.logs import explained
from bot.playbooks.plan import Weighed
from bot.playbooks.steps import PlannedStep, worst
from bot.records.budgets import Budget, BudgetState
from bot.records.steps import Reversibility
from bot.safety.self_workers import Lifting
from bot.slash_commands import ADVANCING, ENTRIES, PLAYBOOKS
from bot.triggers import ActorKind, Autonomy, Role, SourceKind, Target, Trigger, Value

NEEDS: Mapping[str, Role] = {
    "correction": Role.NONE,
    "judge": Role.NONE,
    "triage": Role.NONE,
    "close": Role.WRITE,
    "reopen": Role.WRITE,
    **{entry.name: entry.who for entry in ENTRIES},
}
"""The weakest role that may ask for each request."""

_DEEDS = {
    "close": "Resolving an incident by closing its issue",
    "reopen": "Taking up an incident by reopening its issue",
}
"""What is asked for by a deed, not by a word."""

_EASES = {
    "cancel": "cancel what is under way",
    "reject": "refuse what is asked",
    "close": "resolve an incident",
    "severity": "lower an incident's severity",
}
"""What brings the end of a pause nearer: it waits for incidents that are high or critical."""
_MOST_NAMED = 5


class Initiative(StrEnum):
    """Whose idea it was."""

    PERSON = "person"
    PROGRAM = "program"
    """Somebody's program, with a token of the HTTP API."""
    AUTOMATIC = "automatic"
    """A signal: nobody asked."""
    BOT = "bot"
    """Another App: only that it closed or opened an incident's issue is heard."""


class HoldingPause(Value):
    """The pause that concerns a request."""

    scope: str
    reason: str
    by: str


class AdmissionFacts(Value):
    """Everything an admission rests on.

    Attributes:
        command: what is asked for, without its slash.
        initiative: whose idea it was.
        role: a person's role on the repository, read from GitHub just now.
        needed: the weakest role the repository's configuration asks for, where it asks for more.
        reversibility: of the worst step planned; before there is a plan, what is usual.
        held: the pause of the capability it is about, if there is one.
        budget: the fullest of the budgets it draws on.
        cap: a cap that is reached, in words, say `5 hotfix PRs a day`.
        draws_on: the caps that beginning it is counted against, with their limits as of now.
        opted_out: whether `playbook:off` stands on what it is about.
        autonomy: how far automatic action may go here.
        prefix_only: whether comments count only where they name us, as in `/playbooks revert`.
        meant: what a revert that names one of our own hotfixes or incidents is about.
        joins: the incident that it is about, where that is still looking for what to revert.
        targets: what it is about, as it is written after the command.
        easing: whether the asker may ease a pause of self-work; read only while there is one, for
            what would bring its end nearer.
    """

    command: str
    initiative: Initiative
    role: Role = Role.NONE
    needed: Role | None = None
    reversibility: Reversibility = Reversibility.REVERSIBLE
    held: HoldingPause | None = None
    budget: BudgetState = BudgetState.OK
    cap: str | None = None
    draws_on: tuple[Budget, ...] = ()
    opted_out: bool = False
    autonomy: Autonomy = Autonomy.OPEN
    prefix_only: bool = False
    meant: tuple[Target, ...] = ()
    joins: str | None = None
    targets: tuple[str, ...] = ()
    easing: Lifting | None = None


class Admitted(Value):
    """Go ahead. `may_merge` is False where a person decides about the merge."""

    kind: Literal["admitted"] = "admitted"
    may_merge: bool = True


class NeedsApproval(Value):
    """Only after a yes: of the Founder, or of any person with write access."""

    kind: Literal["needs approval"] = "needs approval"
    of: Literal["founder", "person"]
    reason: str
    remedy: str


class Refused(Value):
    """Not now, or not by this caller. `reason` says why, `remedy` what can be done instead."""

    kind: Literal["refused"] = "refused"
    reason: str
    remedy: str


Decision = Admitted | NeedsApproval | Refused


def initiative_of(trigger: Trigger) -> Initiative:
    """Tell whose idea a Trigger is."""
    match trigger.actor.kind:
        case ActorKind.PERSON:
            return Initiative.PERSON
        case ActorKind.BOT:
            return Initiative.BOT
        case ActorKind.MACHINE:
            # What a Run of ours asks for follows from what was admitted before.
            follows = trigger.source.kind is SourceKind.RUN
            is_automatic = trigger.is_automatic and not follows
            return Initiative.AUTOMATIC if is_automatic else Initiative.PROGRAM


@explained
def admit(facts: AdmissionFacts) -> Decision:
    """Decide whether a request may go on, and how far.

    The order of the rules is the order of what a refusal should say first: who may ask, then what
    is held, then the limits, then what needs a yes.
    """
    for rule in (_who_may_ask, _whose_work_is_held, _what_is_held, _limits, _what_cannot_be_undone):
        if decision := rule(facts):
            return decision
    if facts.initiative is not Initiative.AUTOMATIC or facts.command not in PLAYBOOKS:
        return Admitted()
    # A bisect only learns, and then names; a rollback rescues: neither waits for a yes.
    if facts.autonomy is Autonomy.PROPOSE and facts.command == "revert":
        return NeedsApproval(
            of="person",
            reason="Automatic action only proposes here (`triggers.autonomy: propose`).",
            remedy="A person with write access comments `/approve` or `/reject`.",
        )
    return Admitted(may_merge=facts.autonomy is Autonomy.MERGE)


def _who_may_ask(facts: AdmissionFacts) -> Refused | None:
    if facts.initiative is Initiative.BOT:
        if facts.command in _DEEDS:
            # GitHub let it: the owner gave that App the right, and shows what it did.
            return None
        return Refused(
            reason="Commands from bots are not carried out.",
            remedy="Ask a person with write access, or use the HTTP API with its own token.",
        )
    needed = max(NEEDS[facts.command], facts.needed or Role.NONE, key=list(Role).index)
    if facts.initiative is not Initiative.PERSON or facts.role.at_least(needed):
        return None
    deed = _DEEDS.get(facts.command)
    return Refused(
        reason=f"{deed or f'`/{facts.command}`'} needs {needed} access to this repository; "
        f"you have {'none' if facts.role is Role.NONE else facts.role}.",
        remedy=f"Ask someone with {needed} access to "
        f"{'do the same' if deed else 'comment the same command'}.",
    )


def _whose_work_is_held(facts: AdmissionFacts) -> Refused | None:
    """Whoever writes self-work does not bring the end of its pause nearer."""
    if facts.easing is None or facts.easing.may:
        return None
    if facts.initiative is Initiative.BOT:
        return Refused(
            reason="Self-work is paused, and no bot may resolve an incident meanwhile: whoever is "
            "held may be behind it. The incident stays as it is.",
            remedy="Somebody with write access who wrote no self-work lately opens the issue "
            "again and closes it.",
        )
    held, deed = facts.easing.held, _EASES.get(facts.command, "do this")
    yours = "`self_work.authors` names you"
    if held is not None and held.number is not None:
        yours = f"#{held.number} is self-work that you wrote"
    others = [f"`{login}`" for login in facts.easing.others[:_MOST_NAMED]]
    return Refused(
        reason=f"Self-work is paused, and nobody whose work is held may {deed}: {yours}. "
        "The incident stays as it is.",
        remedy=f"Ask one of these: {', '.join(others)}."
        if others
        else "Ask somebody with write access who wrote no self-work lately.",
    )


def _what_is_held(facts: AdmissionFacts) -> Refused | None:
    if facts.held is None or facts.command not in ADVANCING:
        return None
    return Refused(
        reason=f"`{facts.held.scope}` is paused by {facts.held.by}: {facts.held.reason}",
        remedy=f"When it is safe: `/unpause {facts.held.scope}`, then ask again.",
    )


def _limits(facts: AdmissionFacts) -> Refused | None:
    """What binds a program's and automatic action, and never a person's."""
    if facts.command not in PLAYBOOKS or facts.initiative is Initiative.PERSON:
        return None
    asked = " ".join(("/" + facts.command, *facts.targets))
    by_hand = f"A person with write access can still comment {markdown.code(asked)}."
    if facts.initiative is Initiative.AUTOMATIC and facts.opted_out:
        return Refused(
            reason="Automatic action is opted out of here (label `playbook:off`).", remedy=by_hand
        )
    if facts.initiative is Initiative.AUTOMATIC and facts.autonomy is Autonomy.OFF:
        return Refused(
            reason="Automatic action is switched off here (`triggers.autonomy: off`).",
            remedy=by_hand,
        )
    if facts.cap is not None:
        return Refused(reason=f"The cap of {facts.cap} is reached.", remedy=by_hand)
    if facts.budget is BudgetState.EXHAUSTED:
        return Refused(reason="The budget this would draw on is used up.", remedy=by_hand)
    return None


def _what_cannot_be_undone(facts: AdmissionFacts) -> NeedsApproval | None:
    if facts.command not in PLAYBOOKS or facts.reversibility is not Reversibility.IRREVERSIBLE:
        return None
    return NeedsApproval(
        of="founder",
        reason="A step of this plan cannot be undone.",
        remedy="A Founder reads the plan, then comments `/approve` or `/reject`.",
    )


@explained
def weigh(facts: AdmissionFacts, steps: Sequence[PlannedStep]) -> Weighed:
    """Admit a plan, or say whose yes it needs.

    Args:
        facts: what the request was admitted on.
        steps: of the plan.
    """
    match admit(facts.model_copy(update={"reversibility": worst(steps)})):
        case Admitted(may_merge=may_merge):
            return Weighed(may_merge=may_merge)
        case NeedsApproval(of=of, reason=reason, remedy=remedy):
            return Weighed(of=of, may_merge=False, reason=reason, remedy=remedy)
        case Refused(reason=reason, remedy=remedy):
            return Weighed(refused=True, may_merge=False, reason=reason, remedy=remedy)
