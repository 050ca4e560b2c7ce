"""A person (or a CI system) who uses the demo GitHub over HTTP with their own token.

Tests and the story speak in these words: `await alice.comment(7, "/revert")`.
"""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import aiohttp

Files = Mapping[str, str | None]


class _Seen(NamedTuple):
    """What was read, and the mark by which GitHub knows it again."""

    etag: str
    answer: Any


class Rejected(Exception):
    """GitHub said no."""

    def __init__(self, status: int, answer: Any) -> None:
        """Keep the status and the JSON answer."""
        super().__init__(f"{status}: {answer}")
        self.status, self.answer = status, answer


class Person:
    """Someone at work on one repository. `async with Person(url, token, "octo/hello") as alice`."""

    def __init__(self, url: str, token: str, repository: str) -> None:
        """`url` is the GitHub's address, `repository` is `owner/name`."""
        self.url, self.repository = url, repository
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
        }
        self._session: aiohttp.ClientSession | None = None
        self._seen: dict[str, _Seen] = {}

    async def __aenter__(self) -> Person:
        """Begin."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        await self.close()

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # The wire

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Send one request; returns status, JSON (or None) and headers.

        A `path` that starts with `/` counts from the API's root, else from the repository.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession()
        where = path if path.startswith("/") else f"/repos/{self.repository}/{path}".rstrip("/")
        async with self._session.request(
            method, f"{self.url}/api/v3{where}", json=body, params=params,
            headers={**self._headers, **(headers or {})},
        ) as response:  # fmt: skip
            is_json = response.content_type.endswith("json")
            answer = await response.json() if is_json else None
            return response.status, answer, response.headers

    async def call(
        self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None
    ) -> Any:
        """Send one request and return its JSON.

        Raises:
            Rejected: unless the status is 2xx.
        """
        status, answer, _ = await self.request(method, path, body, params=params)
        if not 200 <= status < 300:
            raise Rejected(status, answer)
        return answer

    async def get(self, path: str, /, **params: str) -> Any:
        """GET. Looking again costs nothing of the hour's requests while nothing has changed.

        https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate
        """
        key = f"{path}?{sorted(params.items())}"
        seen = self._seen.get(key)
        unless = {"If-None-Match": seen.etag} if seen else {}
        status, answer, headers = await self.request("GET", path, headers=unless, params=params)
        if seen and status == 304:
            return copy.deepcopy(seen.answer)
        if not 200 <= status < 300:
            raise Rejected(status, answer)
        if "ETag" in headers:
            self._seen[key] = _Seen(headers["ETag"], copy.deepcopy(answer))
        return answer

    async def post(self, path: str, /, **body: Any) -> Any:
        """POST keywords as JSON."""
        return await self.call("POST", path, body)

    async def patch(self, path: str, /, **body: Any) -> Any:
        """PATCH keywords as JSON."""
        return await self.call("PATCH", path, body)

    async def put(self, path: str, /, **body: Any) -> Any:
        """PUT keywords as JSON."""
        return await self.call("PUT", path, body)

    async def delete(self, path: str) -> Any:
        """DELETE."""
        return await self.call("DELETE", path)

    async def graphql(self, query: str, **variables: Any) -> Any:
        """Run a GraphQL query and return the whole answer, `errors` included."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        async with self._session.post(
            f"{self.url}/api/graphql", json={"query": query, "variables": variables},
            headers=self._headers,
        ) as response:  # fmt: skip
            return await response.json()

    def elsewhere(self, repository: str) -> Person:
        """The same person at work on another repository, such as their fork."""
        token = self._headers["Authorization"].removeprefix("Bearer ")
        return Person(self.url, token, repository)

    # Conversation

    async def open_issue(self, title: str, body: str = "", labels: list[str] | None = None) -> int:
        """Open an issue; returns its number."""
        issue = await self.post("issues", title=title, body=body, labels=labels or [])
        return int(issue["number"])

    async def comment(self, number: int, body: str) -> Any:
        """Comment on an issue or pull request."""
        return await self.post(f"issues/{number}/comments", body=body)

    async def edit_comment(self, comment_id: int, body: str) -> Any:
        """Edit a comment."""
        return await self.patch(f"issues/comments/{comment_id}", body=body)

    async def label(self, number: int, *names: str) -> Any:
        """Put labels on."""
        return await self.post(f"issues/{number}/labels", labels=list(names))

    async def unlabel(self, number: int, name: str) -> Any:
        """Take a label off."""
        return await self.delete(f"issues/{number}/labels/{name}")

    async def comments(self, number: int) -> list[Any]:
        """Comments of an issue or pull request, oldest first."""
        return list(await self.get(f"issues/{number}/comments", per_page="100"))

    async def reactions(self, comment_id: int) -> list[str]:
        """Reactions to a comment."""
        found = await self.get(f"issues/comments/{comment_id}/reactions")
        return [reaction["content"] for reaction in found]

    async def issue(self, number: int) -> Any:
        """One issue."""
        return await self.get(f"issues/{number}")

    async def issues(self, **filters: str) -> list[Any]:
        """Issues and pull requests (`state`, `labels`, …)."""
        return list(await self.get("issues", **{"state": "all", "per_page": "100", **filters}))

    # Code

    async def head(self, branch: str) -> str:
        """The SHA a branch points at."""
        ref = await self.get(f"git/ref/heads/{quote(branch)}")
        return str(ref["object"]["sha"])

    async def default_branch(self) -> str:
        """The repository's default branch."""
        return str((await self.get(""))["default_branch"])

    async def file(self, path: str, ref: str | None = None) -> str | None:
        """A file's text at a ref, or None when there is no such file."""
        query = {"ref": ref} if ref else None
        status, answer, _ = await self.request("GET", f"contents/{quote(path)}", params=query)
        if status == 404:
            return None
        return base64.b64decode(answer["content"]).decode()

    async def push(
        self, branch: str, files: Files, message: str, *, onto: str | None = None
    ) -> str:
        """Commit files (None removes one) to a branch and return the SHA.

        A branch that does not exist yet starts at `onto` (a branch or SHA; default: the default
        branch).
        """
        status, ref, _ = await self.request("GET", f"git/ref/heads/{quote(branch)}")
        if status == 200:
            parent = ref["object"]["sha"]
        else:
            start = onto or await self.default_branch()
            is_sha = len(start) == 40 and set(start) <= set("0123456789abcdef")
            parent = start if is_sha else await self.head(start)
        sha = await self._commit(parent, files, message)
        if status == 200:
            await self.patch(f"git/refs/heads/{quote(branch)}", sha=sha)
        else:
            await self.post("git/refs", ref=f"refs/heads/{branch}", sha=sha)
        return sha

    async def _commit(self, parent: str, files: Files, message: str) -> str:
        base = (await self.get(f"git/commits/{parent}"))["tree"]["sha"]
        entries: list[dict[str, Any]] = []
        for path, content in files.items():
            entry: dict[str, Any] = {"path": path, "mode": "100644", "type": "blob"}
            entries.append(entry | ({"sha": None} if content is None else {"content": content}))
        tree = await self.post("git/trees", base_tree=base, tree=entries)
        commit = await self.post("git/commits", message=message, tree=tree["sha"], parents=[parent])
        return str(commit["sha"])

    # Pull requests

    async def open_pull_request(
        self,
        title: str,
        files: Files | None = None,
        *,
        branch: str,
        base: str | None = None,
        body: str = "",
        draft: bool = False,
    ) -> int:
        """Push `files` to a new branch and open a pull request; returns its number."""
        base = base or await self.default_branch()
        if files is not None:
            await self.push(branch, files, title, onto=base)
        pull = await self.post("pulls", title=title, head=branch, base=base, body=body, draft=draft)
        return int(pull["number"])

    async def fork(self) -> Person:
        """Fork the repository: the same person, at work on their fork."""
        return self.elsewhere(str((await self.post("forks"))["full_name"]))

    async def propose_from(
        self, fork: Person, title: str, files: Files, *, branch: str, body: str = ""
    ) -> int:
        """Push `files` to a branch of the fork and open a pull request here; its number."""
        base = await self.default_branch()
        await fork.push(branch, files, title, onto=await self.head(base))
        head = f"{fork.repository.partition('/')[0]}:{branch}"
        return int(
            (await self.post("pulls", title=title, head=head, base=base, body=body))["number"]
        )

    async def pull_request(self, number: int) -> Any:
        """One pull request, with `mergeable` computed."""
        for _ in range(10):
            pull = await self.get(f"pulls/{number}")
            if pull["mergeable"] is not None or pull["state"] == "closed":
                return pull
            await asyncio.sleep(0.01)
        return pull

    async def merge(self, number: int, method: str = "squash") -> str:
        """Merge a pull request; returns the merge commit."""
        merged = await self.put(f"pulls/{number}/merge", merge_method=method)
        return str(merged["sha"])

    async def merge_together(
        self, *numbers: int, way: Literal["octopus", "rollup"] = "octopus"
    ) -> str:
        """Land several pull requests of one base by one push, as merge bots do; the new head.

        Args:
            numbers: the pull requests, which do not conflict.
            way: one merge with all the heads as parents (`octopus`), or one merge for each, made
                on a branch of its own and then pushed together (`rollup`).
        """
        pulls = [await self.get(f"pulls/{number}") for number in numbers]
        base = pulls[0]["base"]["ref"]
        before, branch = await self.head(base), f"batch-{'-'.join(map(str, numbers))}"
        await self.post("git/refs", ref=f"refs/heads/{branch}", sha=before)
        for pull in pulls:
            message = f"Rollup merge of #{pull['number']}\n\n{pull['title']}"
            await self.post("merges", base=branch, head=pull["head"]["sha"], commit_message=message)
        sha = await self.head(branch)
        if way == "octopus":
            listed = " ".join(f"#{number}" for number in numbers)
            made = await self.post(
                "git/commits", message=f"Merge {listed}",
                tree=(await self.get(f"git/commits/{sha}"))["tree"]["sha"],
                parents=[before, *(pull["head"]["sha"] for pull in pulls)],
            )  # fmt: skip
            sha = str(made["sha"])
        await self.patch(f"git/refs/heads/{quote(base)}", sha=sha)
        await self.delete(f"git/refs/heads/{quote(branch)}")
        return sha

    async def review(self, number: int, event: str = "APPROVE", body: str = "") -> Any:
        """Review: APPROVE, REQUEST_CHANGES or COMMENT."""
        return await self.post(f"pulls/{number}/reviews", event=event, body=body)

    # Continuous integration

    async def set_status(
        self, sha: str, state: str, context: str = "ci", description: str = ""
    ) -> Any:
        """Report a commit status."""
        return await self.post(
            f"statuses/{sha}", state=state, context=context, description=description
        )

    async def deploy(self, sha: str, environment: str, *, transient: bool = True) -> int:
        """Begin to deploy a commit, whatever its checks say; returns the deployment's id."""
        deployment = await self.post(
            "deployments", ref=sha, environment=environment, transient_environment=transient,
            auto_merge=False, required_contexts=[],
        )  # fmt: skip
        return int(deployment["id"])

    async def deployed(self, deployment: int, state: str, **more: str) -> Any:
        """Say how far a deployment has come (`log_url`, `environment_url`, `description`)."""
        return await self.post(f"deployments/{deployment}/statuses", state=state, **more)

    async def create_check_run(
        self, sha: str, name: str, conclusion: str | None = None, **more: Any
    ) -> Any:
        """Report a check-run (only Apps can: the token must be an installation's)."""
        state = {"status": "in_progress"} if conclusion is None else {
            "status": "completed", "conclusion": conclusion,
        }  # fmt: skip
        return await self.post("check-runs", name=name, head_sha=sha, **state, **more)

    async def check_runs(self, sha: str) -> dict[str, str | None]:
        """Conclusions of the latest check-runs on a commit, by name."""
        found = await self.get(f"commits/{sha}/check-runs", per_page="100")
        return {run["name"]: run["conclusion"] for run in found["check_runs"]}
