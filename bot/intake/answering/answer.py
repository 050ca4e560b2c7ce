"""How one Trigger is answered: a reaction, one comment, or a row that the cockpit shows."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.github.calls.reactions import Emotion, Subject
from bot.github.client import RepositoryClient
from bot.intake.answering import replies
from bot.playbooks.run import Run
from bot.records.intake import answers
from bot.triggers import SourceKind, Trigger, Value

_REACTS = {
    SourceKind.ISSUE_COMMENT: Subject.ISSUE_COMMENT,
    SourceKind.REVIEW_COMMENT: Subject.REVIEW_COMMENT,
    # Reviews take no reactions by REST: their pull request takes them instead.
    SourceKind.REVIEW: Subject.ISSUE,
}

_OUTCOMES = {
    Emotion.SEEN: answers.Outcome.SEEN,
    Emotion.DONE: answers.Outcome.DONE,
    Emotion.REFUSED: answers.Outcome.REFUSED,
}


class Reply(Value):
    """What came of a small request, in Markdown."""

    text: str
    done: bool = True


class Answer:
    """What the sender of one Trigger gets to see."""

    def __init__(self, run: Run, trigger: Trigger, client: RepositoryClient) -> None:
        """Prepare; nothing is said yet.

        Args:
            run: makes what is said durable, and said once.
            trigger: what is answered.
            client: where it is answered.
        """
        self.run = run
        self.trigger = trigger
        self.client = client

    async def nothing_here(self) -> None:
        """Refuse: nothing that this command could be about is going on here."""
        await self.say(
            replies.nothing_here(self.trigger.actor, self.trigger.request.command), Emotion.REFUSED
        )

    async def refuse(self, reason: str, remedy: str) -> None:
        """Say why not, and what to do instead."""
        await self.say(replies.refusal(self.trigger.actor, reason, remedy), Emotion.REFUSED)

    async def reply(self, reply: Reply) -> None:
        """Say what came of a small request."""
        await self.say(reply.text, Emotion.DONE if reply.done else Emotion.REFUSED)

    async def say(self, text: str, emotion: Emotion = Emotion.DONE) -> None:
        """Say something (Markdown), once, and react."""
        subject, run = self.trigger.source.subject, self.run
        if self.trigger.source.kind is SourceKind.COCKPIT:
            return await self._put(emotion, text)
        if subject is not None:

            async def comment(look_first: bool) -> bool:
                await self.client.comments.ensure_comment(
                    subject,
                    key=f"answer:{run.id}",
                    body=text,
                    since=self.trigger.received_at,
                    look_first=look_first,
                )
                return True

            await run.step("answer", bool, comment)
        return await self.react(emotion)

    async def react(self, emotion: Emotion) -> None:
        """Show receipt, success or refusal without a word, where that is possible."""
        source = self.trigger.source
        if source.kind is SourceKind.COCKPIT:
            return await self._put(emotion)
        subject = _REACTS.get(source.kind)
        if subject is None:
            return None  # a label or an API request: its id is no comment's
        number = source.subject if source.kind is SourceKind.REVIEW else int(source.object_id)
        if number is None:
            return None

        async def react(_: bool) -> bool:
            await self.client.reactions.ensure_reaction(subject, number, emotion)
            return True

        await self.run.step(f"react with {emotion}", bool, react)
        return None

    async def _put(self, emotion: Emotion, text: str = "") -> None:
        run, trigger = self.run, self.trigger
        now = await run.now()

        async def change(conn: AsyncConnection) -> bool:
            await answers.put(
                conn,
                run.id,
                repository_id=trigger.repository.id,
                actor=trigger.actor.login,
                outcome=_OUTCOMES[emotion],
                at=now,
                text=text,
            )
            return True

        await run.write(f"answer in the cockpit: {emotion}", bool, change)
