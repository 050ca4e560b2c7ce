"""Commits, comparisons and branches. https://docs.github.com/rest/commits/commits."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fakegithub.access.answers import Answer, RequestRefused, not_found
from fakegithub.changes import pushes
from fakegithub.rest.calls import Call, Routes
from fakegithub.rest.rulesets import branch_protection
from fakegithub.rules import requirements
from fakegithub.shapes import commit_shape, pull_shape
from fakegithub.shapes.repositories import api_url, html_url
from fakegithub.world.model import FakeIssue, FakeRepository
from fakegithub.world.roles import RoleName

routes = Routes()

_READ = "contents=read"
_REPOSITORY = "/repos/{owner}/{repo}"
_MOST_COMPARED = 250


def _commit_named(call: Call, name: str) -> str:
    sha = call.repository.git.commit_sha(name)
    if sha is None:
        raise RequestRefused(422, f"No commit found for SHA: {name}")
    return sha


@routes.get(f"{_REPOSITORY}/commits", app=_READ)
def list_commits(call: Call) -> Answer:
    """Commits reachable from `sha`, newest first; filters path, author, since, until."""
    query, git = call.query, call.repository.git
    if not git.refs("refs/heads/"):
        raise RequestRefused(409, "Git Repository is empty.")
    start = git.commit_sha(query.get("sha") or call.repository.default_branch)
    if start is None:
        raise not_found()
    args = [start]
    args += [f"--since={query['since']}"] if "since" in query else []
    args += [f"--until={query['until']}"] if "until" in query else []
    if "author" in query:
        user = call.world.users.get(query["author"].lower())
        args += ["--fixed-strings", f"--author={user.email if user else query['author']}"]
    shas = git.rev_list(*args, "--", *([query["path"]] if query.get("path") else []))
    page = call.page(shas)
    shapes = commit_shape.commits(call.world, call.repository, page.body)
    return Answer(200, shapes, page.headers)


@routes.get(f"{_REPOSITORY}/commits/{{sha}}/pulls", app="pull_requests=read; contents=read")
def list_pulls(call: Call) -> Answer:
    """Every merged pull request that brought the commit, else those that contain it.

    https://docs.github.com/rest/commits/commits#list-pull-requests-associated-with-a-commit
    """
    sha = _commit_named(call, call.params["sha"])
    all_pulls = [i for i in call.repository.issues.values() if i.pull]
    merged = [i for i in all_pulls if i.pull and i.pull.merged_at and sha in _brought(call, i)]
    found = merged or [
        i for i in all_pulls if i.pull and sha in pull_shape.commit_shas(call.repository, i.pull)
    ]
    return call.page([pull_shape.simple(call.world, call.repository, i) for i in found])


def _brought(call: Call, issue: FakeIssue) -> set[str]:
    pull = pull_shape.pull_of(issue)
    if pull.merge_commit_sha is None or pull.merged_onto is None:
        return set()
    own = pull_shape.commit_shas(call.repository, pull)
    if pull.merged_indirectly:  # together with others, whose commits are not its own
        return {pull.merge_commit_sha, *own}
    landed = call.repository.git.rev_list(pull.merge_commit_sha, f"^{pull.merged_onto}")
    return {*landed, *own}


@routes.get(f"{_REPOSITORY}/commits/{{sha}}/branches-where-head", app=_READ)
def list_branches_where_head(call: Call) -> Answer:
    """Branches whose head is this commit."""
    sha = _commit_named(call, call.params["sha"])
    heads = _heads(call.repository)
    return Answer(200, [_short(call, name, head) for name, head in heads.items() if head == sha])


@routes.get(f"{_REPOSITORY}/commits/{{ref:.+}}", app=_READ)
def get_commit(call: Call) -> Answer:
    """One commit with stats and changed files; the diff media type gives the diff."""
    git = call.repository.git
    sha = _commit_named(call, call.params["ref"])
    commit = git.commit(sha)
    base = commit.parents[0] if commit.parents else git.write("tree", b"")
    if (text := _as_text(call, base, sha)) is not None:
        return text
    shape = commit_shape.commit(call.world, call.repository, commit)
    changes = git.changes(base, sha)
    return Answer(200, commit_shape.with_files(shape, call.world, call.repository, changes))


def _as_text(call: Call, base: str, head: str) -> Answer | None:
    accept = call.headers.get("Accept", "")
    if "diff" in accept:
        text = call.repository.git.run("diff", "-M", base, head)
        return Answer(200, text, {"Content-Type": "application/vnd.github.diff; charset=utf-8"})
    return None


@routes.get(f"{_REPOSITORY}/compare/{{basehead:.+}}", app=_READ)
def compare(call: Call) -> Answer:
    """`BASE...HEAD`: at most 250 commits a page, oldest first, and the files that differ."""
    base_name, dots, head_name = call.params["basehead"].partition("...")
    owner = f"{call.repository.owner.login}:"
    git, world, repository = call.repository.git, call.world, call.repository
    base = git.commit_sha(base_name.removeprefix(owner))
    head = git.commit_sha(head_name.removeprefix(owner))
    if not dots or base is None or head is None:
        raise not_found()
    merge_base = git.merge_base(base, head)
    if merge_base is None:
        raise RequestRefused(404, f"No common ancestor between {base_name} and {head_name}.")
    if (text := _as_text(call, merge_base, head)) is not None:
        return text
    ahead = git.rev_list("--reverse", "--topo-order", head, f"^{base}")
    behind = len(git.rev_list(base, f"^{head}"))
    words = {(False, False): "identical", (True, False): "ahead", (False, True): "behind"}
    page = call.page(ahead) if "page" in call.query else Answer(200, ahead[:_MOST_COMPARED])
    api = f"{api_url(world, repository)}/compare/{base_name}...{head_name}"
    html = f"{html_url(world, repository)}/compare/{base_name}...{head_name}"
    ends = commit_shape.commits(world, repository, [base, merge_base])
    files = [
        commit_shape.file(world, repository, head, change)
        for change in git.changes(merge_base, head)[: commit_shape.MOST_FILES]
    ]
    return Answer(200, {
        "url": api, "html_url": html, "permalink_url": html,
        "diff_url": f"{html}.diff", "patch_url": f"{html}.patch",
        "base_commit": ends[0], "merge_base_commit": ends[1],
        "status": words.get((bool(ahead), bool(behind)), "diverged"),
        "ahead_by": len(ahead), "behind_by": behind, "total_commits": len(ahead),
        "commits": commit_shape.commits(world, repository, page.body), "files": files,
    }, page.headers)  # fmt: skip


# Branches


def _heads(repository: FakeRepository) -> dict[str, str]:
    heads = repository.git.refs("refs/heads/")
    return {name.removeprefix("refs/heads/"): sha for name, sha in heads.items()}


def _short(call: Call, name: str, sha: str) -> dict[str, Any]:
    api = api_url(call.world, call.repository)
    return {
        "name": name,
        "commit": {"sha": sha, "url": f"{api}/commits/{sha}"},
        "protected": requirements.is_protected(call.repository, name),
    }


@routes.get(f"{_REPOSITORY}/branches", app=_READ)
def list_branches(call: Call) -> Answer:
    """Every branch, or only (un)protected ones."""
    shapes = [_short(call, name, sha) for name, sha in _heads(call.repository).items()]
    if "protected" in call.query:
        wanted = call.query["protected"] == "true"
        shapes = [shape for shape in shapes if shape["protected"] is wanted]
    return call.page(shapes)


@routes.post(
    f"{_REPOSITORY}/branches/{{branch:.+}}/rename",
    app="administration=write", person=RoleName.WRITE,
)  # fmt: skip
def rename_branch(call: Call) -> Answer:
    """Give a branch another name; protection and pull requests into it move with it.

    Those from it are closed, as where it is deleted.
    """
    repository, old, new = (
        call.repository,
        call.params["branch"],
        str(call.body.get("new_name", "")),
    )
    sha = repository.git.branch(old)
    if sha is None:
        raise not_found()
    if repository.git.branch(new) or not repository.git.valid_ref(f"refs/heads/{new}"):
        raise RequestRefused(422, f"{new} is not a valid branch name, or exists already.")
    for issue in repository.issues.values():
        if issue.pull is not None and issue.state == "open":
            issue.pull.base_ref = new if issue.pull.base_ref == old else issue.pull.base_ref
    if old in repository.protections:
        repository.protections[new] = repository.protections.pop(old)
    pushes.push(call.world, repository, f"refs/heads/{new}", sha, call.user, call.caller.app)
    if repository.default_branch == old:
        repository.default_branch = new
        repository.git.run("symbolic-ref", "HEAD", f"refs/heads/{new}")
    pushes.push(call.world, repository, f"refs/heads/{old}", None, call.user, call.caller.app)
    return Answer(201, _whole(call, new, sha))


@routes.get(f"{_REPOSITORY}/branches/{{branch:.+}}", app=_READ)
def get_branch(call: Call) -> Answer:
    """One branch with its head commit."""
    name = call.params["branch"]
    sha = call.repository.git.branch(name)
    if sha is None:
        raise RequestRefused(404, "Branch not found")
    return Answer(200, _whole(call, name, sha))


def _whole(call: Call, name: str, sha: str) -> dict[str, Any]:
    world, repository = call.world, call.repository
    api = f"{api_url(world, repository)}/branches/{quote(name)}"
    return {
        "name": name,
        "commit": commit_shape.commit(world, repository, repository.git.commit(sha)),
        "_links": {"self": api, "html": f"{html_url(world, repository)}/tree/{quote(name)}"},
        "protected": requirements.is_protected(repository, name),
        "protection": branch_protection(repository, name),
        "protection_url": f"{api}/protection",
    }
