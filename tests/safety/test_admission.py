"""Who may have what done: the whole table, and what must hold whatever the table says."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.records.budgets import BudgetState
from bot.records.steps import Reversibility
from bot.safety.admission import (
    NEEDS,
    AdmissionFacts,
    Admitted,
    Decision,
    HoldingPause,
    Initiative,
    NeedsApproval,
    Refused,
    admit,
    initiative_of,
)
from bot.safety.self_workers import Lifting
from bot.slash_commands import PLAYBOOKS
from bot.triggers import (
    REQUESTS,
    Actor,
    ActorKind,
    Autonomy,
    PullRequestTarget,
    Repository,
    RevertRequest,
    Role,
    Source,
    SourceKind,
    Trigger,
)

HELD = HoldingPause(scope="llm", reason="answers are empty", by="alice")
CAP = "5 reverts a day"

BOTS = "Commands from bots"
ACCESS = "access to this repository"
PAUSED = "is paused by alice"
OPTED_OUT = "opted out"
OFF = "switched off"
CAPPED = "The cap of 5 reverts a day"
USED_UP = "used up"
UNDO = "cannot be undone"
PROPOSES = "only proposes"

Verdict = Literal["merge", "open", "founder", "person", "refused"]


def expected(facts: AdmissionFacts) -> tuple[Verdict, str]:
    """The table, read from its first line to its last: the first that fits decides."""
    automatic = facts.initiative is Initiative.AUTOMATIC
    person = facts.initiative is Initiative.PERSON
    may_write = facts.role in (Role.WRITE, Role.MAINTAIN, Role.ADMIN)
    forward = facts.command in ("shadow", "ramp")
    proposes = facts.autonomy is Autonomy.PROPOSE
    rows: list[tuple[bool, Verdict, str]] = [
        # when                                                    verdict    the reason says
        (facts.initiative is Initiative.BOT,                      "refused", BOTS),
        (person and not may_write,                                "refused", ACCESS),
        (forward and facts.held is not None,                      "refused", PAUSED),
        (automatic and facts.opted_out,                           "refused", OPTED_OUT),
        (automatic and facts.autonomy is Autonomy.OFF,            "refused", OFF),
        (not person and facts.cap is not None,                    "refused", CAPPED),
        (not person and facts.budget is BudgetState.EXHAUSTED,    "refused", USED_UP),
        (facts.reversibility is Reversibility.IRREVERSIBLE,       "founder", UNDO),
        (automatic and proposes and facts.command == "revert",    "person",  PROPOSES),
        (automatic and facts.autonomy is not Autonomy.MERGE,      "open",    ""),
        (True,                                                    "merge",   ""),
    ]  # fmt: skip
    return next((verdict, reason) for fits, verdict, reason in rows if fits)


def said(decision: Decision) -> tuple[Verdict, str]:
    match decision:
        case Admitted(may_merge=may_merge):
            return ("merge" if may_merge else "open"), ""
        case NeedsApproval(of=of, reason=reason, remedy=remedy):
            assert remedy
            return of, reason
        case Refused(reason=reason, remedy=remedy):
            assert remedy
            return "refused", reason


COMBINATIONS = [
    AdmissionFacts(
        command=command, initiative=initiative, role=role, reversibility=reversibility, held=held,
        budget=budget, cap=cap, opted_out=opted_out, autonomy=autonomy,
    )
    for command, initiative, role, reversibility, held, budget, cap, opted_out, autonomy in product(
        PLAYBOOKS, Initiative, Role, Reversibility, (None, HELD), BudgetState, (None, CAP),
        (False, True), Autonomy,
    )
]  # fmt: skip


def test_every_combination_has_its_decision_and_its_reason() -> None:
    assert len(COMBINATIONS) == 5 * 4 * 6 * 3 * 2 * 3 * 2 * 2 * 4
    wrong = []
    for facts in COMBINATIONS:
        verdict, reason = expected(facts)
        got, why = said(admit(facts))
        if got != verdict or reason not in why:
            wrong.append((facts, got, why))
    assert wrong == []


@pytest.mark.parametrize("command", ["close", "reopen"])
def test_a_bot_moves_an_incident_by_its_issue_and_not_while_self_work_is_paused(
    command: str,
) -> None:
    facts = AdmissionFacts(command=command, initiative=Initiative.BOT)
    assert isinstance(admit(facts), Admitted)
    held = admit(facts.model_copy(update={"easing": Lifting(has_right=False)}))
    assert isinstance(held, Refused)
    assert "no bot may resolve an incident meanwhile" in held.reason


_FACTS = st.builds(
    AdmissionFacts,
    command=st.sampled_from(sorted(NEEDS)),
    initiative=st.sampled_from(Initiative),
    role=st.sampled_from(Role),
    needed=st.none() | st.sampled_from([Role.WRITE, Role.MAINTAIN, Role.ADMIN]),
    reversibility=st.sampled_from(Reversibility),
    held=st.none() | st.just(HELD),
    budget=st.sampled_from(BudgetState),
    cap=st.none() | st.just(CAP),
    opted_out=st.booleans(),
    autonomy=st.sampled_from(Autonomy),
)
_STRENGTH: list[Verdict] = ["refused", "founder", "person", "open", "merge"]


@given(_FACTS, st.sampled_from(Role))
def test_a_lower_role_never_gets_more(facts: AdmissionFacts, role: Role) -> None:
    lower, higher = sorted((facts.role, role), key=list(Role).index)
    got = [
        _STRENGTH.index(said(admit(facts.model_copy(update={"role": each})))[0])
        for each in (lower, higher)
    ]
    assert got[0] <= got[1]


@given(_FACTS, st.sampled_from(["revert", "rollback"]), st.sampled_from(Role))
def test_a_persons_reversible_rescue_is_never_refused_for_a_limit(
    facts: AdmissionFacts, rescue: str, role: Role
) -> None:
    asked = facts.model_copy(
        update={
            "command": rescue,
            "initiative": Initiative.PERSON,
            "role": role if role.at_least(Role.WRITE) else Role.WRITE,
            "needed": None,
            "reversibility": Reversibility.REVERSIBLE,
        }
    )
    assert admit(asked) == Admitted()


@given(_FACTS)
def test_a_person_with_too_little_access_changes_nothing(facts: AdmissionFacts) -> None:
    needed = NEEDS[facts.command]
    if facts.initiative is Initiative.PERSON and not facts.role.at_least(needed):
        assert isinstance(admit(facts), Refused)


def test_asking_is_free() -> None:
    for command in ("status", "help", "correction"):
        assert admit(AdmissionFacts(command=command, initiative=Initiative.PERSON)) == Admitted()


def test_the_configuration_may_ask_for_more_than_write() -> None:
    facts = AdmissionFacts(
        command="revert", initiative=Initiative.PERSON, role=Role.WRITE, needed=Role.ADMIN
    )
    decision = admit(facts)
    assert isinstance(decision, Refused)
    assert decision.reason == "`/revert` needs admin access to this repository; you have write."


def test_a_refusal_says_what_is_needed_and_who_can_help() -> None:
    facts = AdmissionFacts(command="revert", initiative=Initiative.PERSON, role=Role.READ)
    assert admit(facts) == Refused(
        reason="`/revert` needs write access to this repository; you have read.",
        remedy="Ask someone with write access to comment the same command.",
    )


@pytest.mark.parametrize(
    ("kind", "source", "initiative"),
    [
        (ActorKind.PERSON, SourceKind.ISSUE_COMMENT, Initiative.PERSON),
        (ActorKind.PERSON, SourceKind.CHECK_RUN, Initiative.PERSON),
        (ActorKind.MACHINE, SourceKind.API, Initiative.PROGRAM),
        (ActorKind.MACHINE, SourceKind.CHECK_RUN, Initiative.AUTOMATIC),
        (ActorKind.MACHINE, SourceKind.ALERT, Initiative.AUTOMATIC),
        (ActorKind.BOT, SourceKind.ISSUE_COMMENT, Initiative.BOT),
    ],
)
def test_whose_idea_it_was(kind: ActorKind, source: SourceKind, initiative: Initiative) -> None:
    trigger = Trigger(
        source=Source(kind=source, object_id="1", subject=7),
        repository=Repository(id=1, owner="acme", name="shop", installation_id=2),
        actor=Actor(kind=kind, login="alice"),
        received_at=datetime(2026, 5, 1, tzinfo=UTC),
        request=RevertRequest(targets=(PullRequestTarget(number=7),)),
    )
    assert initiative_of(trigger) is initiative


def test_every_command_has_its_weakest_role() -> None:
    assert set(REQUESTS) == set(NEEDS)


def test_what_a_cap_refuses_is_named_as_a_person_would_ask_for_it() -> None:
    facts = AdmissionFacts(
        command="revert", initiative=Initiative.PROGRAM, cap="10 reverts a day", targets=("#7",)
    )
    refused = admit(facts)
    assert isinstance(refused, Refused)
    assert "`/revert #7`" in refused.remedy
