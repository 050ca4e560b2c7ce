"""What a bisect decides without looking at anything: how far it goes, and what is run."""

from __future__ import annotations

from typing import Any

import pytest

from bot.config import BisectConfig, Config, parse_config
from bot.culprit.evidence import SearchSettings, TrialOutcome, TrialReport
from bot.culprit.graph import CommitGraph
from bot.culprit.search import Search
from bot.github.models import PullRequest
from bot.playbooks.bisect.finding import with_budget
from bot.playbooks.bisect.runners import commands_for
from bot.playbooks.plan import how_far
from bot.triggers import OURSELVES, Actor, ActorKind, Autonomy, Source, SourceKind, Trigger
from tests.records.examples import trigger

PERSON = trigger()
PROGRAM = PERSON.model_copy(
    update={
        "actor": Actor(kind=ActorKind.MACHINE, login="robot"),
        "source": Source(kind=SourceKind.API, object_id="1"),
    }
)
NOBODY = PERSON.model_copy(
    update={"actor": OURSELVES, "source": Source(kind=SourceKind.CHECK_RUN, object_id="1")}
)
POINT: dict[str, Any] = {"ref": "main", "sha": "a" * 40, "repo": {"id": 1}}


def pull(*labels: str) -> PullRequest:
    return PullRequest.model_validate(
        {
            "number": 1, "id": 1, "node_id": "x", "title": "t", "state": "closed",
            "head": POINT, "base": POINT, "user": {"login": "bob", "id": 1, "type": "User"},
            "html_url": "https://github.example/1", "labels": [{"name": name} for name in labels],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "culprit", "config", "far"),
    [
        (PERSON, pull("self-work"), "", Autonomy.OPEN),
        (PROGRAM, pull("self-work"), "", Autonomy.OPEN),
        (NOBODY, pull("self-work"), "", Autonomy.MERGE),
        (NOBODY, pull(), "", Autonomy.OPEN),
        (NOBODY, None, "", Autonomy.OPEN),
        (NOBODY, pull(), "self_work: {authors: [bob]}", Autonomy.MERGE),
        (NOBODY, pull("self-work"), "triggers: {autonomy: open}", Autonomy.OPEN),
        (NOBODY, pull("self-work"), "triggers: {autonomy: propose}", Autonomy.PROPOSE),
        (NOBODY, pull("self-work"), "triggers: {autonomy: off}", Autonomy.OFF),
    ],
)
def test_how_far_a_fix_goes_by_itself(
    asked: Trigger, culprit: PullRequest | None, config: str, far: Autonomy
) -> None:
    culprits = () if culprit is None else (culprit,)
    assert how_far(asked, culprits, parse_config(config)) is far


def test_what_automatic_action_is_kept_off_is_proposed_at_most() -> None:
    config, culprits = parse_config(""), (pull("self-work", "Playbook:Off"),)
    # Whose word the label is, is read where it is read.
    assert how_far(NOBODY, culprits, config) is Autonomy.MERGE
    assert how_far(NOBODY, culprits, config, opted_out=True) is Autonomy.PROPOSE


def test_what_came_with_a_persons_work_is_no_self_work() -> None:
    config = parse_config("")
    assert how_far(NOBODY, (pull("self-work"), pull()), config) is Autonomy.OPEN
    assert how_far(NOBODY, (pull("self-work"),), config, mixed=True) is Autonomy.OPEN
    assert how_far(NOBODY, (pull("self-work"), pull("self-work")), config) is Autonomy.MERGE


@pytest.mark.parametrize(
    ("check", "run"),
    [
        (None, (("smoke",), ("evals",))),
        ("unit", (("smoke",),)),
        ("quality", (("evals",),)),
    ],
)
def test_what_is_run_follows_from_the_check(
    check: str | None, run: tuple[tuple[str, ...], ...]
) -> None:
    settings = BisectConfig.model_validate(
        {"runner": "sandbox", "commands": {"build": ["b"], "smoke": ["smoke"], "evals": ["evals"]}}
    )
    plan = commands_for(settings, check, evals=("quality",))
    assert (plan.build, plan.commands) == (("b",), run)


def test_evals_alone_are_enough_to_try_a_commit() -> None:
    settings = parse_config("bisect: {runner: sandbox, commands: {evals: [e]}}").bisect
    assert commands_for(settings, "unit", evals=()).commands == (("e",),)
    assert not Config().bisect.can_try


def test_a_search_goes_on_whatever_signs_the_names_in_it_have() -> None:
    graph = CommitGraph.build({"b": ("a",), "a": ("g",)}, "b", ("g",))
    search = Search(graph, SearchSettings(signal="unit\u2028tests", budget=1))
    [trial] = search.next_trials(1)
    search.record(trial, TrialReport(TrialOutcome.FAIL, frozenset({"a\x85test\x0b"})))
    assert with_budget(search, 5).verdict().trials == 1
