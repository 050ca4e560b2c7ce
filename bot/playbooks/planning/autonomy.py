"""Whose change was it, and may this bot act on it by itself (Decisions 4)? Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bot.config import Config, SelfWork
from bot.github.models import PullRequest
from bot.names import is_among
from bot.triggers import ActorKind, Autonomy, SourceKind, Trigger

OPT_OUT = "playbook:off"
"""The label that keeps automatic action off a pull request."""


def is_self_work(pull: PullRequest, marks: SelfWork) -> bool:
    """Whether a pull request is an autonomous agent's, by label or author."""
    labels = {label.lower() for label in pull.labels}
    return marks.label.lower() in labels or is_among(pull.user.login, marks.authors)


def is_opted_out(pull: PullRequest) -> bool:
    """Whether automatic action is kept off a pull request."""
    return OPT_OUT in {label.lower() for label in pull.labels}


def is_automatic(trigger: Trigger) -> bool:
    """Whether nobody asked: neither a person nor a program."""
    asked = trigger.source.kind in (SourceKind.API, SourceKind.CLI)
    return trigger.actor.kind is ActorKind.MACHINE and not asked


def how_far(
    trigger: Trigger, culprits: Sequence[PullRequest], config: Config, *, mixed: bool = False
) -> Autonomy:
    """How far the revert of a culprit goes that somebody's request, or nobody's, has found.

    Who asked for the culprit did not ask for its revert: a person has that merged. Where nobody
    asked, the configuration says; other people's changes are never merged away.

    Args:
        trigger: the request.
        culprits: every pull request whose work goes; it is self-work only if all are.
        config: of the repository.
        mixed: whether commits go too that came with no pull request.
    """
    if not is_automatic(trigger):
        return Autonomy.OPEN
    most = Autonomy.OPEN
    if culprits and not mixed and all(is_self_work(p, config.self_work) for p in culprits):
        most = Autonomy.MERGE
    if any(is_opted_out(pull) for pull in culprits):
        most = Autonomy.PROPOSE
    return config.triggers.autonomy.at_most(most)
