"""The merge queue: each entry is tested on a temporary branch, then the base moves forward.

https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/configuring-pull-request-merges/managing-a-merge-queue
"""

from __future__ import annotations

from fakegithub.access.answers import RequestRefused
from fakegithub.changes import history, merges, pushes
from fakegithub.rules import requirements
from fakegithub.rules.requirements import Who
from fakegithub.shapes import commit_shape, pull_shape
from fakegithub.world.model import FakeIssue, FakeQueueEntry, FakeRepository, MergeMethod
from fakegithub.world.world import World

_METHODS: dict[str, MergeMethod] = {"MERGE": "merge", "SQUASH": "squash", "REBASE": "rebase"}


def enqueue(world: World, repository: FakeRepository, issue: FakeIssue, who: Who) -> FakeQueueEntry:
    """Put a pull request at the end of its base branch's queue and have it tested.

    Raises:
        RequestRefused: 422 when there is no queue, it waits already, or rules forbid it.
    """
    record = pull_shape.pull_of(issue)
    needs = requirements.of(repository, record.base_ref)
    if needs.queue is None:
        raise RequestRefused(422, "Merge queue is not enabled for this branch.")
    if entry_of(repository, issue) is not None:
        raise RequestRefused(422, "Pull request is already in the queue.")
    if issue.state != "open" or record.draft:
        raise RequestRefused(422, "Pull request is closed or a draft.")
    for reason in requirements.obstacles(world, repository, issue, needs):
        raise RequestRefused(422, reason)
    method = _METHODS[needs.queue.get("merge_method", "MERGE")]
    entry = FakeQueueEntry(
        world.new_id(), issue.number, who.user, world.now(), method, "", "", "", app=who.app
    )
    _build(world, repository, issue, entry)
    repository.queue.append(entry)
    history.note(world, issue, "added_to_merge_queue", who.user, app=who.app)
    history.tell(world, repository, issue, "enqueued", who.user)
    _ask_for_checks(world, repository, entry)
    return entry


def entry_of(repository: FakeRepository, issue: FakeIssue) -> FakeQueueEntry | None:
    """The pull request's place in the queue."""
    return next((e for e in repository.queue if e.number == issue.number), None)


def _build(
    world: World, repository: FakeRepository, issue: FakeIssue, entry: FakeQueueEntry
) -> None:
    record = pull_shape.pull_of(issue)
    ahead = [
        e
        for e in repository.queue[: _position(repository, entry)]
        if pull_shape.pull_of(repository.issues[e.number]).base_ref == record.base_ref
    ]
    tip = repository.git.branch(record.base_ref) or record.base_sha
    entry.base_sha = ahead[-1].head_sha if ahead else tip
    who = Who(entry.enqueued_by, entry.app)
    message = merges.messages(repository, issue, entry.method, None, None)
    try:
        entry.head_sha = merges.make(
            world, repository, issue, entry.base_sha, entry.method, who, message
        )
    except RequestRefused:
        raise RequestRefused(422, "Pull request cannot be merged cleanly.") from None
    name = f"gh-readonly-queue/{record.base_ref}/pr-{issue.number}-{entry.base_sha}"
    entry.ref, entry.state = f"refs/heads/{name}", "AWAITING_CHECKS"


def _position(repository: FakeRepository, entry: FakeQueueEntry) -> int:
    return repository.queue.index(entry) if entry in repository.queue else len(repository.queue)


def _group(world: World, repository: FakeRepository, entry: FakeQueueEntry) -> dict[str, object]:
    record = pull_shape.pull_of(repository.issues[entry.number])
    commit = commit_shape.git_commit(world, repository, repository.git.commit(entry.head_sha))
    people = {
        key: {"name": commit[key]["name"], "email": commit[key]["email"]}
        for key in ("author", "committer")
    }
    return {
        "head_sha": entry.head_sha,
        "head_ref": entry.ref,
        "base_sha": entry.base_sha,
        "base_ref": f"refs/heads/{record.base_ref}",
        "head_commit": {
            "id": entry.head_sha,
            "tree_id": commit["tree"]["sha"],
            "message": commit["message"],
            "timestamp": commit["committer"]["date"],
            **people,
        },
    }


def _ask_for_checks(world: World, repository: FakeRepository, entry: FakeQueueEntry) -> None:
    pushes.push(world, repository, entry.ref, entry.head_sha, entry.enqueued_by, entry.app)
    world.emit(
        "merge_group", "checks_requested", {"merge_group": _group(world, repository, entry)},
        repository=repository, sender=entry.enqueued_by, subjects=(entry,),
    )  # fmt: skip


def advance(world: World, repository: FakeRepository) -> None:
    """Merge every entry at the front that is green; throw out one that is red."""
    while repository.queue:
        entry = repository.queue[0]
        issue = repository.issues[entry.number]
        record = pull_shape.pull_of(issue)
        needs = requirements.of(repository, record.base_ref)
        if issue.state != "open":
            dequeue(world, repository, issue, "MERGE_CONFLICT")
            continue
        missing = requirements.missing_checks(world, repository, entry.head_sha, needs)
        if any(state == "failed" for _, state in missing):
            dequeue(world, repository, issue, "CI_FAILURE")
            continue
        if missing:
            return
        if repository.git.branch(record.base_ref) != entry.base_sha:
            dequeue(world, repository, issue, "BRANCH_PROTECTIONS")
            continue
        repository.queue.remove(entry)
        who = Who(entry.enqueued_by, entry.app)
        merges.land(world, repository, issue, entry.head_sha, entry.base_sha, who)
        _destroy(world, repository, entry, "merged")
        history.tell(world, repository, issue, "dequeued", entry.enqueued_by, reason="MERGE")


def dequeue(
    world: World, repository: FakeRepository, issue: FakeIssue, reason: str, who: Who | None = None
) -> FakeQueueEntry | None:
    """Take a pull request out of the queue; those behind it are built again without it."""
    entry = entry_of(repository, issue)
    if entry is None:
        return None
    at = _position(repository, entry)
    repository.queue.remove(entry)
    actor = who.user if who else entry.enqueued_by
    history.note(world, issue, "removed_from_merge_queue", actor)
    _destroy(world, repository, entry, "dequeued" if reason == "MANUAL" else "invalidated")
    history.tell(world, repository, issue, "dequeued", actor, reason=reason)
    for behind in repository.queue[at:]:
        other = repository.issues[behind.number]
        _destroy(world, repository, behind, "invalidated")
        try:
            _build(world, repository, other, behind)
        except RequestRefused:
            dequeue(world, repository, other, "MERGE_CONFLICT")
            return entry
        _ask_for_checks(world, repository, behind)
    return entry


def _destroy(world: World, repository: FakeRepository, entry: FakeQueueEntry, reason: str) -> None:
    payload = {"reason": reason, "merge_group": _group(world, repository, entry)}
    world.emit("merge_group", "destroyed", payload, repository=repository,
               sender=entry.enqueued_by, subjects=(entry,))  # fmt: skip
    if repository.git.ref(entry.ref) is not None:
        pushes.push(world, repository, entry.ref, None, entry.enqueued_by, entry.app)
