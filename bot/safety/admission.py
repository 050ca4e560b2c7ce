"""May this be done, by this person, now? One pure decision, with a reason a person can act on."""

from __future__ import annotations

from typing import Literal

from bot.triggers import ActorKind, Request, Role, Trigger, Value

NEEDS: dict[str, Role] = {
    "status": Role.NONE,
    "help": Role.NONE,
    "correction": Role.NONE,
    "later": Role.NONE,
    "judge": Role.NONE,
    "triage": Role.NONE,
    "revert": Role.WRITE,
    "bisect": Role.WRITE,
    "shadow": Role.WRITE,
    "ramp": Role.WRITE,
    "rollback": Role.WRITE,
    "skip": Role.WRITE,
    "good": Role.WRITE,
    "bad": Role.WRITE,
    "retry": Role.WRITE,
    "cancel": Role.WRITE,
    "severity": Role.WRITE,
    "approve": Role.WRITE,
    "reject": Role.WRITE,
}
"""The weakest role that may ask for each command."""


class Admitted(Value):
    """Go ahead."""

    kind: Literal["admitted"] = "admitted"


class Refused(Value):
    """Not now, or not by this person. `reason` says why, `remedy` what can be done instead."""

    kind: Literal["refused"] = "refused"
    reason: str
    remedy: str


def admit(trigger: Trigger, role: Role) -> Admitted | Refused:
    """Decide whether a Trigger may go on to the engine.

    A reversible recovery asked for by a person with write access is never refused for budgets,
    caps, pause or opt-out: rescue comes first (Decisions 3).

    Args:
        trigger: who asks for what.
        role: the actor's role on the repository, read from GitHub just now.
    """
    if trigger.actor.kind is ActorKind.BOT:
        return Refused(
            reason="Commands from bots are not carried out.",
            remedy="Ask a person with write access, or use the HTTP API with its own token.",
        )
    needed = NEEDS[trigger.request.command]
    if trigger.actor.kind is ActorKind.MACHINE or role.at_least(needed):
        return Admitted()
    return Refused(
        reason=f"{_described(trigger.request)} needs {needed} access to this repository; "
        f"you have {'none' if role is Role.NONE else role}.",
        remedy="Ask someone with write access to comment the same command.",
    )


def _described(request: Request) -> str:
    return f"`/{request.command}`"
