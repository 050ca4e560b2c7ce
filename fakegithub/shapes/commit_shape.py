"""Commits and changed files as the REST API shows them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fakegithub.git.bare import Change, Signature, StoredCommit
from fakegithub.shapes import users
from fakegithub.shapes.repositories import api_url, html_url
from fakegithub.world.model import FakeRepository, FakeUser
from fakegithub.world.world import World, node_id, timestamp

GITHUB = ("GitHub", "noreply@github.com")
MOST_FILES = 300


def signature_of(world: World, user: FakeUser) -> Signature:
    """A user as author, now."""
    return Signature(user.name or user.login, user.email, world.now())


def web_flow(world: World) -> Signature:
    """GitHub itself as committer of what is made on its pages and by its merge button."""
    return Signature(*GITHUB, world.now())


def account(world: World, email: str) -> FakeUser | None:
    """The account an e-mail address belongs to, if it is GitHub's private address of one."""
    if email == GITHUB[1]:
        return world.users.get("web-flow")
    local = email.removesuffix("@users.noreply.github.com")
    _, _, login = local.partition("+")
    return world.users.get(login.lower()) if local != email else None


def verification(repository: FakeRepository, commit: StoredCommit) -> dict[str, Any]:
    """Verified means: GitHub signed it. What is pushed is not."""
    verified = commit.sha in repository.signed
    return {
        "verified": verified,
        "reason": "valid" if verified else "unsigned",
        "signature": "-----BEGIN PGP SIGNATURE-----" if verified else None,
        "payload": f"tree {commit.tree}" if verified else None,
        "verified_at": timestamp(commit.committer.at) if verified else None,
    }


def _who(signature: Signature) -> dict[str, str]:
    return {
        "name": signature.name,
        "email": signature.email,
        "date": timestamp(signature.at),
    }


def git_commit(world: World, repository: FakeRepository, commit: StoredCommit) -> dict[str, Any]:
    """The Git Data API's form."""
    api, page = api_url(world, repository), html_url(world, repository)
    return {
        "sha": commit.sha,
        "node_id": node_id("Commit", commit.sha),
        "url": f"{api}/git/commits/{commit.sha}",
        "html_url": f"{page}/commit/{commit.sha}",
        "author": _who(commit.author),
        "committer": _who(commit.committer),
        "tree": {"sha": commit.tree, "url": f"{api}/git/trees/{commit.tree}"},
        "message": commit.message.rstrip("\n"),
        "parents": [
            {
                "sha": parent,
                "url": f"{api}/git/commits/{parent}",
                "html_url": f"{page}/commit/{parent}",
            }
            for parent in commit.parents
        ],
        "verification": verification(repository, commit),
    }


def commit(world: World, repository: FakeRepository, record: StoredCommit) -> dict[str, Any]:
    """The form of commit lists; `with_files` adds what a single commit has."""
    api, page = api_url(world, repository), html_url(world, repository)
    inner = git_commit(world, repository, record)
    kept = ("author", "committer", "message", "tree", "verification")
    author = account(world, record.author.email)
    committer = account(world, record.committer.email)
    return {
        "sha": record.sha,
        "node_id": node_id("Commit", record.sha),
        "commit": {
            **{key: inner[key] for key in kept},
            "url": inner["url"],
            "comment_count": 0,
        },
        "url": f"{api}/commits/{record.sha}",
        "html_url": f"{page}/commit/{record.sha}",
        "comments_url": f"{api}/commits/{record.sha}/comments",
        "author": users.present(world, author) if author else None,
        "committer": users.present(world, committer) if committer else None,
        "parents": [
            {
                "sha": parent,
                "url": f"{api}/commits/{parent}",
                "html_url": f"{page}/commit/{parent}",
            }
            for parent in record.parents
        ],
    }


def commits(world: World, repository: FakeRepository, shas: list[str]) -> list[dict[str, Any]]:
    """Several commits, read at once."""
    return [commit(world, repository, record) for record in repository.git.commits(shas)]


def file(world: World, repository: FakeRepository, sha: str, change: Change) -> dict[str, Any]:
    """One changed file as of commit `sha`."""
    api, page = api_url(world, repository), html_url(world, repository)
    path = quote(change.path)
    shape: dict[str, Any] = {
        "sha": change.sha,
        "filename": change.path,
        "status": change.status,
        "additions": change.additions,
        "deletions": change.deletions,
        "changes": change.additions + change.deletions,
        "blob_url": f"{page}/blob/{sha}/{path}",
        "raw_url": f"{page}/raw/{sha}/{path}",
        "contents_url": f"{api}/contents/{path}?ref={sha}",
    }
    if change.patch is not None:
        shape["patch"] = change.patch
    if change.previous is not None:
        shape["previous_filename"] = change.previous
    return shape


def with_files(
    shape: dict[str, Any], world: World, repository: FakeRepository, changes: list[Change]
) -> dict[str, Any]:
    """Add stats and (at most 300) files to a commit's shape."""
    plus = sum(change.additions for change in changes)
    minus = sum(change.deletions for change in changes)
    files = [file(world, repository, shape["sha"], each) for each in changes[:MOST_FILES]]
    return {
        **shape,
        "stats": {"total": plus + minus, "additions": plus, "deletions": minus},
        "files": files,
    }
