"""The Git Data API: refs, commits, trees, blobs. https://docs.github.com/rest/git."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fakegithub.access.answers import Answer, RequestRefused, invalid, not_found
from fakegithub.changes import pushes
from fakegithub.git.bare import Signature, TreeItem
from fakegithub.rest import push_checks
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes import commit_shape
from fakegithub.shapes.repositories import api_url
from fakegithub.world.model import FakeRepository
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World, node_id

routes = Routes()

_READ, _WRITE = "contents=read", "contents=write"
_GIT = "/repos/{owner}/{repo}/git"
_TYPES = {"100644": "blob", "100755": "blob", "120000": "blob", "040000": "tree",
          "160000": "commit"}  # fmt: skip
_MOST_ENTRIES = 100_000
_WORKFLOWS = ".github/workflows/"


# Refs


def _ref_shape(world: World, repository: FakeRepository, ref: str, sha: str) -> dict[str, Any]:
    api = api_url(world, repository)
    kind = repository.git.object_type(sha) or "commit"
    return {
        "ref": ref,
        "node_id": node_id("Ref", f"{repository.id}:{ref}"),
        "url": f"{api}/git/{quote(ref)}",
        "object": {"sha": sha, "type": kind, "url": f"{api}/git/{kind}s/{sha}"},
    }


def _require_commits(call: Call) -> None:
    if not call.repository.git.refs():
        raise RequestRefused(409, "Git Repository is empty.")


@routes.get(f"{_GIT}/ref/{{ref:.+}}", app=_READ)
def get_ref(call: Call) -> Answer:
    """One ref, by exact name without `refs/`."""
    _require_commits(call)
    ref = f"refs/{call.params['ref']}"
    sha = call.repository.git.refs(ref).get(ref)
    if sha is None:
        raise not_found()
    return Answer(200, _ref_shape(call.world, call.repository, ref, sha))


@routes.get(f"{_GIT}/matching-refs/{{ref:.*}}", app=_READ)
def list_matching_refs(call: Call) -> Answer:
    """Every ref that starts so; an empty list when none does."""
    found = call.repository.git.refs(f"refs/{call.params['ref']}")
    shapes = [_ref_shape(call.world, call.repository, ref, sha) for ref, sha in found.items()]
    return call.page(shapes)


@routes.post(f"{_GIT}/refs", app=_WRITE, person=RoleName.WRITE)
def create_ref(call: Call) -> Answer:
    """A new branch or tag; 422 when it exists or the object does not."""
    ref, sha, git = (
        str(call.body.get("ref", "")),
        str(call.body.get("sha", "")),
        call.repository.git,
    )
    if not ref.startswith("refs/") or ref.count("/") < 2 or not git.valid_ref(ref):
        raise RequestRefused(422, f"{ref} is not a valid ref name.")
    if git.ref(ref) is not None:
        raise RequestRefused(422, "Reference already exists")
    if len(sha) != 40 or git.object_type(sha) is None:
        raise RequestRefused(422, "Object does not exist")
    push_checks.require(call, ref, sha)
    pushes.push(call.world, call.repository, ref, sha, call.user, call.caller.app)
    shape = _ref_shape(call.world, call.repository, ref, sha)
    return Answer(201, shape, {"Location": shape["url"]})


@routes.patch(f"{_GIT}/refs/{{ref:.+}}", app=_WRITE, person=RoleName.WRITE)
def update_ref(call: Call) -> Answer:
    """Move a ref; without `force` only forward (else 422)."""
    ref, git = f"refs/{call.params['ref']}", call.repository.git
    sha, force = str(call.body.get("sha", "")), bool(call.body.get("force", False))
    before = git.ref(ref)
    if before is None:
        raise RequestRefused(422, "Reference does not exist")
    if len(sha) != 40 or git.object_type(sha) is None:
        raise RequestRefused(422, "Object does not exist")
    if not force and not git.is_ancestor(before, sha):
        raise RequestRefused(422, "Update is not a fast forward")
    push_checks.require(call, ref, sha)
    pushes.push(call.world, call.repository, ref, sha, call.user, call.caller.app)
    return Answer(200, _ref_shape(call.world, call.repository, ref, sha))


@routes.delete(f"{_GIT}/refs/{{ref:.+}}", app=_WRITE, person=RoleName.WRITE)
def delete_ref(call: Call) -> Answer:
    """Remove a ref; a branch's open pull requests close."""
    ref = f"refs/{call.params['ref']}"
    if call.repository.git.ref(ref) is None:
        raise RequestRefused(422, "Reference does not exist")
    push_checks.require(call, ref, None)
    pushes.push(call.world, call.repository, ref, None, call.user, call.caller.app)
    return Answer(204)


# Commits


@routes.get(f"{_GIT}/commits/{{sha}}", app=_READ)
def get_commit(call: Call) -> Answer:
    """One commit object by full SHA."""
    sha, git = call.params["sha"], call.repository.git
    if git.object_type(sha) != "commit":
        raise not_found()
    return Answer(200, commit_shape.git_commit(call.world, call.repository, git.commit(sha)))


@routes.post(f"{_GIT}/commits", app=_WRITE, person=RoleName.WRITE)
def create_commit(call: Call) -> Answer:
    """A commit object. An App that leaves out author, committer and signature gets it signed.

    https://docs.github.com/authentication/managing-commit-signature-verification/about-commit-signature-verification#signature-verification-for-bots
    """
    body, repository, world = call.body, call.repository, call.world
    git, message, tree = repository.git, body.get("message"), str(body.get("tree", ""))
    if not isinstance(message, str) or not message:
        raise invalid("Commit", "message", code="missing_field")
    if git.object_type(tree) != "tree":
        raise RequestRefused(422, "Tree SHA does not exist")
    parents = [str(parent) for parent in body.get("parents") or []]
    for parent in parents:
        if git.object_type(parent) != "commit":
            raise RequestRefused(422, "Parent SHA does not exist or is not a commit object")
    author = _person(call, body.get("author")) or commit_shape.signature_of(world, call.user)
    committer = _person(call, body.get("committer")) or author
    own = not any(body.get(key) for key in ("author", "committer", "signature"))
    signed = own and call.caller.kind == "installation"
    sha = git.write_commit(tree, parents, message, author, committer, sign=signed)
    if signed:
        repository.signed.add(sha)
    shape = commit_shape.git_commit(world, repository, git.commit(sha))
    return Answer(201, shape, {"Location": shape["url"]})


def _person(call: Call, given: Any) -> Signature | None:
    if not isinstance(given, dict):
        return None
    name, email = given.get("name"), given.get("email")
    if not name or not email:
        raise invalid("Commit", "author", code="missing_field")
    try:
        stated = given.get("date")
        at = datetime.fromisoformat(stated) if stated else call.world.now()
    except (TypeError, ValueError):
        why = "Invalid request.\n\nFor 'properties/date', date is not a date-time."
        raise RequestRefused(422, why) from None
    return Signature(str(name), str(email), at if at.tzinfo else at.replace(tzinfo=UTC))


# Trees


def _entry_shape(call: Call, entry: TreeItem) -> dict[str, Any]:
    api = api_url(call.world, call.repository)
    shape: dict[str, Any] = {
        "path": entry.path,
        "mode": entry.mode,
        "type": entry.type,
        "sha": entry.sha,
    }
    if entry.size is not None:
        shape["size"] = entry.size
    if entry.type != "commit":
        shape["url"] = f"{api}/git/{entry.type}s/{entry.sha}"
    return shape


def _tree_shape(call: Call, sha: str, *, recursive: bool = False) -> dict[str, Any]:
    entries = call.repository.git.tree(sha, recursive=recursive)
    return {
        "sha": sha,
        "url": f"{api_url(call.world, call.repository)}/git/trees/{sha}",
        "tree": [_entry_shape(call, entry) for entry in entries[:_MOST_ENTRIES]],
        "truncated": len(entries) > _MOST_ENTRIES,
    }


@routes.get(f"{_GIT}/trees/{{sha:.+}}", app=_READ)
def get_tree(call: Call) -> Answer:
    """A tree by SHA, or the tree of a branch or commit; any `recursive` lists all levels."""
    _require_commits(call)
    git, named = call.repository.git, call.params["sha"]
    commit = git.commit_sha(named)
    tree = git.commit(commit).tree if commit else named
    if len(tree) != 40 or git.object_type(tree) != "tree":
        raise not_found()
    return Answer(200, _tree_shape(call, tree, recursive="recursive" in call.query))


@routes.post(f"{_GIT}/trees", app=_WRITE, person=RoleName.WRITE)
def create_tree(call: Call) -> Answer:
    """A tree: `base_tree` with entries set (`content` or `sha`) or deleted (`sha: null`)."""
    git, body = call.repository.git, call.body
    base = _base_tree(call, body.get("base_tree"))
    changes: dict[str, tuple[str, str] | None] = {}
    for entry in call.body_list("tree"):
        path = str(entry.get("path", ""))
        _check_path(path)
        changes[path] = _tree_entry(call, entry, base, path)
        _check_workflow(call, base, path, changes[path])
    sha = git.write_tree(base, changes)
    shape = _tree_shape(call, sha)
    return Answer(201, shape, {"Location": shape["url"]})


def _base_tree(call: Call, given: Any) -> str | None:
    if not given:
        return None
    # Described as "the SHA1 of an existing Git tree object": that a commit may do is nowhere said.
    # https://docs.github.com/rest/git/trees#create-a-tree
    kind = call.repository.git.object_type(str(given))
    if kind is None:
        raise not_found()
    if kind == "commit" and call.world.commits_do_as_trees:
        return call.repository.git.commit(str(given)).tree
    if kind != "tree":
        raise RequestRefused(422, f"base_tree {given} is not a valid tree")
    return str(given)


def _check_path(path: str) -> None:
    parts = path.split("/")
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or "\0" in path:
        raise RequestRefused(422, "tree.path contains a malformed path component")


def _tree_entry(
    call: Call, entry: dict[str, Any], base: str | None, path: str
) -> tuple[str, str] | None:
    git, mode = call.repository.git, str(entry.get("mode", "100644"))
    if "sha" in entry and entry["sha"] is None and "content" not in entry:
        if base is None or git.entry(base, path) is None:
            raise RequestRefused(422, "GitRPC::BadObjectState")
        return None
    if mode not in _TYPES:
        raise invalid("Tree", "mode")
    if entry.get("content") is not None:
        return mode, git.write("blob", str(entry["content"]).encode())
    sha = str(entry.get("sha") or "")
    if not sha:
        raise RequestRefused(422, "Must supply either tree.sha or tree.content")
    # A submodule's commit lives in another repository.
    if mode != "160000" and git.object_type(sha) != _TYPES[mode]:
        raise RequestRefused(422, f"tree.sha {sha} is not a valid {_TYPES[mode]}")
    return mode, sha


def _check_workflow(
    call: Call, base: str | None, path: str, change: tuple[str, str] | None
) -> None:
    limited = call.caller.kind == "installation" and not call.caller.may("workflows=write")
    if not limited or not path.startswith(_WORKFLOWS):
        return
    before = call.repository.git.entry(base, path) if base else None
    if ((before.mode, before.sha) if before else None) != change:
        raise RequestRefused(403, "Resource not accessible by integration")


# Blobs


@routes.post(f"{_GIT}/blobs", app=_WRITE, person=RoleName.WRITE)
def create_blob(call: Call) -> Answer:
    """Store content, given as utf-8 or base64."""
    content, encoding = call.body.get("content"), call.body.get("encoding", "utf-8")
    if not isinstance(content, str):
        raise invalid("Blob", "content", code="missing_field")
    try:
        data = base64.b64decode(content) if encoding == "base64" else content.encode()
    except (binascii.Error, ValueError):
        raise RequestRefused(422, "content is not valid Base64") from None
    sha = call.repository.git.write("blob", data)
    url = f"{api_url(call.world, call.repository)}/git/blobs/{sha}"
    return Answer(201, {"sha": sha, "url": url}, {"Location": url})


@routes.get(f"{_GIT}/blobs/{{sha}}", app=_READ)
def get_blob(call: Call) -> Answer:
    """Content as base64, or as it is for the raw media type."""
    sha, git = call.params["sha"], call.repository.git
    if len(sha) != 40 or git.object_type(sha) != "blob":
        raise not_found()
    data = git.read(sha)
    if "raw" in call.headers.get("Accept", ""):
        return Answer(200, data, {"Content-Type": "application/octet-stream"})
    return Answer(200, {
        "sha": sha, "node_id": node_id("Blob", sha), "size": len(data),
        "url": f"{api_url(call.world, call.repository)}/git/blobs/{sha}",
        "content": base64.encodebytes(data).decode(), "encoding": "base64",
    })  # fmt: skip
