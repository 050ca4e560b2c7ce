"""Whose change was it, and may this bot act on it by itself (Decisions 4)? Pure."""

from __future__ import annotations

from bot.config import Config, SelfWork
from bot.github.models import PullRequest
from bot.triggers import ActorKind, Autonomy, SourceKind, Trigger

OPT_OUT = "playbook:off"
"""The label that keeps automatic action off a pull request."""


def is_self_work(pull: PullRequest, marks: SelfWork) -> bool:
    """Whether a pull request is an autonomous agent's, by label or author."""
    authors = {author.lower() for author in marks.authors}
    labels = {label.lower() for label in pull.labels}
    return marks.label.lower() in labels or pull.user.login.lower() in authors


def is_automatic(trigger: Trigger) -> bool:
    """Whether nobody asked: neither a person nor a program."""
    asked = trigger.source.kind in (SourceKind.API, SourceKind.CLI)
    return trigger.actor.kind is ActorKind.MACHINE and not asked


def how_far(trigger: Trigger, culprit: PullRequest | None, config: Config) -> Autonomy:
    """How far the revert of a culprit goes that somebody's request, or nobody's, has found.

    Who asked for the culprit did not ask for its revert: a person has that merged. Where nobody
    asked, the configuration says; other people's changes are never merged away.
    """
    if not is_automatic(trigger):
        return Autonomy.OPEN
    most = Autonomy.OPEN
    if culprit is not None and is_self_work(culprit, config.self_work):
        most = Autonomy.MERGE
    if culprit is not None and OPT_OUT in {label.lower() for label in culprit.labels}:
        most = Autonomy.PROPOSE
    return config.triggers.autonomy.at_most(most)
