"""Answers as GitHub's own description allows them, for every reading call the client makes.

Each answer is generated from the description; then, one at a time, each nullable value in it is
null, each optional one absent, each closed list has a word nobody has heard of, and each object a
field more. A call gives its result, or refuses for one of the few fields it cannot do without.
Enterprise Cloud and each release of Enterprise Server are played where they differ from github.com;
what a release does not have at all is answered 404. `-rP` shows how many answers there were.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as made
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bot.github.calls.checks import CheckReport
from bot.github.calls.issues import Emotion, ReactionSubject
from bot.github.calls.trees import TreeChange
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import GitHubError
from bot.github.models import Comment, MergeMethod, PullRequest, RepositoryFacts
from bot.triggers import Repository, Role
from tests.contracts.download import RELEASES
from tests.github.descriptions import (
    NEVER_NULL,
    OLDEST,
    OTHERS,
    SHA,
    Change,
    Description,
    NotOfThisRelease,
    described,
    description_of,
)

SHOP = Repository(id=1, owner="acme", name="shop", installation_id=2)
SINCE = datetime(2001, 1, 1, tzinfo=UTC)
FACTS = RepositoryFacts.model_validate(
    {"id": 1, "name": "shop", "full_name": "acme/shop", "owner": {"login": "acme"},
     "default_branch": "main"}
)  # fmt: skip

REPORT = CheckReport(title="x", summary="x")
COMMENT = Comment.model_validate(
    {"id": 1, "body": "x", "user": {"login": "playbooks[bot]", "id": 1, "type": "Bot"},
     "created_at": SINCE, "updated_at": SINCE}
)  # fmt: skip

CANNOT_DO_WITHOUT: frozenset[tuple[str, str]] = frozenset(
    # A file that cannot be named would be taken for one that is not there. Up to 3.18.
    ("git.tree", f"tree.{field} absent")
    for field in ("path", "mode", "type", "sha")
)
"""Calls and the fields they refuse to do without, though GitHub's description lets them be."""
PLAIN = "(as described)"
LACKING = {
    OLDEST: {"GET /repos/acme/shop/activity", "GET /repos/acme/shop/rules/branches/main"},
}
"""By release: what `bot.github.releases` says that it does not have at all."""


async def _all(items: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in items]


Call = Callable[[GitHub, RepositoryClient], Awaitable[Any]]
CALLS: Mapping[str, Call] = {
    "ourselves.app": lambda g, _: g.ourselves.app(),
    "installations.list": lambda g, _: _all(g.installations.list()),
    "installations.get": lambda g, _: g.installations.get(2),
    "installations.repositories": lambda g, _: _all(g.installations.repositories(2)),
    "installations.find_repository": lambda g, _: g.installations.find_repository("acme", "shop"),
    "deliveries.failed": lambda g, _: g.deliveries.failed(SINCE),
    "deliveries.latest": lambda g, _: g.deliveries.latest(30),
    "deliveries.address": lambda g, _: g.deliveries.address(),
    "deliveries.sent": lambda g, _: g.deliveries.sent(1),
    "pulls.get": lambda _, r: r.pulls.get(1),
    "pulls.find": lambda _, r: r.pulls.find(1),
    "pulls.list": lambda _, r: _all(r.pulls.list()),
    "pulls.closed_since": lambda _, r: r.pulls.closed_since(SINCE),
    "pulls.of_commit": lambda _, r: r.pulls.of_commit(SHA),
    "pulls.commits": lambda _, r: r.pulls.commits(1),
    "pulls.files": lambda _, r: _all(r.pulls.files(1)),
    "pulls.reviews": lambda _, r: r.pulls.reviews(1),
    "pulls.ensure_pull_request": lambda _, r: r.pulls.ensure_pull_request(
        head="hotfix", base="main", title="x", body="x", commit=SHA, look_first=True
    ),
    "pulls.update": lambda _, r: r.pulls.update(1, title="x"),
    "pulls.close": lambda _, r: r.pulls.close(1),
    "merging.merge": lambda _, r: r.merging.merge(
        1, head_sha=SHA, method=MergeMethod.SQUASH, look_first=True
    ),
    "issues.get": lambda _, r: r.issues.get(1),
    "issues.find": lambda _, r: r.issues.find(1),
    "issues.list": lambda _, r: _all(r.issues.list()),
    "issues.ensure_issue": lambda _, r: r.issues.ensure_issue(
        key="x", title="x", body="x", since=SINCE, look_first=True
    ),
    "issues.update": lambda _, r: r.issues.update(1, body="x"),
    "issues.close": lambda _, r: r.issues.close(1),
    "issues.reopen": lambda _, r: r.issues.reopen(1),
    "issues.ensure_assignees": lambda _, r: r.issues.ensure_assignees(1, ["octocat"]),
    "comments.get": lambda _, r: r.comments.get(1),
    "comments.list": lambda _, r: _all(r.comments.list(1)),
    "comments.find_ours": lambda _, r: r.comments.find_ours(1, "x"),
    "comments.ensure_comment": lambda _, r: r.comments.ensure_comment(
        1, key="x", body="x", since=SINCE, look_first=True
    ),
    "comments.sticky_comment": lambda _, r: r.comments.sticky_comment(
        1, key="x", body="x", since=SINCE, comment_id=1
    ),
    "comments.edit": lambda _, r: r.comments.edit(COMMENT, "y"),
    "reactions.ensure_reaction": lambda _, r: _react(r),
    "labels.add": lambda _, r: r.labels.add(1, ["incident"]),
    "checks.results": lambda _, r: r.checks.results(SHA),
    "checks.get": lambda _, r: r.checks.get(1),
    "checks.annotations": lambda _, r: r.checks.annotations(1),
    "checks.first_said": lambda _, r: r.checks.first_said(SHA, "smoke"),
    "checks.ensure_check_run": lambda _, r: r.checks.ensure_check_run(
        head_sha=SHA, name="x", external_id="x", report=REPORT, look_first=True
    ),
    "checks.update": lambda _, r: r.checks.update(1, REPORT),
    "checks.ensure_reported": lambda _, r: r.checks.ensure_reported(
        None, head_sha=SHA, name="x", external_id="x", report=REPORT, look_first=True
    ),
    "git.branch": lambda _, r: r.git.branch("main"),
    "git.branches": lambda _, r: r.git.branches("hotfix"),
    "git.head": lambda _, r: r.git.head("main"),
    "git.commit": lambda _, r: r.git.commit(SHA),
    "git.newest": lambda _, r: r.git.newest("main"),
    "git.commits_of": lambda _, r: r.git.commits_of("shop.py", "main"),
    "git.steps_on": lambda _, r: r.git.steps_on("main"),
    "git.pushes": lambda _, r: r.git.pushes("main"),
    "git.pushes_by": lambda _, r: r.git.pushes_by("octocat"),
    "git.compare": lambda _, r: r.git.compare("main", "dev"),
    "git.is_ancestor": lambda _, r: r.git.is_ancestor(SHA, "main"),
    "git.tree": lambda _, r: r.git.tree(SHA),
    "git.tree_of": lambda _, r: r.git.tree_of(SHA),
    "git.publish_tree": lambda _, r: r.git.publish_tree(
        SHA, [TreeChange(path="x", content=b"x"), TreeChange(path="y", content=b"\0")]
    ),
    "git.create_commit": lambda _, r: r.git.create_commit(tree=SHA, parents=[SHA], message="x"),
    "git.ensure_commit_on_branch": lambda _, r: _each(
        lambda new: r.git.ensure_commit_on_branch(
            "x", key="x", tree=SHA, parents=[SHA], message="x", new_branch=new, look_first=True
        )
    ),
    "git.ensure_branch": lambda _, r: _each(
        lambda first: r.git.ensure_branch("x", SHA, look_first=first)
    ),
    "git.fast_forward": lambda _, r: r.git.fast_forward("main", SHA),
    "git.hidden_ref": lambda _, r: r.git.hidden_ref("x/y"),
    "git.hidden_refs": lambda _, r: r.git.hidden_refs("x"),
    "git.ensure_hidden_ref": lambda _, r: _each(
        lambda first: r.git.ensure_hidden_ref("x/y", SHA, look_first=first)
    ),
    "git.tip": lambda _, r: r.git.tip("main"),
    "git.merge_groups": lambda _, r: r.git.merge_groups(),
    "contents.read": lambda _, r: r.contents.read("shop.py"),
    "contents.find": lambda _, r: r.contents.find("shop.py", largest=1),
    "contents.is_regular": lambda _, r: r.contents.is_regular("shop/shop.py"),
    "changes.events": lambda _, r: r.changes.events(1, "labeled"),
    "deployments.of": lambda _, r: r.deployments.of(SHA),
    "deployments.statuses": lambda _, r: r.deployments.statuses(1),
    "permissions.role_of": lambda _, r: r.permissions.role_of("octocat"),
    "permissions.people": lambda _, r: r.permissions.people(Role.WRITE),
    "permissions.admins": lambda _, r: r.permissions.admins(),
    "rules.for_branch": lambda _, r: r.rules.for_branch("main", FACTS),
    "rules.keeping_us_out": lambda _, r: r.rules.keeping_us_out("main", {"creation"}),
    "rules.are_offered": lambda _, r: r.rules.are_offered("main"),
    "rules.kinds": lambda _, r: r.rules.kinds("main"),
    "workflows.ensure_dispatched": lambda _, r: r.workflows.ensure_dispatched(
        "trial.yml", ref="main", inputs={}, title="display_title", since=SINCE, look_first=False
    ),
    "workflows.find": lambda _, r: r.workflows.find("trial.yml", "x", since=SINCE),
    "workflows.dispatched": lambda _, r: r.workflows.dispatched("trial.yml", SINCE),
    "workflows.run": lambda _, r: r.workflows.run(1),
    "workflows.jobs": lambda _, r: r.workflows.jobs(1),
    "workflows.annotations": lambda _, r: r.workflows.annotations(1),
}

READ_ALIKE = frozenset(
    {"checks.ensure_reported", "git.is_ancestor", "issues.close", "issues.find", "issues.reopen",
     "pulls.close", "pulls.find", "pulls.list", "workflows.find"}
)  # fmt: skip
"""Calls that read what another one asks for as that one does: only `make thorough` tries them."""

BY_GRAPHQL = "by GraphQL, whose nulls are below"
NOTHING_READ = "nothing of the answer is read"
OF_OTHERS = "what another call gave, read no further"
AS_IT_CAME = "given as it came, and read as deliveries are, where anything may be missing"
BESIDES: Mapping[str, str] = {
    "ourselves.login": OF_OTHERS,
    "ourselves.wrote": OF_OTHERS,
    "installations.app": OF_OTHERS,
    "permissions.granted": OF_OTHERS,
    "permissions.may": OF_OTHERS,
    "known_checks.of": BY_GRAPHQL,
    "known_checks.of_merged_heads": BY_GRAPHQL,
    "pulls.merged_with": BY_GRAPHQL,
    "installations.activity": BY_GRAPHQL,
    "merging.enqueue": BY_GRAPHQL,
    "merging.queue_entry": BY_GRAPHQL,
    "changes.review_was_edited": BY_GRAPHQL,
    "changes.issues": AS_IT_CAME,
    "changes.comments": AS_IT_CAME,
    "changes.review_comments": AS_IT_CAME,
    "changes.reviews": AS_IT_CAME,
    "contents.names": "the names of a folder's list, while a file is generated",
    "rules.create": NOTHING_READ,
    "deliveries.redeliver": NOTHING_READ,
    "labels.remove": NOTHING_READ,
    "reactions.remove": NOTHING_READ,
    "comments.delete": NOTHING_READ,
    "checks.rerun": NOTHING_READ,
    "workflows.cancel": NOTHING_READ,
    "git.delete_branch": NOTHING_READ,
    "pulls.mark_ready": NOTHING_READ,
    "git.delete_hidden_ref": NOTHING_READ,
}
"""Calls for which no answers are generated, and why."""


PULL = PullRequest.model_validate(
    {"number": 1, "id": 1, "node_id": "P", "html_url": "", "title": "x", "state": "open",
     "user": {"login": "x", "id": 1},
     "head": {"ref": "x", "sha": SHA}, "base": {"ref": "main", "sha": SHA}}
)  # fmt: skip
ENTRY = {
    "id": "E", "state": "QUEUED", "position": 1, "enqueuedAt": "2026-05-01T12:00:00Z",
    "estimatedTimeToMerge": 60, "headCommit": {"oid": SHA},
}  # fmt: skip
PAGE = {"hasNextPage": False, "endCursor": None}
IN_QUEUE = {"node": {"mergeQueueEntry": ENTRY}}
QUEUED = IN_QUEUE | {"enqueuePullRequest": {"mergeQueueEntry": ENTRY}}
ASSOCIATED = {"pageInfo": PAGE, "nodes": [{"number": 1, "merged": True}]}
BY_GRAPHQL_CALLS: Mapping[str, tuple[Call, Any]] = {
    "pulls.merged_with": (
        lambda _, r: r.pulls.merged_with([SHA]),
        {"repository": {"c0": {"associatedPullRequests": ASSOCIATED}}},
    ),
    "merging.enqueue": (lambda _, r: r.merging.enqueue(PULL, head_sha=SHA), QUEUED),
    "merging.queue_entry": (lambda _, r: r.merging.queue_entry(PULL), IN_QUEUE),
    "changes.review_was_edited": (
        lambda _, r: r.changes.review_was_edited("R"),
        {"node": {"lastEditedAt": "2026-05-01T12:00:00Z"}},
    ),
}


async def _each(call: Callable[[bool], Awaitable[Any]]) -> None:
    """A call as it goes where something may be there already, and where it may not."""
    for value in (True, False):
        await call(value)


async def _react(client: RepositoryClient) -> None:
    for subject in ReactionSubject:
        await client.reactions.ensure_reaction(subject, 1, Emotion.DONE)


def _calls_of(client: object) -> Iterator[str]:
    """The public calls of each part of a client."""
    for part, calls in vars(client).items():
        if part.startswith("_") or not type(calls).__module__.startswith("bot.github.calls."):
            continue
        for name, call in inspect.getmembers(type(calls), inspect.isfunction):
            if not name.startswith("_") and (
                inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)
            ):
                yield f"{part}.{name}"


def test_every_call_is_tried_or_named_with_the_reason_why_not(key: str) -> None:
    github = _client("http://127.0.0.1/api/v3", key)
    calls = {*_calls_of(github), *_calls_of(github.repository(SHOP, playbook="revert"))}
    assert calls == CALLS.keys() | BESIDES.keys()
    assert not CALLS.keys() & BESIDES.keys()


class Answers:
    """A server that answers any request by the description, with one change in one answer."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.change: tuple[str, Change] | None = None
        self.asked: list[str] = []
        self.lacking: set[str] = set()
        self.graphql: Any = None
        self.has_more = False
        """Whether each list has a second page; `followed` has those whose second was asked for."""
        self.lists: set[str] = set()
        self.followed: set[str] = set()
        self._plain: dict[str, Any] = {}

    def describe(self, description: Description) -> None:
        """Answer as another GitHub does."""
        self.description, self._plain, self.lacking = description, {}, set()

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/api/v3")
        if path == "/api/graphql":
            return web.json_response({"data": self.graphql})
        if path.endswith("/access_tokens"):
            return web.json_response(
                {"token": "t", "expires_at": "2099-01-01T00:00:00Z",
                 "permissions": {"administration": "read"}}, status=201)  # fmt: skip
        asked = f"{request.method} {path}"
        try:
            schema = self.description.schema(request.method, path)
        except NotOfThisRelease:
            self.lacking.add(f"{request.method} {path}")
            return web.json_response({"message": "Not Found"}, status=404)
        if schema is None:
            return web.Response(status=204)
        if asked not in self._plain:
            self._plain[asked] = self.description.answer(schema)
        self.asked.append(asked)
        found = self._plain[asked]
        if self.change is not None and self.change[0] == asked:
            found = self.change[1].of(found)
        headers = self._second_page(request, asked, found) if self.has_more else {}
        status = 201 if request.method == "POST" else 200
        return web.json_response(found, status=status, headers=headers)

    def _second_page(self, request: web.Request, asked: str, found: Any) -> dict[str, str]:
        if request.method != "GET" or not (isinstance(found, list) or "total_count" in found):
            return {}
        self.lists.add(asked)
        if request.query.get("page") == "2":
            self.followed.add(asked)
            return {}
        return {"Link": f'<{request.url.update_query(page="2")}>; rel="next"'}


def _client(address: str, key: str) -> GitHub:
    """A client for which waiting takes no time."""
    now = [time.time()]

    async def pass_by(seconds: float) -> None:
        now[0] += seconds

    return GitHub(app_id=1, private_key=key, api_url=address, sleep=pass_by, clock=lambda: now[0])


@pytest.fixture(scope="module")
def key() -> str:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


@dataclass
class Server:
    """Where the answers come from."""

    answers: Answers
    address: str


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    answers = Answers(description_of())
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answers.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Server(answers, f"http://127.0.0.1:{runner.addresses[0][1]}/api/v3")
    await runner.cleanup()


@dataclass
class Tally:
    """What came of the answers to some calls: how many, and those that were not read."""

    same: int = 0
    """Read as if nothing were otherwise."""
    otherwise: int = 0
    """Read, and handed on as what it is: none, or a word of its own for what is not known."""
    refused: int = 0
    """Refused for a field of `CANNOT_DO_WITHOUT`."""
    wrong: dict[str, str] = made(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.same + self.otherwise + self.refused + len(self.wrong)} answers: {self.same} "
            f"read alike, {self.otherwise} handed on as none or not known, {self.refused} refused "
            f"for what is listed, {len(self.wrong)} wrong"
        )

    def says(self) -> str:
        """Each that is wrong, in a line."""
        return "\n".join(f"{change}: {why}" for change, why in self.wrong.items())


Changes = list[tuple[str, Change]]


async def _made(name: str, github: GitHub) -> Any:
    # A client asks once whose it is; reading its key takes longer than all the rest.
    github.ourselves._app = None
    return await CALLS[name](github, github.repository(SHOP, playbook="revert"))


async def _play(
    name: str, plain: Any, changes: Changes, answers: Answers, github: GitHub, tally: Tally
) -> None:
    """Make a call once for each thing that may be otherwise in the answers it asks for."""
    for answers.change in changes:
        change = str(answers.change[1])
        try:
            found = await _made(name, github)
        except Exception as error:
            if (name, change) in CANNOT_DO_WITHOUT and isinstance(error, GitHubError):
                tally.refused += 1
            else:
                tally.wrong[f"{name}: {change}"] = f"{type(error).__name__}: {error}"[:200]
        else:
            tally.same += found == plain
            tally.otherwise += found != plain
    answers.change = None


def _changes(description: Description, asked: list[str]) -> Changes:
    """What may be otherwise in the answers that a call asked for."""
    found = []
    for each in dict.fromkeys(asked):
        try:
            schema = description.schema(*each.split(" ", 1)) or {}
        except NotOfThisRelease:
            continue
        found += [(each, change) for change in description.changes(schema)]
    return found


@described
@pytest.mark.sampled(*(name for name in CALLS if name not in READ_ALIKE))
@pytest.mark.parametrize("name", CALLS)
async def test_every_answer_that_is_allowed_is_read(server: Server, key: str, name: str) -> None:
    answers, tally = server.answers, Tally()
    async with _client(server.address, key) as github:
        plain = await _made(name, github)
        assert answers.asked, f"{name} asked for nothing"
        changes = _changes(answers.description, answers.asked)
        await _play(name, plain, changes, answers, github, tally)
    print(f"github.com, {name}: {tally}")  # noqa: T201 - for -rP
    assert not tally.wrong, f"{tally}\n{tally.says()}"


@described
@pytest.mark.sampled("ghec", OLDEST)
@pytest.mark.parametrize("release", OTHERS)
async def test_what_another_github_answers_otherwise_is_read(
    server: Server, key: str, release: str
) -> None:
    """Each answer as this release describes it, and each change github.com's has not."""
    if not RELEASES[release].ready:
        pytest.skip(f"GitHub's description of {release} is not downloaded: make contracts")
    usual, answers, tally = description_of(), server.answers, Tally()
    answers.describe(description_of(release))
    async with _client(server.address, key) as github:
        for name in CALLS:
            answers.asked = []
            try:
                plain = await _made(name, github)
            except Exception as error:
                tally.wrong[f"{name} {PLAIN}"] = f"{type(error).__name__}: {error}"[:200]
                continue
            tally.same += 1
            known = {*_changes(usual, answers.asked)}
            allowed = _changes(answers.description, answers.asked)
            more = [each for each in allowed if each not in known]
            await _play(name, plain, more, answers, github, tally)
    lacks = ", ".join(sorted(answers.lacking)) or "nothing"
    print(f"{release}, {len(CALLS)} calls: {tally}; it lacks {lacks}")  # noqa: T201 - for -rP
    assert not tally.wrong, f"{tally}\n{tally.says()}"
    assert answers.lacking == LACKING.get(release, set())


NEWEST = "the newest hundred, as its name says"
NOT_TO_THE_END: Mapping[str, str] = {
    "deliveries.latest": NEWEST,
    "git.newest": NEWEST,
    "git.commits_of": NEWEST,
    "git.steps_on": NEWEST,
    "git.ensure_commit_on_branch": NEWEST,
    "git.pushes": NEWEST,
    "git.pushes_by": NEWEST,
    "rules.are_offered": "that there is an answer is all that is asked",
}
"""Calls that do not read a list to its end, and why: of those, `not seen` says nothing."""


@described
async def test_every_list_is_read_to_its_end_or_named_with_the_reason_why_not(
    server: Server, key: str
) -> None:
    answers, cut_off = server.answers, dict[str, set[str]]()
    answers.has_more = True
    async with _client(server.address, key) as github:
        for name in CALLS:
            answers.lists, answers.followed = set(), set()
            await _made(name, github)
            if left := answers.lists - answers.followed:
                cut_off[name] = left
    assert sorted(cut_off) == sorted(NOT_TO_THE_END)


RUN = {"status": "COMPLETED", "conclusion": "SUCCESS", "url": "https://ci.test/1"}
RESULTS = {
    "checkSuites": {
        "pageInfo": PAGE,
        "nodes": [
            {
                "id": "S",
                "app": {"slug": "ci", "databaseId": 1},
                "workflowRun": {"event": "push"},
                "checkRuns": {"pageInfo": PAGE, "nodes": [RUN]},
            }
        ],
    },
    "status": {"context": {"state": "SUCCESS", "targetUrl": "https://ci.test/2"}},
}
HEAD = {"oid": "b" * 40, "tree": {"oid": "c" * 40}, **RESULTS}
PULLS = {
    "pageInfo": PAGE,
    "nodes": [{"mergeCommit": {"oid": SHA}, "commits": {"nodes": [{"commit": HEAD}]}}],
}
MERGED = {"oid": SHA, "tree": {"oid": "c" * 40}, "associatedPullRequests": PULLS, **RESULTS}


def _nulls(given: Any, path: tuple[str | int, ...] = ()) -> Iterator[Change]:
    parts = given.items() if isinstance(given, dict) else enumerate(given)
    for part, inner in parts:
        if part not in NEVER_NULL or isinstance(inner, dict):
            yield Change((*path, part), "null")
        if isinstance(inner, dict | list):
            yield from _nulls(inner, (*path, part))


@described
async def test_whatever_is_null_in_graphql_hides_nothing_else(server: Server, key: str) -> None:
    whole = {"repository": {"c0": MERGED, "c1": MERGED | {"oid": "d" * 40}}}
    async with _client(server.address, key) as github:
        known = github.repository(SHOP, playbook="bisect").known_checks
        server.answers.graphql = whole
        assert len(await known.of([SHA, "d" * 40], "smoke")) == 4
        assert len(await known.of_merged_heads([SHA, "d" * 40], "smoke")) == 2
        for change in _nulls(whole):
            server.answers.graphql = change.of(whole)
            found = await known.of([SHA, "d" * 40], "smoke")
            if change.path[:2] == ("repository", "c0"):
                assert len([each for each in found if each.sha == "d" * 40]) == 2, change
            await known.of_merged_heads([SHA, "d" * 40], "smoke")


@described
@pytest.mark.parametrize("name", BY_GRAPHQL_CALLS)
async def test_whatever_is_null_in_graphql_is_no_fault_of_ours(
    server: Server, key: str, name: str
) -> None:
    call, whole = BY_GRAPHQL_CALLS[name]
    async with _client(server.address, key) as github:
        client = github.repository(SHOP, playbook="revert")
        for change in _nulls(whole):
            server.answers.graphql = change.of(whole)
            await call(github, client)
