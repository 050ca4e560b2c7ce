"""What waits to be merged, by a standing order or in the queue, is looked at after every news."""

from __future__ import annotations

import asyncio

from fakegithub.access.answers import RequestRefused
from fakegithub.changes import merge_queue
from fakegithub.changes.merges import merge
from fakegithub.rules.requirements import Who
from fakegithub.world.model import FakeRepository
from fakegithub.world.world import Event, World

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


def _settle(world: World, repository: FakeRepository) -> None:
    for issue in world.open_pulls(repository):
        order = issue.pull.auto_merge if issue.pull else None
        if order is None:
            continue
        who = Who(order.enabled_by, order.app)
        try:
            merge(world, repository, issue, order.method, who, order.title, order.message)
        except RequestRefused:
            continue
    merge_queue.advance(world, repository)
