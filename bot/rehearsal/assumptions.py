"""What we assume of GitHub, each tried once with a raw request: statuses, fields, limits.

The client (`bot/github`) is built on these. On the demo GitHub all of them hold, since it was made
by them; whether they do on another GitHub, `playbooks rehearse` tells.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp

from bot.github.markers import BODY_LIMIT, CHECK_TEXT_LIMIT, TITLE_LIMIT
from bot.github.transport.channel import API_VERSION, USER_AGENT
from bot.github.transport.http import Addresses, exchange
from bot.github.transport.retry import Lost
from bot.triggers import Value

Token = Callable[[], Awaitable[str]]
LEAST_AN_HOUR = 5000
"""https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"""
_TRIES = 4
_LONGEST_PAUSE_S = 90.0


class RehearsalFinding(Value):
    """One thing that was tried.

    Attributes:
        part: of the rehearsal.
        outcome: `differed`: GitHub did something else than we assume; `refused`: somebody's
            settings, rights or plan do not allow it; `not tried`: what it needs was refused.
        what: what was seen.
        remedy: what can be done about it.
        seconds: how long it took, where that says something.
    """

    part: str
    outcome: Literal["as assumed", "differed", "refused", "not tried"]
    what: str
    remedy: str = ""
    seconds: float | None = None


class StepRefused(Exception):
    """It cannot go on here: what happened, and what mends it."""

    def __init__(self, what: str, remedy: str = "") -> None:
        """Say what happened in a sentence or two."""
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True)
class RawAnswer:
    """What GitHub answered. `data` is its JSON, None where it sent none."""

    status: int
    headers: Mapping[str, str]
    data: Any = field(repr=False)

    @property
    def said(self) -> str:
        """GitHub's own words about a refusal; empty where it has none."""
        if not isinstance(self.data, dict):
            return ""
        errors = self.data.get("errors") or ()
        more = [each.get("message") or each.get("code") if isinstance(each, dict) else each
                for each in errors if each]  # fmt: skip
        return " ".join(str(each) for each in (self.data.get("message"), *more) if each)[:300]


class RawGitHub:
    """Requests about one repository, without anything that would hide what GitHub does.

    Only what surely was not done is sent again: reading, and what a limit put off.
    """

    def __init__(
        self, session: aiohttp.ClientSession, addresses: Addresses, repository: str, token: Token
    ) -> None:
        """Prepare.

        Args:
            session: sends.
            addresses: of the GitHub.
            repository: `owner/name`; a path without a slash before it counts from there.
            token: gives the token that each request is signed with.
        """
        self._session, self._addresses = session, addresses
        self._repository, self._token = repository, token

    async def ask(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> RawAnswer:
        """Send one request, and give whatever comes.

        Args:
            method: of HTTP.
            path: below the repository, or from the API's root where it begins with `/`.
            body: sent as JSON; None sends none.
            headers: besides those that every request has.

        Raises:
            StepRefused: GitHub does not answer.
        """
        below = f"/repos/{self._repository}/{path}".rstrip("/")
        url = self._addresses.rest + (path if path.startswith("/") else below)
        if path == "/graphql":
            url = self._addresses.graphql
        for attempt in range(1, _TRIES + 1):
            sent = {
                "accept": "application/vnd.github+json",
                "authorization": f"Bearer {await self._token()}",
                "user-agent": USER_AGENT,
                "x-github-api-version": API_VERSION,
                **(headers or {}),
            }
            content = None if body is None else json.dumps(body).encode()
            answer = await exchange(self._session, method, url, sent, content)
            pause = 2.0**attempt
            if isinstance(answer, Lost):
                if attempt == _TRIES or (answer.sent and method != "GET"):
                    raise StepRefused(f"{method} {path}: {answer.reason}.", "Try again later.")
            elif answer.status in (403, 429) and "retry-after" in answer.headers:
                pause = float(answer.headers["retry-after"])
            elif answer.status < 500 or method != "GET":
                return RawAnswer(answer.status, answer.headers, _json(answer.body))
            await asyncio.sleep(min(pause, _LONGEST_PAUSE_S))
        raise StepRefused(
            f"{method} {path}: GitHub refuses it again and again.", "Try again later."
        )

    async def must(
        self, method: str, path: str, body: Any = None, *, status: int = 200, remedy: str = ""
    ) -> Any:
        """Send one request whose answer we are sure of; its JSON.

        Args:
            method: of HTTP.
            path: as of `ask`.
            body: likewise.
            status: which is assumed.
            remedy: what to do where GitHub refuses it.

        Raises:
            StepRefused: another status came.
        """
        answer = await self.ask(method, path, body)
        if answer.status != status:
            where = path.partition("?")[0] or "the repository"
            said = f": {answer.said}" if answer.said else ""
            what = f"{method} {where} was answered {answer.status}, not {status}{said}"
            raise StepRefused(what.rstrip(".") + ".", remedy)
        return answer.data


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def value_at(data: Any, where: str) -> Any:
    """Give what stands at a dotted place of some JSON, such as `0.user.login`; None: nothing."""
    for part in where.split("."):
        if isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        elif isinstance(data, dict):
            data = data.get(part)
        else:
            return None
    return data


@dataclass(frozen=True)
class Assumption:
    """One request, and the answer that the client is built on.

    Attributes:
        name: what is tried.
        request: method and path; names in braces are facts of the rehearsal.
        statuses: those that we assume.
        body: sent as JSON, filled in likewise.
        said: words that a refusal holds, in lower case.
        has: places of the answer that hold something.
    """

    name: str
    request: tuple[str, str]
    statuses: tuple[int, ...]
    body: Any = None
    said: str = ""
    has: tuple[str, ...] = ()

    def differs(self, answer: RawAnswer) -> str:
        """Say in what an answer differs; empty where it does not. Pure."""
        if answer.status not in self.statuses:
            wanted = " or ".join(map(str, self.statuses))
            said = f" ({answer.said})" if answer.said else ""
            return f"answered {answer.status}{said}, not {wanted}"
        if self.said and self.said not in answer.said.lower():
            return f"refused with “{answer.said}”, without the words “{self.said}”"
        missing = [place for place in self.has if _is_nothing(value_at(answer.data, place))]
        return f"answered without {', '.join(missing)}" if missing else ""


def _is_nothing(value: Any) -> bool:
    return value is None or value is False or value == ""


_NOWHERE = "0" * 39 + "1"
ASSUMPTIONS = (
    Assumption("making a branch that is there", ("POST", "git/refs"), (422,),
               {"ref": "refs/heads/{branch}", "sha": "{head}"}, said="already exists"),
    Assumption("moving a branch back", ("PATCH", "git/refs/heads/{branch}"), (422,),
               {"sha": "{before}", "force": False}, said="fast forward"),
    Assumption("deleting a branch that is not there",
               ("DELETE", "git/refs/heads/rehearsal/none"), (422,), said="not exist"),
    Assumption("reading a branch that is not there",
               ("GET", "git/ref/heads/rehearsal/none"), (404,)),
    Assumption("reading a commit that is not there", ("GET", f"commits/{_NOWHERE}"), (422,),
               said="no commit found"),
    Assumption("a commit of the App is signed", ("POST", "git/commits"), (201,),
               {"message": "Rehearsal", "tree": "{tree}", "parents": ["{head}"]},
               has=("sha", "tree.sha", "parents.0.sha", "verification.verified")),
    Assumption("merging at a commit that is not its head", ("PUT", "pulls/{open}/merge"), (409,),
               {"sha": "{before}"}),
    Assumption("merging what is merged", ("PUT", "pulls/{merged}/merge"), (405,),
               {"sha": "{merged_head}"}),
    Assumption("a pull request that brings nothing", ("POST", "pulls"), (422,),
               {"title": "Rehearsal", "head": "{branch}", "base": "{branch}"}),
    Assumption("a pull request's fields", ("GET", "pulls/{merged}"), (200,),
               has=("head.sha", "head.ref", "base.ref", "merged_at", "merge_commit_sha",
                    "user.login", "node_id")),
    Assumption("which pull request brought a commit", ("GET", "commits/{merge}/pulls"), (200,),
               has=("0.number",)),
    Assumption(f"a title of {TITLE_LIMIT + 1} characters", ("POST", "issues"), (422,),
               {"title": "x" * (TITLE_LIMIT + 1)}),
    Assumption(f"a text of {BODY_LIMIT + 1:,} characters", ("POST", "issues"), (422,),
               {"title": "Rehearsal", "body": "x" * (BODY_LIMIT + 1)}),
    Assumption(f"a check's summary of {CHECK_TEXT_LIMIT + 1:,} characters",
               ("POST", "check-runs"), (422,),
               {"name": "rehearsal", "head_sha": "{head}", "status": "completed",
                "conclusion": "neutral",
                "output": {"title": "x", "summary": "x" * (CHECK_TEXT_LIMIT + 1)}}),
    Assumption("a reaction that may be there", ("POST", "issues/comments/{comment}/reactions"),
               (200, 201), {"content": "eyes"}, has=("id", "content", "user.login")),
    Assumption("the role of a person", ("GET", "collaborators/{login}/permission"), (200,),
               has=("permission", "role_name")),
    Assumption("the rules of a branch", ("GET", "rules/branches/{branch}"), (200,)),
    Assumption("who moved a branch", ("GET", "activity?ref=refs/heads/{branch}"), (200,),
               has=("0.after", "0.activity_type", "0.timestamp")),
    Assumption("results of a commit", ("GET", "commits/{head}/check-runs?filter=all"), (200,),
               has=("total_count",)),
)  # fmt: skip
"""Each is what some call of `bot/github/calls` does on purpose when it looks, ensures or merges.

Source: GitHub's REST documentation of each route, and what the demo GitHub was held to."""


async def try_assumptions(app: RawGitHub, facts: Mapping[str, Any]) -> list[RehearsalFinding]:
    """Try each as the installed App; `facts` are what the names in braces stand for.

    What needs a fact that the rehearsal did not come to is not tried.
    """
    found = []
    for each in ASSUMPTIONS:
        method, path = each.request
        try:
            place, body = _filled(path, facts), _filled(each.body, facts)
        except KeyError as unknown:
            what = f"{each.name}: the rehearsal did not come to {unknown.args[0]!s}."
            found.append(RehearsalFinding(part="assumptions", outcome="not tried", what=what))
            continue
        found.append(await _tried(each.name, _one(each, app, method, place, body)))
    for name, work in _MORE.items():
        found.append(await _tried(name, work(app)))
    return found


async def _tried(name: str, work: Awaitable[str]) -> RehearsalFinding:
    try:
        differs = await work
    except StepRefused as refused:
        differs = str(refused)
    if not differs:
        return RehearsalFinding(part="assumptions", outcome="as assumed", what=name)
    return RehearsalFinding(
        part="assumptions",
        outcome="differed",
        what=f"{name}: {differs}",
        remedy="Report it, with this line: the bot assumes otherwise.",
    )


async def _one(each: Assumption, app: RawGitHub, method: str, path: str, body: Any) -> str:
    return each.differs(await app.ask(method, path, body))


def _filled(given: Any, facts: Mapping[str, Any]) -> Any:
    if isinstance(given, str):
        return given.format_map(facts) if "{" in given else given
    if isinstance(given, dict):
        return {name: _filled(value, facts) for name, value in given.items()}
    return [_filled(value, facts) for value in given] if isinstance(given, list) else given


async def _limits(app: RawGitHub) -> str:
    answer = await app.ask("GET", "/rate_limit")
    found = {kind: value_at(answer.data, f"resources.{kind}.limit") for kind in ("core", "graphql")}
    low = [f"{kind} {limit}" for kind, limit in found.items() if (limit or 0) < LEAST_AN_HOUR]
    return f"less than {LEAST_AN_HOUR:,}: {', '.join(low)}" if low else ""


async def _unchanged(app: RawGitHub) -> str:
    first = await app.ask("GET", "")
    again = await app.ask("GET", "", headers={"if-none-match": first.headers.get("etag", "")})
    if again.status != 304:
        return f"answered {again.status}, not 304"
    before, after = (each.headers.get("x-ratelimit-remaining") for each in (first, again))
    # Others ask at the same time, so only what is surely charged counts.
    return "" if before and after else "the answer does not tell how many requests are left"


async def _graphql(app: RawGitHub) -> str:
    answer = await app.ask("POST", "/graphql", {"query": "query { rateLimit { limit cost } }"})
    cost = value_at(answer.data, "data.rateLimit.cost")
    return "" if cost == 1 else f"answered {answer.status} with a cost of {cost}, not 200 and 1"


_MORE: Mapping[str, Callable[[RawGitHub], Awaitable[str]]] = {
    f"{LEAST_AN_HOUR:,} requests an hour, REST and GraphQL": _limits,
    "asking for what did not change": _unchanged,
    "a question in GraphQL": _graphql,
}
