"""Git itself against the demo GitHub. https://git-scm.com/docs/http-protocol."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from demo.person import Person
from fakegithub.access.credentials import issue_token
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeInstallation, FakeRepository, FakeUser, Protection
from tests.fakegithub.saying import Heard


@dataclass
class Clone:
    """A clone whose credential stands in its URL, which only tests may do."""

    path: Path

    async def git(self, *args: str) -> tuple[int, str]:
        return await git("-C", str(self.path), *args)

    async def commit(self, name: str, content: str = "x") -> str:
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, encoding="utf-8")
        await self.git("add", ".")
        await self.git("commit", "-qm", f"Add {name}")
        return (await self.git("rev-parse", "HEAD"))[1].strip()


async def git(*args: str) -> tuple[int, str]:
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER")
           for key, value in (("NAME", "Alice"), ("EMAIL", "alice@example.org"))}  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        "git", *args, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **who, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": os.devnull},
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def _address(github: DemoGitHub, repository: FakeRepository, token: str) -> str:
    root = github.url.replace("://", f"://x-access-token:{token}@") if token else github.url
    return f"{root}/{repository.full_name}.git"


@pytest.fixture
async def clone(
    github: DemoGitHub, repository: FakeRepository, alice: Person, tmp_path: Path
) -> Clone:
    await alice.get("")
    user: FakeUser = github.world.users["alice"]
    code, said = await git(
        "clone", "-q", _address(github, repository, user.token), str(tmp_path / "clone")
    )
    assert code == 0, said
    return Clone(tmp_path / "clone")


def _packet(text: str) -> bytes:
    return f"{len(text) + 5:04x}{text}\n".encode()


async def test_whoever_goes_away_in_the_middle_of_an_answer_is_no_error(
    github: DemoGitHub,
    repository: FakeRepository,
    clone: Clone,
    alice: Person,
    caplog: pytest.LogCaptureFixture,
) -> None:
    del alice
    (clone.path / "large.bin").write_bytes(random.Random(20).randbytes(8 << 20))  # noqa: S311
    sha = await clone.commit("new.txt")
    assert (await clone.git("push", "-q", "origin", "HEAD:main"))[0] == 0
    # A fetch by https://git-scm.com/docs/protocol-v2: it takes the head of the answer, and goes.
    asked = _packet("command=fetch") + b"0001" + _packet(f"want {sha}") + _packet("done") + b"0000"
    address = URL(github.url)
    before = asyncio.all_tasks()
    reader, writer = await asyncio.open_connection(address.host, address.port)
    token = github.world.users["alice"].token
    writer.write(
        f"POST /{repository.full_name}.git/git-upload-pack HTTP/1.1\r\nHost: {address.host}\r\n"
        f"Authorization: {aiohttp.encode_basic_auth('x-access-token', token)}\r\n"
        "Git-Protocol: version=2\r\nContent-Type: application/x-git-upload-pack-request\r\n"
        f"Content-Length: {len(asked)}\r\n\r\n".encode()
        + asked
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    answering = {
        each for each in asyncio.all_tasks() - before if "RequestHandler" in repr(each.get_coro())
    }
    writer.transport.abort()
    _, left = await asyncio.wait(answering, timeout=10)
    assert left == set()
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == []


async def test_a_push_is_heard_and_its_commits_are_not_verified(
    github: DemoGitHub, repository: FakeRepository, clone: Clone, alice: Person
) -> None:
    heard = Heard(github, repository)
    sha = await clone.commit("new.txt")
    code, said = await clone.git("push", "-q", "origin", "HEAD:main")
    assert code == 0, said
    (push,) = heard.named("push")
    assert (push.payload["after"], push.payload["sender"]["login"]) == (sha, "alice")
    assert push.payload["head_commit"]["added"] == ["new.txt"]
    commit = await alice.get(f"commits/{sha}")
    assert commit["commit"]["verification"]["verified"] is False


async def test_a_blobless_clone_fetches_what_it_needs_later(
    github: DemoGitHub, repository: FakeRepository, tmp_path: Path, installation: FakeInstallation
) -> None:
    """https://git-scm.com/docs/partial-clone."""
    repository.private = True
    token = issue_token(github.world, installation, {"contents": "read"}).token
    address, mirror = _address(github, repository, token), str(tmp_path / "mirror")
    code, said = await git("clone", "-q", "--mirror", "--filter=blob:none", address, mirror)
    assert code == 0, said
    code, said = await git("-C", mirror, "show", "main:README.md")
    assert said == "# Hello\n"
    code, said = await git("-C", mirror, "push", "-q", address, "main:refs/heads/other")
    assert code != 0
    assert "403" in said


async def test_a_private_repository_needs_credentials(
    github: DemoGitHub, repository: FakeRepository
) -> None:
    repository.private = True
    for token in ("", "ghs_wrong"):
        code, said = await git("ls-remote", _address(github, repository, token))
        assert code != 0
        assert "could not read Username" in said or "Authentication failed" in said


async def test_a_protected_branch_refuses_a_push(
    github: DemoGitHub, repository: FakeRepository, clone: Clone
) -> None:
    github.protect(repository, "main", Protection(reviews=1))
    await clone.commit("new.txt")
    code, said = await clone.git("push", "-q", "origin", "HEAD:main")
    assert code != 0
    assert "Protected branch update failed for refs/heads/main" in said
    assert (await clone.git("push", "-q", "origin", "HEAD:refs/heads/topic"))[0] == 0


async def test_a_protected_branch_refuses_force_and_merge_commits(
    github: DemoGitHub, repository: FakeRepository, clone: Clone
) -> None:
    github.protect(repository, "main", Protection(linear_history=True))
    await clone.git("checkout", "-q", "-b", "side")
    await clone.commit("side.txt")
    await clone.git("checkout", "-q", "main")
    await clone.commit("main.txt")
    await clone.git("merge", "-q", "--no-edit", "side")
    code, said = await clone.git("push", "-q", "origin", "main")
    assert code != 0
    assert "must not contain merge commits" in said
    await clone.git("reset", "-q", "--hard", "HEAD^")
    assert (await clone.git("push", "-q", "origin", "main"))[0] == 0
    await clone.git("commit", "-q", "--amend", "-m", "Rewritten")
    code, said = await clone.git("push", "-q", "--force", "origin", "main")
    assert code != 0
    assert "Cannot force-push" in said


async def test_an_app_without_the_workflows_permission_pushes_no_workflow(
    github: DemoGitHub, repository: FakeRepository, clone: Clone, installation: FakeInstallation
) -> None:
    """https://docs.github.com/apps/creating-github-apps/registering-a-github-app/choosing-permissions-for-a-github-app."""
    await clone.commit(".github/workflows/ci.yml", "on: workflow_dispatch\n")
    token = issue_token(github.world, installation).token
    address = _address(github, repository, token)
    code, said = await clone.git("push", "-q", address, "HEAD:refs/heads/topic")
    assert code != 0
    assert "workflows permission" in said
