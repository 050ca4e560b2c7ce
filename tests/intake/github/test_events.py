"""What each delivery means, and which Triggers come of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.intake import event_triggers
from bot.intake.event_payloads import (
    CheckFailed,
    CommentPosted,
    Hint,
    Meaning,
    NothingAsked,
    OurApp,
)
from bot.intake.events import EVENTS, Delivery, meanings
from bot.triggers import (
    ActorKind,
    CancelRequest,
    CloseRequest,
    CommitTarget,
    CorrectionRequest,
    HelpRequest,
    PullRequestTarget,
    ReopenRequest,
    Repository,
    Request,
    RetryRequest,
    RevertRequest,
    RulingRequest,
    Severity,
    SeverityRequest,
    ShadowRequest,
    SourceKind,
    Trigger,
)
from tests.intake.github.delivering import comment, repository

US = OurApp(id=99, slug="playbooks")
APP = Repository(id=11, owner="acme", name="app", installation_id=22)
SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER_SHA = "76543210fedcba9876543210fedcba9876543210"
NOW = datetime(2025, 8, 17, 12, 0, tzinfo=UTC)


def about(**payload: Any) -> dict[str, Any]:
    person = {"login": "mona", "type": "User"}
    return {"repository": repository(), "installation": {"id": 22}, "sender": person, **payload}


def mean(event: str, payload: Any) -> tuple[Meaning, ...]:
    return meanings(Delivery(event=event, payload=payload, us=US, body=b"d-1"))


def triggers(event: str, payload: Any) -> list[Trigger]:
    asked = [each for each in mean(event, payload) if not isinstance(each, Hint | NothingAsked)]
    return [trigger for each in asked for trigger in event_triggers.triggers(each, NOW)]


def requests(body: str, **changed: Any) -> list[Request]:
    return [each.request for each in triggers("issue_comment", comment(body, **changed))]


def revert(number: int, reason: str = "") -> RevertRequest:
    return RevertRequest(targets=(PullRequestTarget(number=number),), reason=reason)


def test_a_comment_asks_for_what_it_stands_on() -> None:
    (trigger,) = triggers("issue_comment", comment("/revert because logins fail"))
    assert trigger.request == revert(7, "logins fail")
    assert trigger.repository == APP
    assert trigger.actor.login == "mona"
    assert trigger.source.subject == 7
    assert trigger.source.is_pull_request
    assert trigger.source.url == "https://github.com/acme/app/pull/7#issuecomment-501"
    assert trigger.key == "11:issue_comment:501:0"


def test_several_commands_are_several_triggers_with_keys_of_their_own() -> None:
    found = triggers("issue_comment", comment("/severity high\n/shadow a b\n/cancel"))
    assert [each.request for each in found] == [
        SeverityRequest(severity=Severity.HIGH),
        ShadowRequest(capability="a", candidate="b"),
        CancelRequest(),
    ]
    assert [each.source.index for each in found] == [0, 1, 2]


def test_all_mistakes_of_a_comment_are_answered_once_beside_its_commands() -> None:
    found = triggers("issue_comment", comment("/severity x\n/revert #9\n/revrt"))
    assert [each.source.index for each in found] == [0, 1]
    correction, asked = (each.request for each in found)
    assert isinstance(correction, CorrectionRequest)
    assert [(each.line, each.did_you_mean) for each in correction.problems] == [
        (1, None),
        (3, "/revert"),
    ]
    assert asked == revert(9)


def test_on_an_issue_a_revert_means_what_its_incident_is_about() -> None:
    issue = {"issue": {"number": 8}}
    assert requests("/revert", **issue) == [revert(8)]
    assert requests("/revert abcdef1", **issue) == [
        RevertRequest(targets=(CommitTarget(sha="abcdef1"),))
    ]


def closed(action: str = "closed", **changed: Any) -> dict[str, Any]:
    issue = {"number": 5, "labels": [{"name": "incident"}], "state_reason": "completed"}
    return about(action=action, issue=issue | changed)


def test_an_incident_is_resolved_or_taken_up_by_its_issue() -> None:
    (trigger,) = triggers("issues", closed())
    assert trigger.request == CloseRequest(why="completed")
    assert (trigger.source.kind, trigger.source.subject) == (SourceKind.ISSUE, 5)
    (trigger,) = triggers("issues", closed("reopened"))
    assert trigger.request == ReopenRequest()
    for gone in ("deleted", "transferred"):
        (trigger,) = triggers("issues", closed(gone))
        assert trigger.request == CloseRequest(why=gone)
    assert trigger.actor.kind is ActorKind.PERSON
    by_app = closed() | {"sender": {"login": "merge-queue[bot]", "type": "Bot"}}
    (trigger,) = triggers("issues", by_app)
    assert (trigger.actor.kind, trigger.actor.login) == (ActorKind.BOT, "merge-queue[bot]")


@pytest.mark.parametrize("labels", [None, [{"name": "Incident"}], [{"name": "outage"}]])
def test_an_incidents_issue_is_known_by_who_opened_it_whatever_became_of_its_label(
    labels: Any,
) -> None:
    (trigger,) = triggers("issues", closed(labels=labels, user={"login": "playbooks[bot]"}))
    assert trigger.request == CloseRequest(why="completed")


def test_other_issues_and_our_own_closing_ask_for_nothing() -> None:
    assert triggers("issues", closed(labels=[{"name": "bug"}])) == []
    assert triggers("issues", closed(labels=None)) == []
    ours = closed() | {"sender": {"login": "playbooks[bot]", "type": "Bot"}}
    assert triggers("issues", ours) == []


def test_a_deployment_says_to_look_at_its_commit() -> None:
    status = about(action="created", deployment={"sha": SHA}, deployment_status={"state": "error"})
    assert mean("deployment_status", status) == (Hint(APP, head_sha=SHA),)
    assert mean("deployment_status", about(action="created")) == (NothingAsked("nothing to read"),)


@pytest.mark.parametrize(
    "changed",
    [
        {"action": "edited"},
        {"action": "deleted"},
        {"sender": {"login": "playbooks[bot]", "type": "Bot"}},
        {"sender": {"login": "dependabot[bot]", "type": "User"}},
        {"sender": {"login": "acme", "type": "Organization"}},
        {"sender": None},
        {"installation": None},
        {"installation": {"id": "22"}},
        {"repository": {**repository(), "name": ".."}},
        {"repository": {**repository(), "owner": {"login": "a/b"}}},
        {"repository": {**repository(), "id": True}},
        {"issue": None},
        {"issue": {"number": 2**70}},
        {"comment": {"id": 5, "body": None, "user": {"type": "User"}}},
        {"comment": {"id": 5, "body": "/revert", "user": {"type": "Bot"}}},
        {
            "comment": {
                "id": 5,
                "body": "/revert",
                "user": {"type": "User"},
                "performed_via_github_app": {"id": 99},
            }
        },
    ],
)
def test_it_is_not_a_persons_new_comment(changed: dict[str, Any]) -> None:
    assert requests("/revert", **changed) == []


def test_reviews_and_their_comments_are_read_too() -> None:
    user = {"login": "mona", "type": "User"}
    said = {"id": 5, "body": "/retry", "user": user, "html_url": "javascript:alert(1)"}
    pull = {"number": 7, "head": {"sha": SHA}}
    (one,) = triggers(
        "pull_request_review", about(action="submitted", review=said, pull_request=pull)
    )
    (two,) = triggers(
        "pull_request_review_comment", about(action="created", comment=said, pull_request=pull)
    )
    assert [one.source.kind, two.source.kind] == [SourceKind.REVIEW, SourceKind.REVIEW_COMMENT]
    assert one.request == two.request == RetryRequest()
    assert one.key != two.key
    assert one.source.url is None


def test_a_review_without_words_is_still_a_hint() -> None:
    review = {"id": 5, "body": None, "user": {"type": "User"}, "state": "approved"}
    pull = {"number": 7, "head": {"sha": SHA}}
    payload = about(action="submitted", review=review, pull_request=pull)
    [hint] = mean("pull_request_review", payload)
    assert hint == Hint(APP, SHA, (7,))
    assert isinstance(hint, Hint)
    assert hint.is_review
    assert not hint.about_pull_request


def test_the_revert_label_asks_for_a_revert() -> None:
    pull = {"number": 7, "head": {"sha": SHA}, "html_url": "https://github.com/acme/app/pull/7"}
    labeled = about(action="labeled", label={"name": "Playbook:Revert"}, pull_request=pull)
    (trigger,) = triggers("pull_request", labeled)
    assert trigger.request == revert(7, "label playbook:revert")
    assert trigger.source.kind is SourceKind.LABEL
    bot = {"login": "labeler[bot]", "type": "Bot"}
    assert triggers("pull_request", labeled | {"sender": bot}) == []
    assert triggers("pull_request", labeled | {"label": {"name": "bug"}}) == []
    assert triggers("pull_request", labeled | {"action": "unlabeled"}) == []


def test_the_revert_label_on_an_issue_asks_for_what_the_command_asks_for_there() -> None:
    issue = {"number": 5, "html_url": "https://github.com/acme/app/issues/5"}
    labeled = about(action="labeled", label={"name": "playbook:revert"}, issue=issue)
    (trigger,) = triggers("issues", labeled)
    assert trigger.request == revert(5, "label playbook:revert")
    assert not trigger.source.is_pull_request
    bot = {"login": "labeler[bot]", "type": "Bot"}
    assert triggers("issues", labeled | {"sender": bot}) == []


def pressed(identifier: str, **changed: Any) -> dict[str, Any]:
    check = {"id": 31, "head_sha": SHA, "app": {"id": 99}, "pull_requests": [{"number": 7}]}
    return about(
        action="requested_action",
        requested_action={"identifier": identifier},
        check_run=check | changed,
    )


def test_a_button_on_a_commit_without_pull_request_finds_the_run_it_speaks_for() -> None:
    run = "01kjx0000000000000000000bb"
    lonely = pressed("skip", pull_requests=[], external_id=run)
    (trigger,) = triggers("check_run", lonely)
    assert trigger.request == RulingRequest(command="skip")
    assert (trigger.source.run, trigger.source.subject) == (run, None)
    assert triggers("check_run", pressed("skip", pull_requests=[], external_id="x")) == []


def test_a_button_does_what_its_command_does() -> None:
    (trigger,) = triggers("check_run", pressed("cancel"))
    assert trigger.request == CancelRequest()
    assert trigger.source.subject == 7
    again = pressed("") | {"action": "rerequested"}
    assert [each.request for each in triggers("check_run", again)] == [RetryRequest()]


def test_a_button_that_is_not_ours_only_hints() -> None:
    for payload in (
        pressed("reboot"),
        pressed("cancel", app={"id": 98}),
        pressed("cancel", pull_requests=[]),
        pressed("cancel") | {"sender": {"login": "x[bot]", "type": "Bot"}},
    ):
        (hint,) = mean("check_run", payload)
        assert isinstance(hint, Hint)


HEAD = {"head_sha": SHA, "pull_requests": [{"number": 7}, {"number": "x"}, None]}
DONE = HEAD | {"status": "completed", "conclusion": "success"}
HINTS: list[tuple[str, dict[str, Any], Hint]] = [
    ("check_run", {"action": "created", "check_run": DONE}, Hint(APP, SHA, (7,))),
    ("check_run", {"action": "completed", "check_run": HEAD}, Hint(APP, SHA, (7,))),
    ("check_suite", {"action": "completed", "check_suite": HEAD}, Hint(APP, SHA, (7,))),
    ("workflow_run", {"action": "completed", "workflow_run": HEAD}, Hint(APP, SHA, (7,))),
    ("status", {"sha": SHA}, Hint(APP, SHA)),
    ("push", {"ref": "refs/heads/main", "after": SHA}, Hint(APP, SHA, ref="refs/heads/main")),
    ("push", {"ref": "refs/heads/x", "after": "0" * 40}, Hint(APP, ref="refs/heads/x")),
    (
        "push",
        {"ref": "refs/heads/x", "before": OTHER_SHA, "after": SHA},
        Hint(APP, SHA, ref="refs/heads/x", former_sha=OTHER_SHA),
    ),
    (
        "merge_group",
        {"action": "checks_requested", "merge_group": {"head_sha": SHA, "head_ref": "refs/q"}},
        Hint(APP, SHA, ref="refs/q"),
    ),
    *(
        (
            "pull_request",
            {"action": action, "pull_request": {"number": 7, "head": {"sha": SHA}}},
            Hint(APP, SHA, (7,)),
        )
        for action in ("closed", "reopened", "synchronize", "labeled")
    ),
]


@pytest.mark.parametrize(("event", "payload", "hint"), HINTS)
def test_it_wakes_who_waits(event: str, payload: dict[str, Any], hint: Hint) -> None:
    assert mean(event, about(**payload)) == (hint,)


def test_a_check_that_is_created_as_failed_is_judged_like_one_that_ends_so() -> None:
    suite = {"head_branch": "main"}
    failed = {"name": "unit", "head_sha": SHA, "conclusion": "failure", "check_suite": suite}
    place = repository() | {"default_branch": "main"}
    created, completed = (
        mean("check_run", about(action=action, check_run=failed) | {"repository": place})
        for action in ("created", "completed")
    )
    assert created == completed
    assert any(isinstance(each, CheckFailed) for each in created)


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("star", {"action": "created"}),
        ("check_run", {"action": "created", "check_run": HEAD}),
        ("check_run", {"action": "created", "check_run": HEAD | {"status": "queued"}}),
        ("check_run", {"action": "created", "check_run": DONE | {"app": {"id": US.id}}}),
        ("check_suite", {"action": "requested", "check_suite": HEAD}),
        ("workflow_run", {"action": "requested", "workflow_run": HEAD}),
        ("push", {"ref": "refs/tags/v1", "after": SHA}),
        ("status", {"sha": "main"}),
        ("merge_group", {"merge_group": {"head_sha": None}}),
        ("pull_request", {"action": "closed"}),
        ("check_run", {"action": "completed", "check_run": []}),
    ],
)
def test_it_asks_nothing_of_us(event: str, payload: dict[str, Any]) -> None:
    (nothing,) = mean(event, about(**payload))
    assert isinstance(nothing, NothingAsked)


def test_characters_that_no_database_can_hold_are_replaced() -> None:
    (posted,) = mean("issue_comment", comment("/help \ud800\x00"))
    assert isinstance(posted, CommentPosted)
    assert posted.body == "/help ?\ufffd"
    (trigger,) = event_triggers.triggers(posted, NOW)
    assert trigger.request == HelpRequest()


words = st.sampled_from(
    ["action", "comment", "issue", "id", "number", "user", "type", "body", "login", "sender",
     "repository", "installation", "owner", "name", "pull_request", "head", "sha", "check_run",
     "app", "pull_requests", "label", "review", "ref", "after", "head_sha", "merge_group"]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5),
    max_leaves=20,
)


@given(st.sampled_from(sorted(EVENTS)), st.dictionaries(words, values, max_size=8))
def test_no_payload_whatever_raises(event: str, payload: dict[str, Any]) -> None:
    triggers(event, payload)
    triggers(event, about() | payload)


@pytest.mark.parametrize("kind", ["added", "modified", "removed"])
@pytest.mark.parametrize("files", [None, 5, True, {"a": 1}, "a", [None, 5, ["a"]]])
def test_the_files_of_a_push_may_be_anything(kind: str, files: Any) -> None:
    commit = {"added": ["a.py"], "modified": [], "removed": []} | {kind: files}
    push = {"ref": "refs/heads/main", "after": "a" * 40, "forced": False, "commits": [commit]}
    assert all(isinstance(each, Hint) for each in mean("push", about() | push))


@given(st.sampled_from(["comment", "issue", "sender", "repository", "installation"]), values)
def test_no_part_of_a_comment_can_break_it(part: str, value: Any) -> None:
    for trigger in triggers("issue_comment", comment("/revert #1") | {part: value}):
        assert Trigger.model_validate_json(trigger.model_dump_json()) == trigger


@pytest.mark.parametrize("command", ["approve", "reject", "pause because x", "unpause"])
def test_no_app_says_yes_in_a_persons_name(command: str) -> None:
    said = comment(f"/{command}\n/status")
    said["comment"]["performed_via_github_app"] = {"id": 5, "slug": "helper"}
    (correction, status) = triggers("issue_comment", said)
    assert isinstance(correction.request, CorrectionRequest)
    [problem] = correction.request.problems
    assert "came through `helper`" in problem.text
    assert status.request.command == "status"
    alone = comment(f"/{command}")
    (own,) = triggers("issue_comment", alone)
    assert not isinstance(own.request, CorrectionRequest)


def test_our_name_before_a_command_is_remembered() -> None:
    found = triggers("issue_comment", comment("/playbooks approve\n/approve\n/playbooks rever"))
    assert [each.source.addressed for each in found] == [True, False, True]
