"""Labels: those the repository has, and those on an issue or pull request."""

from __future__ import annotations

from collections.abc import Sequence

from bot.github.calls.ensure import ensure
from bot.github.models import Label
from bot.github.transport.channel import Channel

LABELS = "/repos/{owner}/{repo}/labels"
ON_ISSUE = "/repos/{owner}/{repo}/issues/{number}/labels"


class Labels:
    """The repository's labels."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def ensure_label(
        self, name: str, *, color: str, description: str, look_first: bool = False
    ) -> Label:
        """Make sure the label exists. One that is there is left as its owners want it.

        Args:
            name: Compared by GitHub without regard to case.
            color: Six hexadecimal digits, no `#`.
            description: At most 100 characters; cut.
            look_first: Whether this step may already have run; a second label of one name is
                refused by GitHub anyway, so False is safe too.
        """

        async def look() -> Label | None:
            data = await self._channel.find(f"{LABELS}/{{name}}", name=name)
            return None if data is None else Label.model_validate(data)

        async def create() -> Label:
            body = {"name": name, "color": color, "description": description[:100]}
            return Label.model_validate(await self._channel.post(LABELS, body))

        return await ensure(
            look=look,
            create=create,
            look_first=look_first,
            sleep=self._channel.around.sleep,
            looks=(0.0,),
        )

    async def add(self, number: int, names: Sequence[str]) -> tuple[str, ...]:
        """Put labels on an issue or pull request; give all that are on it now."""
        data = await self._channel.post(
            ON_ISSUE, {"labels": list(names)}, repeatable=True, number=number
        )
        return tuple(Label.model_validate(entry).name for entry in data)

    async def remove(self, number: int, name: str) -> None:
        """Take a label off; that it is not there is fine."""
        await self._channel.delete(f"{ON_ISSUE}/{{name}}", number=number, name=name)
