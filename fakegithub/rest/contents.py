"""Files at a ref, and one-file commits. https://docs.github.com/rest/repos/contents."""

from __future__ import annotations

import base64
import binascii
import posixpath
from typing import Any
from urllib.parse import quote

from fakegithub.access.answers import Answer, RequestRefused, invalid, not_found
from fakegithub.changes import pushes
from fakegithub.git.bare import TreeItem
from fakegithub.rest import push_checks
from fakegithub.rest.calls import Call, Routes
from fakegithub.rules import push_rules
from fakegithub.shapes import commit_shape
from fakegithub.shapes.repositories import api_url, html_url
from fakegithub.world.roles import RoleName

routes = Routes()

_CONTENTS = "/repos/{owner}/{repo}/contents/{path:.*}"
_READ, _WRITE = "contents=read", "contents=write"
_INLINE = 1024 * 1024
_KINDS = {"040000": "dir", "120000": "symlink", "160000": "submodule"}


def _shape(call: Call, entry: TreeItem, path: str, ref: str) -> dict[str, Any]:
    api, page = api_url(call.world, call.repository), html_url(call.world, call.repository)
    kind = _KINDS.get(entry.mode, "file")
    where = f"{api}/contents/{quote(path)}?ref={quote(ref)}"
    tree = "tree" if kind == "dir" else "blob"
    git_url = f"{api}/git/{tree}s/{entry.sha}"
    html = f"{page}/{tree}/{quote(ref)}/{quote(path)}"
    raw = None if kind == "dir" else f"{page}/raw/{quote(ref)}/{quote(path)}"
    return {
        "name": path.rsplit("/", 1)[-1],
        "path": path,
        "sha": entry.sha,
        "size": entry.size or 0,
        "url": where,
        "html_url": html,
        "git_url": git_url,
        "download_url": raw,
        "type": kind,
        "_links": {"self": where, "git": git_url, "html": html},
    }


def _commit_at(call: Call, ref: str) -> str:
    sha = call.repository.git.commit_sha(ref)
    if sha is None:
        raise RequestRefused(404, f"No commit found for the ref {ref}")
    return sha


@routes.get(_CONTENTS, app=_READ)
def get_contents(call: Call) -> Answer:
    """A file with its content, or a directory's entries."""
    git, path = call.repository.git, call.params["path"].strip("/")
    ref = call.query.get("ref") or call.repository.default_branch
    ref = ref.removeprefix("refs/heads/")
    if not call.query.get("ref") and git.branch(ref) is None:
        raise RequestRefused(404, "This repository is empty.")
    commit = _commit_at(call, ref)
    entry = git.entry(commit, path) if path else TreeItem("040000", "tree", commit, "")
    if entry is None:
        raise not_found()
    if entry.type == "tree":
        inside = git.tree(entry.sha)
        base = f"{path}/" if path else ""
        return Answer(200, [_shape(call, each, base + each.path, ref) for each in inside])
    if entry.type == "commit":
        return Answer(200, {**_shape(call, entry, path, ref), "submodule_git_url": None})
    data = git.read(entry.sha)
    if "raw" in call.headers.get("Accept", ""):
        return Answer(200, data, {"Content-Type": "application/vnd.github.raw; charset=utf-8"})
    shape = _shape(call, entry, path, ref)
    if shape["type"] == "symlink":
        target = data.decode(errors="replace")
        leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        meant = git.entry(commit, leads_to)
        if meant is None or meant.type != "blob":
            return Answer(200, {**shape, "target": target})
        # "If the symlink's target is a normal file, the API responds with the content of the file."
        data = git.read(meant.sha)
        shape = _shape(call, TreeItem("100644", "blob", meant.sha, entry.path), path, ref)
    # Files above one megabyte come without content; the raw media type has it.
    small = len(data) <= _INLINE
    content = base64.encodebytes(data).decode() if small else ""
    return Answer(200, {**shape, "content": content, "encoding": "base64" if small else "none"})


@routes.put(_CONTENTS, app=_WRITE, person=RoleName.WRITE)
def put_contents(call: Call) -> Answer:
    """Create or update one file; an update must name the blob it replaces (else 409, 422)."""
    try:
        data = base64.b64decode(str(call.body.get("content", "")))
    except (binascii.Error, ValueError):
        raise RequestRefused(422, "content is not valid Base64") from None
    path = call.params["path"]
    existing = _replaced(call, path, needed=False)
    mode = existing.mode if existing else "100644"
    sha = _write(call, path, (mode, call.repository.git.write("blob", data)))
    entry = call.repository.git.entry(sha, path)
    if entry is None:
        raise not_found()
    content = _shape(call, entry, path, _branch(call))
    answer = {"content": content, "commit": _commit(call, sha)}
    return Answer(200 if existing else 201, answer)


@routes.delete(_CONTENTS, app=_WRITE, person=RoleName.WRITE)
def delete_contents(call: Call) -> Answer:
    """Remove one file."""
    path = call.params["path"]
    _replaced(call, path, needed=True)
    return Answer(200, {"content": None, "commit": _commit(call, _write(call, path, None))})


def _sent(call: Call, name: str) -> Any:
    """A parameter from the body, or (DELETE allows it) from the query."""
    return call.body.get(name) or call.query.get(name)


def _branch(call: Call) -> str:
    given = str(_sent(call, "branch") or call.repository.default_branch)
    return given.removeprefix("refs/heads/")


def _replaced(call: Call, path: str, *, needed: bool) -> TreeItem | None:
    branch, sha = _branch(call), _sent(call, "sha")
    head = call.repository.git.branch(branch)
    if head is None:
        if call.repository.git.refs("refs/heads/"):
            raise RequestRefused(404, f"Branch {branch} not found")
        return None
    existing = call.repository.git.entry(head, path)
    if existing is None:
        if needed:
            raise not_found()
        return None
    if not sha:
        raise RequestRefused(422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
    if sha != existing.sha:
        raise RequestRefused(409, f"{path} does not match {sha}")
    return existing


def _write(call: Call, path: str, change: tuple[str, str] | None) -> str:
    repository, world, git = call.repository, call.world, call.repository.git
    message = _sent(call, "message")
    if not message:
        raise invalid("Commit", "message", code="missing_field")
    branch = _branch(call)
    head = git.branch(branch)
    tree = git.write_tree(git.commit(head).tree if head else None, {path: change})
    author = commit_shape.signature_of(world, call.user)
    committer = commit_shape.web_flow(world)
    sha = git.write_commit(tree, [head] if head else [], str(message), author, committer, sign=True)
    repository.signed.add(sha)
    push_checks.require_workflows_permission(call, sha)
    ref = f"refs/heads/{branch}"
    reason = push_rules.refusal(world, repository, ref, sha, push_checks.who(call))
    if reason is not None:
        ruled = reason.startswith(push_rules.VIOLATED)
        raise RequestRefused(409, reason if ruled else f"Could not update file: {reason}")
    pushes.push(world, repository, ref, sha, call.user, call.caller.app)
    return sha


def _commit(call: Call, sha: str) -> dict[str, Any]:
    commit = call.repository.git.commit(sha)
    return commit_shape.git_commit(call.world, call.repository, commit)
