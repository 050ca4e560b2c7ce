"""Reactions: how a command's receipt, success or refusal is shown without a comment."""

from __future__ import annotations

from enum import StrEnum

from bot.github.models import Reaction
from bot.github.transport.channel import Channel


class Emotion(StrEnum):
    """The reactions the bot uses."""

    SEEN = "eyes"
    DONE = "+1"
    REFUSED = "confused"


class ReactionSubject(StrEnum):
    """What can be reacted to by its id (an issue or pull request: by its number)."""

    ISSUE = "/repos/{owner}/{repo}/issues/{id}/reactions"
    ISSUE_COMMENT = "/repos/{owner}/{repo}/issues/comments/{id}/reactions"
    REVIEW_COMMENT = "/repos/{owner}/{repo}/pulls/comments/{id}/reactions"


class Reactions:
    """The App's reactions. Reviews take none by REST: react on their pull request instead."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def ensure_reaction(
        self, subject: ReactionSubject, id: int, emotion: Emotion
    ) -> Reaction:
        """React once; GitHub gives the existing reaction if there is one."""
        data = await self._channel.post(
            subject.value, {"content": emotion.value}, repeatable=True, id=id
        )
        return Reaction.model_validate(data)

    async def remove(self, subject: ReactionSubject, id: int, reaction_id: int) -> None:
        """Take one of our reactions back; that it is gone already is fine."""
        await self._channel.delete(
            f"{subject.value}/{{reaction_id}}", id=id, reaction_id=reaction_id
        )
