"""An update of the bot under a Run that waits, as far as the Run can tell."""

from __future__ import annotations

import sqlalchemy as sa

from bot.playbooks.steps import Step
from bot.records.runs import StoredRun
from tests.shop import Shop


async def end_by_update(shop: Shop, run: StoredRun, *, at: Step) -> None:
    """The process ends, and the next one's code takes another step than `at`: it cannot go on."""
    await _ended(shop, run)
    with shop.bot.engine._system.engine.begin() as connection:
        _another_step(shop, connection, run, at, Step.COMPUTE_FIX.id)
        # As after a restart under other code: whoever can replay it takes it from the queue.
        _of_another_process(shop, connection, run)
    shop.bot.engine._over.set()


async def park(shop: Shop, run: StoredRun, *, at: Step) -> None:
    """A newer release, which is gone, has taken a step that this one does not know."""
    await _ended(shop, run)
    with shop.bot.engine._system.engine.begin() as connection:
        _another_step(shop, connection, run, at, "a-step-of-a-newer-release")
        _of_another_process(shop, connection, run)
    shop.bot.engine._over.set()

    async def parked() -> bool:
        return shop.bot.engine.is_parked(run.id)

    await shop.eventually(parked)


async def _ended(shop: Shop, run: StoredRun) -> None:
    """End the execution in the middle; what tends Runs finds it pending."""
    engine, name = shop.bot.engine, f"run {run.id}"
    for task in list(engine._executing):
        if task.get_name() == name:
            task.cancel()

    async def gone() -> bool:
        return not any(task.get_name() == name for task in engine._executing)

    await shop.eventually(gone)


def _another_step(
    shop: Shop, connection: sa.Connection, run: StoredRun, at: Step, step: str
) -> None:
    outputs = shop.bot.engine._system.tables.operation_outputs
    first = sa.select(sa.func.min(outputs.c.function_id)).where(
        outputs.c.workflow_uuid == run.id, outputs.c.function_name == at.id
    )
    place = connection.execute(first).scalar_one()
    connection.execute(
        sa.update(outputs)
        .where(outputs.c.workflow_uuid == run.id, outputs.c.function_id == place)
        .values(function_name=step)
    )


def _of_another_process(shop: Shop, connection: sa.Connection, run: StoredRun) -> None:
    status = shop.bot.engine._system.tables.workflow_status
    connection.execute(
        sa.update(status)
        .where(status.c.workflow_uuid == run.id)
        .values(application_version="the release before", executor_id="a process that is gone")
    )
