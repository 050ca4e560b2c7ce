"""The slash commands: one entry has all that there is to know of one.

What it is called, takes and does, who may use it, and which of `_Handlers` carries it out. The
parser, admission, dispatch, the buttons, `/help` and the cockpit read these entries and have no
list of their own: docs/develop/adding-a-command.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from bot import command_arguments
from bot.command_arguments import Typed
from bot.triggers import (
    ApproveRequest,
    CancelRequest,
    HelpRequest,
    RejectRequest,
    Request,
    RetryRequest,
    Role,
    RulingRequest,
    StatusRequest,
)

Handle = Callable[[Any, Any], Awaitable[None]]
"""Carries out what was admitted: takes the answer to whoever asked, and what admission knew."""


class _Handlers(Protocol):
    """What carries commands out: `bot/commands/handler.py`, which the type check holds to this."""

    async def play(self, answer: Any, facts: Any, /) -> None: ...
    async def status(self, answer: Any, facts: Any, /) -> None: ...
    async def help(self, answer: Any, facts: Any, /) -> None: ...
    async def retry(self, answer: Any, facts: Any, /) -> None: ...
    async def cancel(self, answer: Any, facts: Any, /) -> None: ...
    async def severity(self, answer: Any, facts: Any, /) -> None: ...
    async def approve(self, answer: Any, facts: Any, /) -> None: ...
    async def reject(self, answer: Any, facts: Any, /) -> None: ...
    async def rule(self, answer: Any, facts: Any, /) -> None: ...
    async def pause(self, answer: Any, facts: Any, /) -> None: ...
    async def unpause(self, answer: Any, facts: Any, /) -> None: ...


@dataclass(frozen=True)
class SlashCommand:
    """One command.

    Attributes:
        name: without its slash.
        usage: how it is written.
        does: what it is for, in a sentence.
        who: the least role that may use it; whoever may do nothing else asks questions (`NONE`).
        examples: as they are typed.
        read: makes what is asked for of what was typed, or says what is wrong with it.
        handle: which of `_Handlers` carries it out.
        note: what else is asked of those who may.
        acts: whether it is a playbook, which acts on a repository; the others steer or ask.
        advances: whether it moves traffic forward: a pause holds it, whoever asks.
        everyday: whether people say it to other bots too: ours only where something waits for it.
        by_hand: whether no App may say it in a person's name.
        button: what it asks for where it is a button of a check-run; None: it is none.
    """

    name: str
    usage: str
    does: str
    who: Role
    examples: tuple[str, ...]
    read: Callable[[Typed], Request]
    handle: Callable[[_Handlers], Handle]
    note: str = ""
    acts: bool = False
    advances: bool = False
    everyday: bool = False
    by_hand: bool = False
    button: Callable[[], Request] | None = None

    @property
    def is_question(self) -> bool:
        """Whether anybody may ask it: it changes nothing."""
        return self.who is Role.NONE


ENTRIES: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="revert",
        usage="/revert [#PR|SHA …] [because …]",
        does="Undo a merged pull request or a commit in a hotfix PR, which merges when green. "
        "Without a target: the pull request you comment on.",
        who=Role.WRITE,
        examples=("/revert", "/revert #12 #13 because logins fail", "/revert 3f2a9c1"),
        read=command_arguments.read_revert,
        handle=lambda to: to.play,
        acts=True,
    ),
    SlashCommand(
        name="status",
        usage="/status",
        does="Say what is running here, and the one next thing to do.",
        who=Role.NONE,
        examples=("/status",),
        read=lambda _: StatusRequest(),
        handle=lambda to: to.status,
    ),
    SlashCommand(
        name="retry",
        usage="/retry",
        does="Try what failed here again.",
        who=Role.WRITE,
        examples=("/retry",),
        read=command_arguments.read_retry,
        handle=lambda to: to.retry,
        everyday=True,
        button=RetryRequest,
    ),
    SlashCommand(
        name="cancel",
        usage="/cancel",
        does="Stop what is running here, close its pull request and delete its branch.",
        who=Role.WRITE,
        examples=("/cancel",),
        read=command_arguments.read_cancel,
        handle=lambda to: to.cancel,
        everyday=True,
        button=CancelRequest,
    ),
    SlashCommand(
        name="severity",
        usage="/severity LEVEL",
        does="Change how bad the incident is: `low`, `medium`, `high` or `critical`.",
        who=Role.WRITE,
        examples=("/severity high",),
        read=command_arguments.read_severity,
        handle=lambda to: to.severity,
    ),
    SlashCommand(
        name="approve",
        usage="/approve [ID|SHA|DIGEST]",
        does="Approve what waits here. Without an id: the only approval pending. A SHA names the "
        "commit that is asked about, a digest one version of the configuration.",
        who=Role.WRITE,
        note="a Founder for what cannot be undone",
        examples=("/approve", "/approve 7k2m", "/approve 0c1d2e3f4a5b"),
        read=command_arguments.read_approve,
        handle=lambda to: to.approve,
        everyday=True,
        button=ApproveRequest,
        by_hand=True,
    ),
    SlashCommand(
        name="reject",
        usage="/reject [ID]",
        does="Reject what waits here. Without an id: the only approval pending.",
        who=Role.WRITE,
        note="a Founder for what cannot be undone",
        examples=("/reject", "/reject 7k2m because the migration is gone"),
        read=command_arguments.read_reject,
        handle=lambda to: to.reject,
        everyday=True,
        button=RejectRequest,
        by_hand=True,
    ),
    SlashCommand(
        name="help",
        usage="/help",
        does="Show this list.",
        who=Role.NONE,
        examples=("/help",),
        read=lambda _: HelpRequest(),
        handle=lambda to: to.help,
    ),
    SlashCommand(
        name="bisect",
        usage="/bisect GOOD..BAD [numeric NAME[:lower|:higher]] [check NAME]",
        does="Find the commit that broke a check, and propose its revert. Either end may be left "
        "out: the good one is looked for, the bad one is the branch as it is. With `numeric`: the "
        "commit that changed a number, or made it lower or higher.",
        who=Role.WRITE,
        examples=(
            "/bisect v1.4..main",
            "/bisect ..main",
            "/bisect ..main check unit tests",
            "/bisect v1.4..main numeric latency:higher",
        ),
        read=command_arguments.read_bisect,
        handle=lambda to: to.play,
        acts=True,
    ),
    SlashCommand(
        name="skip",
        usage="/skip SHA",
        does="Leave a commit out of the running bisect.",
        who=Role.WRITE,
        examples=("/skip 3f2a9c1",),
        read=command_arguments.read_ruling,
        handle=lambda to: to.rule,
        everyday=True,
        button=lambda: RulingRequest(command="skip"),
    ),
    SlashCommand(
        name="good",
        usage="/good SHA",
        does="Tell the running bisect that a commit is good.",
        who=Role.WRITE,
        examples=("/good 3f2a9c1",),
        read=command_arguments.read_ruling,
        handle=lambda to: to.rule,
    ),
    SlashCommand(
        name="bad",
        usage="/bad SHA",
        does="Tell the running bisect that a commit is bad.",
        who=Role.WRITE,
        examples=("/bad 8be01d7",),
        read=command_arguments.read_ruling,
        handle=lambda to: to.rule,
    ),
    SlashCommand(
        name="shadow",
        usage="/shadow CAPABILITY CANDIDATE",
        does="Run a candidate beside the provider that serves now, and compare them.",
        who=Role.WRITE,
        examples=("/shadow llm.summarize acme/model-2",),
        read=command_arguments.read_shadow,
        handle=lambda to: to.play,
        acts=True,
        advances=True,
    ),
    SlashCommand(
        name="ramp",
        usage="/ramp CAPABILITY [STAGE]",
        does="Give the candidate more traffic: 5, 25, 50, then 100 percent.",
        who=Role.WRITE,
        examples=("/ramp llm.summarize", "/ramp llm.summarize 25"),
        read=command_arguments.read_ramp,
        handle=lambda to: to.play,
        acts=True,
        advances=True,
    ),
    SlashCommand(
        name="rollback",
        usage="/rollback CAPABILITY [because …]",
        does="Give all traffic back to the provider that served before.",
        who=Role.WRITE,
        examples=("/rollback llm.summarize because answers are empty",),
        read=command_arguments.read_rollback,
        handle=lambda to: to.play,
        acts=True,
    ),
    SlashCommand(
        name="pause",
        usage="/pause [self-work|CAPABILITY] because …",
        does="Hold self-work, or one capability, until someone unpauses it.",
        who=Role.WRITE,
        examples=("/pause because the evals are red",),
        read=command_arguments.read_pause,
        handle=lambda to: to.pause,
        by_hand=True,
    ),
    SlashCommand(
        name="unpause",
        usage="/unpause [self-work|CAPABILITY] [because …]",
        does="Let it go on. Without a name: the only pause here.",
        who=Role.WRITE,
        examples=("/unpause self-work",),
        read=command_arguments.read_unpause,
        handle=lambda to: to.unpause,
        by_hand=True,
    ),
)

COMMANDS = {entry.name: entry for entry in ENTRIES}
PLAYBOOKS = tuple(entry.name for entry in ENTRIES if entry.acts)
"""What acts on a repository; every other command only steers or asks."""
ADVANCING = frozenset(entry.name for entry in ENTRIES if entry.advances)
BUTTONS = {entry.name: entry.button for entry in ENTRIES if entry.button}

_ROLE_WORDS = {
    Role.NONE: "anyone",
    Role.READ: "read access",
    Role.TRIAGE: "triage access",
    Role.WRITE: "write access",
    Role.MAINTAIN: "maintain access",
    Role.ADMIN: "admin access",
}


def who_may(entry: SlashCommand) -> str:
    """Say who may use a command."""
    return _ROLE_WORDS[entry.who] + (f"; {entry.note}" if entry.note else "")


def help_text() -> str:
    """Return the answer to `/help`, in Markdown."""
    rows = ["| Say | It does | Who may | For example |", "|---|---|---|---|", *map(_row, ENTRIES)]
    return "\n\n".join(
        (
            "Write a command at the start of a line, in any comment on an issue, pull request or "
            "review, open or closed. Several per comment are fine. Quotes, code and edited "
            "comments never run.",
            "\n".join(rows),
            "If another bot answers to the same word, write `/playbooks revert` and so on.",
        )
    )


def _row(entry: SlashCommand) -> str:
    examples = "<br>".join(f"`{example}`" for example in entry.examples)
    cells = (f"`{entry.usage}`", entry.does, who_may(entry), examples)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
