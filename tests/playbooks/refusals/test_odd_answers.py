"""A whole story where one of GitHub's answers is odd: main is safe, or one next step is said.

Of each answer that the story meets, all that may be null is null; all that may be absent is absent;
each closed list has a word that nobody has heard of; each object a field more. Only the bot is
answered so. What is allowed is said by GitHub's own description (`tests/github/descriptions.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from bot.records import pauses
from bot.records.pauses import PauseKind, Pausing
from bot.triggers import SELF_WORK
from fakegithub.access import credentials
from fakegithub.faults.request_faults import FaultyRequest
from tests.github.descriptions import described, description_of
from tests.shop import GOOD, Shop

GATE = "self-work gate"
BESIDES = "GET /installation/repositories"
"""Asked now and then, whatever is under way."""
KINDS = ("null", "absent", "unknown")
ROUTES = tuple(
    f"{method} /repos/{{owner}}/{{repo}}{path}"
    for method, paths in {
        "GET": (
            "", "/branches/{branch}", "/collaborators/{username}/permission", "/commits",
            "/commits/{ref}", "/commits/{ref}/check-runs", "/commits/{ref}/status",
            "/contents/{path}", "/deployments", "/git/commits/{commit_sha}",
            "/git/matching-refs/{ref}", "/git/ref/{ref}", "/git/trees/{tree_sha}", "/issues",
            "/issues/comments", "/issues/comments/{comment_id}", "/pulls", "/pulls/{pull_number}",
            "/pulls/{pull_number}/comments", "/pulls/{pull_number}/commits",
            "/pulls/{pull_number}/files", "/pulls/{pull_number}/reviews",
            "/rules/branches/{branch}",
        ),
        "PATCH": (
            "/check-runs/{check_run_id}", "/git/refs/{ref}", "/issues/comments/{comment_id}",
            "/issues/{issue_number}", "/pulls/{pull_number}",
        ),
        "POST": (
            "/check-runs", "/git/commits", "/git/refs", "/git/trees", "/issues",
            "/issues/comments/{comment_id}/reactions", "/issues/{issue_number}/assignees",
            "/issues/{issue_number}/comments", "/pulls",
        ),
        "PUT": ("/pulls/{pull_number}/merge",),
    }.items()
    for path in paths
)  # fmt: skip


@dataclass
class Odd:
    """The work is done, and what the bot is answered is odd in one way."""

    kind: str
    routes: frozenset[str]
    met: set[str] = field(default_factory=set)

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Answer the bot so; others as always."""
        answer, request = await incident.carry_out(), incident.request
        path = request.rel_url.path.removeprefix("/api/v3")
        if not isinstance(answer, web.Response) or answer.status >= 300 or not answer.body:
            return answer
        if path == "/api/graphql" or path.endswith("/access_tokens"):
            return answer
        caller = credentials.authenticate(incident.world, request.headers.get("Authorization"))
        if caller.app is None:
            return answer
        asked = f"{request.method} {description_of().route(request.method, path)}"
        self.met.add(asked)
        if asked not in self.routes:
            return answer
        schema = description_of().schema(request.method, path) or {}
        said = json.loads(bytes(answer.body))
        for change in description_of().changes(schema):
            if change.what == self.kind:
                said = change.of(said)
        headers = {k: v for k, v in answer.headers.items() if k in ("Link", "ETag")}
        return web.json_response(said, status=answer.status, headers=headers)


RAW = re.compile(r"Traceback|pydantic|ValidationError|KeyError|TypeError|NoneType|AttributeError")


async def ends_well(shop: Shop, broken: int) -> str:
    """Wait until main is safe, or somebody is told what to do; which of the two."""

    async def ended() -> str | None:
        if await shop.alice.file("shop.py") == GOOD:
            return "main is safe"
        said = "\n".join(await shop.from_bot(broken))
        run = await shop.last_run()
        is_left = run is None or not run.is_live or run.needs_somebody
        return "one next step" if is_left and "@alice" in said else None

    how = str(await shop.eventually(ended))
    for said in await shop.from_bot(broken):
        assert not RAW.search(said), said
    return how


@asynccontextmanager
async def odd_answers(shop: Shop, odd: Odd) -> AsyncIterator[None]:
    """Have the bot answered so, then end what is left as GitHub always answers."""
    rule = shop.github.faults.add(odd, times=None)
    try:
        yield
    finally:
        shop.github.faults.remove(rule)
        await shop.alone()


@described
async def test_every_answer_that_a_revert_meets_is_named_and_may_hold_more(shop: Shop) -> None:
    odd = Odd("more", frozenset(ROUTES))
    async with odd_answers(shop, odd):
        broken = await shop.broken()
        await shop.says(broken, "/revert")
        assert await ends_well(shop, broken) == "main is safe"
    assert odd.met <= {*ROUTES, BESIDES}


@described
@pytest.mark.sampled("null PUT /repos/{owner}/{repo}/pulls/{pull_number}/merge")
@pytest.mark.parametrize("answer", [f"{kind} {each}" for each in ROUTES for kind in KINDS])
async def test_a_revert_ends_well_whatever_is_odd(shop: Shop, answer: str) -> None:
    kind, _, route = answer.partition(" ")
    schema = description_of().schema(*route.split(" ")) or {}
    if not any(each.what == kind for each in description_of().changes(schema)):
        return
    async with odd_answers(shop, Odd(kind, frozenset({route}))):
        broken = await shop.broken()
        await shop.says(broken, "/revert")
        print(f"{answer}: {await ends_well(shop, broken)}")  # noqa: T201 - for -rP


@described
@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
async def test_a_gate_that_cannot_read_is_never_green(shop: Shop, kind: str) -> None:
    number = await shop.bob.open_pull_request("By an agent", {"a.txt": "x\n"}, branch="agent")
    await shop.alice.label(number, "self-work")
    head = await shop.bob.head("agent")
    wanted = Pausing(
        key=f"odd:{shop.name}", repository_id=shop.repository.id, scope=SELF_WORK,
        kind=PauseKind.MANUAL, reason="we look", by="alice", at=shop.bot.clock(),
    )  # fmt: skip
    async with shop.bot.records.begin() as conn:
        await pauses.pause(conn, wanted)

    async def held() -> bool:
        return (await shop.bob.check_runs(head)).get(GATE) == "failure"

    await shop.eventually(held)
    async with odd_answers(shop, Odd(kind, frozenset(ROUTES))):
        head = await shop.bob.push("agent", {"a.txt": "y\n"}, "More")
        await shop.looked_again()
        assert (await shop.bob.check_runs(head)).get(GATE) != "success"
    head = await shop.bob.push("agent", {"a.txt": "z\n"}, "Again")
    await shop.eventually(held)
