"""What is done about each answer, as one table."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from bot.github import errors
from bot.github.transport.retry import (
    MAX_ATTEMPTS,
    Decision,
    FollowTo,
    GiveUp,
    HttpAnswer,
    Lost,
    Ok,
    Refresh,
    Retry,
    SentRequest,
    Unchanged,
    decide,
)

READ = SentRequest("GET", "/repos/{owner}/{repo}", repeatable=True)
WRITE = SentRequest("POST", "/repos/{owner}/{repo}/issues", repeatable=False)
SET = SentRequest("PATCH", "/repos/{owner}/{repo}/issues/{number}", repeatable=True)
NOW = 1_790_000_000.0


def answer(status: int, body: Any = None, **headers: str) -> HttpAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = b"" if body is None else json.dumps(body).encode()
    return HttpAnswer(status, {"content-type": "application/json; charset=utf-8"} | named, content)


def said(message: str, status: int = 403, **headers: str) -> HttpAnswer:
    return answer(status, {"message": message}, **headers)


def failure(decision: Decision) -> errors.GitHubError:
    assert isinstance(decision, GiveUp)
    return decision.error


def wait(decision: Decision) -> float:
    assert isinstance(decision, Retry)
    return decision.after


def test_a_good_answer_is_taken() -> None:
    assert decide(READ, answer(200, {"id": 1}), 1, NOW) == Ok({"id": 1})
    assert decide(WRITE, answer(204), 1, NOW) == Ok(None)
    assert decide(WRITE, answer(202, None), 1, NOW) == Ok(None)


def test_an_unchanged_answer_is_taken_from_what_was_kept() -> None:
    assert decide(READ, answer(304), 1, NOW) == Unchanged()


def test_a_file_is_given_as_bytes() -> None:
    raw = HttpAnswer(200, {"content-type": "application/vnd.github.v3.raw"}, b"\xff\x00")
    assert decide(READ, raw, 1, NOW) == Ok(b"\xff\x00")


@pytest.mark.parametrize(
    "lost",
    [
        answer(500),
        said("oops", 502),
        HttpAnswer(503, {"content-type": "text/html"}, b"<h1>Unicorn!</h1>"),
        HttpAnswer(200, {"content-type": "application/json"}, b'{"id": 1, "tit'),
        HttpAnswer(200, {"content-type": "application/json", "content-length": "9"}, b""),
        Lost("no answer in time"),
        Lost("the answer was cut short"),
    ],
)
def test_reading_is_repeated_with_growing_pauses_and_creating_is_uncertain(
    lost: HttpAnswer | Lost,
) -> None:
    for request in (READ, SET):
        waits = [wait(decide(request, lost, attempt, NOW)) for attempt in range(1, MAX_ATTEMPTS)]
        assert waits == [1, 2, 4, 8]
        assert isinstance(failure(decide(request, lost, MAX_ATTEMPTS, NOW)), errors.Unavailable)
    uncertain = failure(decide(WRITE, lost, 1, NOW))
    assert isinstance(uncertain, errors.Uncertain)
    assert "look first" in str(uncertain)


def test_a_request_that_never_left_is_repeated_even_if_it_creates() -> None:
    assert wait(decide(WRITE, Lost("GitHub could not be reached", sent=False), 1, NOW)) == 1


LIMITS = [
    (said("x", 403, retry_after="7"), 7),
    (said("x", 429, retry_after="7", x_ratelimit_remaining="0"), 7),
    (said("x", 403, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(NOW) + 30)), 31),
    (said("x", 403, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(NOW) - 9)), 1),
    (said("You have exceeded a secondary rate limit."), 60),
    (said("You have triggered an abuse detection mechanism."), 60),
    (said("x", 429), 60),
    (
        answer(
            422,
            {
                "message": "Validation Failed",
                "errors": [
                    {
                        "resource": "PullRequest",
                        "code": "custom",
                        "message": "was submitted too quickly",
                    }
                ],
            },
        ),
        60,
    ),
    (said("x", 429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), 60),
    (answer(200, {"data": None, "errors": [{"type": "RATE_LIMITED", "message": "x"}]}), 60),
]


@pytest.mark.parametrize(("limited", "seconds"), LIMITS)
def test_a_limit_is_obeyed_for_every_request_since_nothing_was_done(
    limited: HttpAnswer, seconds: float
) -> None:
    for request in (READ, WRITE):
        decision = decide(request, limited, 1, NOW)
        assert wait(decision) == seconds
        assert isinstance(decision, Retry)
        assert isinstance(decision.error, errors.RateLimited)
        assert decision.error.until.timestamp() == pytest.approx(NOW + seconds)


def test_a_limit_without_a_time_is_waited_for_longer_each_time() -> None:
    waits = [wait(decide(READ, said("x", 429), attempt, NOW)) for attempt in (1, 2, 3)]
    assert waits == [60, 120, 240]
    assert isinstance(failure(decide(READ, said("x", 429), 8, NOW)), errors.RateLimited)


def test_a_refused_token_is_renewed() -> None:
    decision = decide(READ, said("Bad credentials", 401), 1, NOW)
    assert isinstance(decision, Refresh)
    assert "GITHUB_PRIVATE_KEY" in str(decision.error)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_renamed_repository_is_followed(status: int) -> None:
    moved = answer(status, {}, location="https://api.github.com/repositories/1")
    decision = decide(WRITE, moved, 1, NOW)
    assert isinstance(decision, FollowTo)
    assert decision.location == "https://api.github.com/repositories/1"


def test_a_missing_permission_is_named() -> None:
    refused = said(
        "Resource not accessible by integration",
        403,
        x_accepted_github_permissions="workflows=write",
        x_ratelimit_remaining="0",
    )
    error = failure(decide(WRITE, refused, 1, NOW))
    assert isinstance(error, errors.Forbidden)
    assert error.permission == "workflows=write"
    assert "workflows=write" in str(error)


@pytest.mark.parametrize(
    ("refused", "kind", "word"),
    [
        (said("Not Found", 404), errors.NotFound, "may not see it"),
        (said("Issues are disabled for this repo", 410), errors.NotFound, "disabled"),
        (said("This installation has been suspended"), errors.Suspended, "suspended"),
        (said("Branch is protected"), errors.Forbidden, "protected"),
        (said("Pull Request is not mergeable", 405), errors.NotMergeable, "not mergeable"),
        (said("Head branch was modified", 409), errors.Conflict, "modified"),
        (said("Problems parsing JSON", 400), errors.Unprocessable, "parsing"),
        (answer(418), errors.Unprocessable, "no reason given"),
        (answer(422, ["odd"]), errors.Unprocessable, "no reason given"),
    ],
)
def test_every_refusal_has_its_own_error_with_githubs_words(
    refused: HttpAnswer, kind: type[errors.GitHubError], word: str
) -> None:
    error = failure(decide(WRITE, refused, 1, NOW))
    assert type(error) is kind
    assert word in str(error)


def test_refused_fields_are_listed() -> None:
    refused = answer(
        422,
        {
            "message": "Validation Failed",
            "errors": [
                {"resource": "Label", "field": "name", "code": "already_exists"},
                {"resource": "Issue", "field": "title", "message": "is too long"},
                "odd",
            ],
        },
    )
    error = failure(decide(WRITE, refused, 1, NOW))
    assert isinstance(error, errors.Unprocessable)
    assert error.fields == {"name": "already_exists", "title": "is too long", "2": "odd"}
    assert error.already_exists


def test_a_token_that_github_repeats_is_redacted() -> None:
    error = failure(decide(WRITE, said("no: ghs_" + "a" * 36, 400), 1, NOW))
    assert "aaaa" not in str(error)


def test_errors_survive_being_recorded() -> None:
    limited = decide(READ, said("x", 429, x_github_request_id="AB:12"), 1, NOW)
    assert isinstance(limited, Retry)
    for error in (
        limited.error,
        failure(decide(WRITE, said("x", 422), 1, NOW)),
        failure(decide(WRITE, said("x", 403), 1, NOW)),
        errors.NotInstalled("gone", route="GET /x", status=404),
    ):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__
