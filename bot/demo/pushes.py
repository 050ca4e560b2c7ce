"""What a push sets in motion: the event, pull requests that follow their branches."""

from __future__ import annotations

from bot.demo.model import Repository, User
from bot.demo.world import World


def push(world: World, repository: Repository, ref: str, sha: str | None, pusher: User) -> None:
    """Point `ref` at `sha` (None deletes it) and tell everyone."""
    before = repository.git.ref(ref)
    repository.git.update_ref(ref, sha)
    landed(world, repository, ref, before, sha, pusher)


def landed(
    world: World,
    repository: Repository,
    ref: str,
    before: str | None,
    after: str | None,
    pusher: User,
) -> None:
    """Tell everyone that `ref` moved."""
    del world, repository, ref, before, after, pusher
