"""What pausing and unpausing would do."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.cockpit.previews.preview import Preview, step
from bot.config import Config
from bot.playbooks.planning.declined import CannotPlan
from bot.records import pauses
from bot.records.pauses import Pause
from bot.records.steps import Reversibility
from bot.triggers import SELF_WORK, PauseRequest, UnpauseRequest


async def of_pause(
    conn: AsyncConnection, repository_id: int, request: PauseRequest, config: Config
) -> Preview:
    """What would be held.

    Raises:
        Stop: there is no such capability, or it is held as firmly already.
    """
    scope = markdown.code(request.scope)
    known = (SELF_WORK, *sorted(config.capabilities))
    if request.scope not in known:
        raise CannotPlan(
            f"There is no capability {scope} here.",
            f"Allowed: {', '.join(map(markdown.code, known))}.",
        )
    now = await pauses.in_force(conn, repository_id, request.scope)
    if now is not None and now.state == "paused" and not now.lifts_itself:
        raise CannotPlan(f"{scope} is paused already: {_why(now)}", "")
    held = (
        "`self-work gate` fails on every open pull request of self-work, so that none is merged. "
        "People's pull requests and hotfixes pass."
        if request.scope == SELF_WORK
        else f"{scope} gets no new shadow, and its candidate no more traffic than it has. A "
        "rollback is always possible."
    )
    lines = [held, "It stays so until a person unpauses it."]
    if now is not None:
        lines.append(f"It is held now by what lifts itself: {_why(now)}")
    undo = f"/unpause {request.scope}"
    steps = (step(f"Pause {scope}", Reversibility.REVERSIBLE, undo),)
    return Preview("This pause would", tuple(lines), goes_on=True, steps=steps)


async def of_unpause(conn: AsyncConnection, repository_id: int, request: UnpauseRequest) -> Preview:
    """What would go on.

    Raises:
        Stop: nothing of that name is held, or it is not clear which is meant.
    """
    held = await pauses.all_in_force(conn, repository_id)
    wanted = [each for each in held if request.scope in (None, each.scope)]
    if len(wanted) != 1:
        raise _which(held, request.scope)
    [pause] = wanted
    scope = markdown.code(pause.scope)
    lines = (
        f"It is held: {_why(pause)}",
        "`self-work gate` turns green on every open pull request of self-work, each of which may "
        "then be merged."
        if pause.scope == SELF_WORK
        else f"{scope} may be shadowed and ramped again.",
    )
    undo = f"/pause {pause.scope} because …; what was merged meanwhile stays merged"
    steps = (step(f"Unpause {scope}", Reversibility.COMPENSATABLE, undo),)
    return Preview("This would let it go on", lines, goes_on=True, steps=steps)


def _why(pause: Pause) -> str:
    return f"{markdown.text(pause.reason, limit=300)} (by {markdown.text(pause.set_by)})"


def _which(held: Sequence[Pause], scope: str | None) -> CannotPlan:
    if not held:
        return CannotPlan("Nothing is paused here.", "")
    names = ", ".join(markdown.code(each.scope) for each in held)
    if scope is not None:
        return CannotPlan(f"{markdown.code(scope)} is not paused.", f"Paused: {names}.")
    return CannotPlan("Several are paused.", f"Say which: {names}.")
