"""Where a Run stands, kept with its records: the cockpit shows there what people have to do."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.playbooks.words.standing import StatusMessage
from bot.records import runs


async def keep(run: Run, standing: StatusMessage) -> None:
    """Keep what people are about to be told."""
    now = await run.now()

    async def change(conn: AsyncConnection) -> bool:
        await runs.stand(
            conn,
            run.id,
            at=now,
            state=standing.state,
            headline=standing.headline,
            details=standing.details,
        )
        return True

    await run.write(Step.STORE_STATUS, bool, change)
