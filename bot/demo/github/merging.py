"""Merging: by the API, by a standing order, and of branches into branches.

https://docs.github.com/rest/pulls/pulls#merge-a-pull-request
"""

from __future__ import annotations

import asyncio
import re

from bot.demo.github import (
    commit_shape,
    history,
    merge_queue,
    pull_shape,
    push_rules,
    pushes,
    requirements,
)
from bot.demo.github.bare import Signature
from bot.demo.github.calls import Answer, Call, Refused, Routes, not_found
from bot.demo.github.model import Issue, MergeMethod, PullRequest, Repository
from bot.demo.github.requirements import Requirements, Who
from bot.demo.github.reviews import pull
from bot.demo.github.world import Event, World
from bot.triggers import Role

routes = Routes()

_PULL = "/repos/{owner}/{repo}/pulls/{number}"
_METHODS: tuple[MergeMethod, ...] = ("merge", "squash", "rebase")
_CLOSES = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d+)", re.IGNORECASE)


def allowed(repository: Repository, needs: Requirements, method: MergeMethod) -> None:
    """Refuse a merge method that settings or rules switch off.

    Raises:
        Refused: 405.
    """
    enabled = {
        "merge": repository.allow_merge_commit,
        "squash": repository.allow_squash_merge,
        "rebase": repository.allow_rebase_merge,
    }
    word = {"merge": "Merge commits", "squash": "Squash merges", "rebase": "Rebase merges"}[method]
    if not enabled[method] or method not in needs.methods:
        raise Refused(405, f"{word} are not allowed on this repository.")
    if method == "merge" and needs.linear:
        raise Refused(405, "This branch must not contain merge commits.")


def check(
    world: World, repository: Repository, issue: Issue, method: MergeMethod, who: Who
) -> None:
    """Refuse what cannot be merged now: state, rules, conflicts.

    Raises:
        Refused: 405 with GitHub's reason.
    """
    record = pull_shape.pull_of(issue)
    if issue.state != "open":
        raise Refused(405, "Pull Request is not mergeable")
    if record.draft:
        raise Refused(405, "Pull Request is still a draft")
    needs = requirements.of(repository, record.base_ref, who)
    allowed(repository, needs, method)
    if needs.queue is not None:
        raise Refused(405, "Changes must be made through the merge queue")
    for reason in requirements.obstacles(world, repository, issue, needs):
        raise Refused(405, reason)
    if needs.signatures and not _would_be_signed(repository, record, method):
        raise Refused(405, "Commits must have verified signatures.")
    if not requirements.compute_mergeable(repository, record):
        raise Refused(405, "Pull Request is not mergeable")


def _would_be_signed(repository: Repository, record: PullRequest, method: MergeMethod) -> bool:
    """A squash is GitHub's own commit; a merge keeps the commits; a rebase loses signatures."""
    commits = pull_shape.commit_shas(repository, record)
    return method == "squash" or (
        method == "merge" and all(sha in repository.signed for sha in commits)
    )


def messages(
    repository: Repository, issue: Issue, method: MergeMethod, title: str | None, body: str | None
) -> str:
    """The commit message GitHub proposes, or the one given.

    https://docs.github.com/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/about-pull-request-merges
    """
    record = pull_shape.pull_of(issue)
    if method == "merge":
        origin = f"{repository.owner.login}/{record.head_ref}"
        title = title or f"Merge pull request #{issue.number} from {origin}"
        body = issue.title if body is None else body
    else:
        shas = pull_shape.commit_shas(repository, record)
        commits = repository.git.commits(shas)
        single = commits[0].message.strip("\n").partition("\n") if len(commits) == 1 else None
        title = title or f"{single[0] if single else issue.title} (#{issue.number})"
        if body is None:
            listed = "\n\n".join(f"* {commit.message.strip()}" for commit in commits)
            body = single[2].strip("\n") if single else listed
    return f"{title}\n\n{body}" if body else title


def make(
    world: World,
    repository: Repository,
    issue: Issue,
    onto: str,
    method: MergeMethod,
    who: Who,
    message: str,
) -> str:
    """Build the merged history on `onto` and return its head; moves no ref.

    Raises:
        Refused: 405 when git finds conflicts.
    """
    record, git = pull_shape.pull_of(issue), repository.git
    github = commit_shape.web_flow(world)
    if method == "rebase":
        return _rebase(repository, record, onto, commit_shape.signature_of(world, who.user))
    tree = git.merge_trees(onto, record.head_sha)
    if tree is None:
        raise Refused(405, "Pull Request is not mergeable")
    squash = method == "squash"
    author = commit_shape.signature_of(world, issue.user if squash else who.user)
    parents = [onto] if squash else [onto, record.head_sha]
    sha = git.write_commit(tree, parents, message, author, github, sign=True)
    repository.signed.add(sha)
    return sha


def _rebase(repository: Repository, record: PullRequest, onto: str, committer: Signature) -> str:
    git, head = repository.git, onto
    for commit in git.commits(pull_shape.commit_shas(repository, record)):
        if len(commit.parents) > 1:
            continue
        tree = git.cherry_pick_tree(commit.sha, head)
        if tree is None:
            raise Refused(405, "This branch can't be rebased")
        if tree != git.commit(head).tree:
            head = git.write_commit(tree, [head], commit.message, commit.author, committer)
    return head


def land(world: World, repository: Repository, issue: Issue, sha: str, onto: str, who: Who) -> None:
    """Move the base branch to `sha`, record the merge, and tell everyone."""
    record = pull_shape.pull_of(issue)
    base = f"refs/heads/{record.base_ref}"
    repository.git.update_ref(base, sha)
    pushes.mark_merged(world, repository, issue, sha, onto, who.user, who.app)
    pushes.landed(world, repository, base, onto, sha, who.user, who.app)
    if record.base_ref == repository.default_branch:
        for number in _CLOSES.findall(issue.body or ""):
            mentioned = repository.issues.get(int(number))
            if mentioned is not None and mentioned.pull is None:
                history.close(world, repository, mentioned, who.user, app=who.app)
    head = f"refs/heads/{record.head_ref}"
    if repository.delete_branch_on_merge and repository.git.ref(head) == record.head_sha:
        pushes.push(world, repository, head, None, who.user, who.app)


def merge(
    world: World,
    repository: Repository,
    issue: Issue,
    method: MergeMethod,
    who: Who,
    title: str | None = None,
    body: str | None = None,
) -> str:
    """Merge now, if everything required is there; returns the new head of the base branch.

    Raises:
        Refused: 405 with the reason.
    """
    check(world, repository, issue, method, who)
    record = pull_shape.pull_of(issue)
    onto = repository.git.branch(record.base_ref)
    if onto is None:
        raise Refused(405, "Base branch was modified. Review and try the merge again.")
    message = messages(repository, issue, method, title, body)
    sha = make(world, repository, issue, onto, method, who, message)
    land(world, repository, issue, sha, onto, who)
    return sha


@routes.get(f"{_PULL}/merge", app="contents=read; pull_requests=read")
def is_merged(call: Call) -> Answer:
    """204 when merged, else 404."""
    _, record = pull(call)
    if record.merged_at is None:
        raise not_found()
    return Answer(204)


@routes.put(f"{_PULL}/merge", app="contents=write", person=Role.WRITE)
def merge_pull(call: Call) -> Answer:
    """Merge; 409 when `sha` is not the head, 405 when rules or conflicts forbid it."""
    issue, record = pull(call)
    body = call.body
    method = body.get("merge_method", "merge")
    if method not in _METHODS:
        raise Refused(422, "Validation Failed")
    expected = body.get("sha")
    if expected and expected != record.head_sha:
        raise Refused(409, "Head branch was modified. Review and try the merge again.")
    push_rules.require_workflows_permission(call, record.head_sha)
    sha = merge(
        call.world, call.repository, issue, method, push_rules.who(call),
        body.get("commit_title"), body.get("commit_message"),
    )  # fmt: skip
    done = {"sha": sha, "merged": True, "message": "Pull Request successfully merged"}
    return Answer(200, done)


@routes.put(f"{_PULL}/update-branch", app="pull_requests=write", person=Role.WRITE)
def update_branch(call: Call) -> Answer:
    """Merge the base into the head branch."""
    _, record = pull(call)
    git, expected = call.repository.git, call.body.get("expected_head_sha")
    if expected and expected != record.head_sha:
        raise Refused(422, f"expected head sha didn't match current head ref. {record.head_sha}")
    base = git.branch(record.base_ref)
    if base is None or git.is_ancestor(base, record.head_sha):
        raise Refused(422, "There are no new commits on the base branch.")
    message = f"Merge branch '{record.base_ref}' into {record.head_ref}"
    sha = _merge_commit(call, record.head_sha, base, message)
    if sha is None:
        raise Refused(422, "merge conflict between base and head")
    ref = f"refs/heads/{record.head_ref}"
    pushes.push(call.world, call.repository, ref, sha, call.user, call.caller.app)
    return Answer(202, {"message": "Updating pull request branch.", "url": str(call.url)})


def _merge_commit(call: Call, ours: str, theirs: str, message: str) -> str | None:
    git = call.repository.git
    tree = git.merge_trees(ours, theirs)
    if tree is None:
        return None
    author = commit_shape.signature_of(call.world, call.user)
    committer = commit_shape.web_flow(call.world)
    sha = git.write_commit(tree, (ours, theirs), message, author, committer, sign=True)
    call.repository.signed.add(sha)
    return sha


@routes.post("/repos/{owner}/{repo}/merges", app="contents=write", person=Role.WRITE)
def merge_branch(call: Call) -> Answer:
    """Merge `head` into `base`: 201, 204 when there is nothing to do, 409 on conflict."""
    git, base = call.repository.git, str(call.body.get("base", ""))
    ours, theirs = git.branch(base), git.commit_sha(str(call.body.get("head", "")))
    if ours is None:
        raise Refused(404, "Base does not exist")
    if theirs is None:
        raise Refused(404, "Head does not exist")
    if git.is_ancestor(theirs, ours):
        return Answer(204)
    message = call.body.get("commit_message") or f"Merge {call.body['head']} into {base}"
    sha = _merge_commit(call, ours, theirs, message)
    if sha is None:
        raise Refused(409, "Merge conflict")
    ref = f"refs/heads/{base}"
    push_rules.require(call, ref, sha)
    pushes.push(call.world, call.repository, ref, sha, call.user, call.caller.app)
    shape = commit_shape.commit(call.world, call.repository, git.commit(sha))
    return Answer(201, shape)


# Standing orders and the queue wait for these.
_NEWS = ("check_run", "check_suite", "status", "pull_request_review", "pull_request", "push")


def listen(world: World, event: Event) -> None:
    """After news about a repository, merge what waited for it (a moment later, as GitHub does)."""
    repository = event.repository
    if event.name not in _NEWS or repository is None:
        return
    waiting = [i for i in world.open_pulls(repository) if i.pull and i.pull.auto_merge]
    if not waiting and not repository.queue:
        return
    try:
        asyncio.get_running_loop().call_soon(_settle, world, repository)
    except RuntimeError:
        _settle(world, repository)


def _settle(world: World, repository: Repository) -> None:
    for issue in world.open_pulls(repository):
        order = issue.pull.auto_merge if issue.pull else None
        if order is None:
            continue
        who = Who(order.enabled_by, order.app)
        try:
            merge(world, repository, issue, order.method, who, order.title, order.message)
        except Refused:
            continue
    merge_queue.advance(world, repository)
