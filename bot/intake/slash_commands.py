"""The slash commands: what each is called, takes and does, and who may use it.

The parser, `/help` and the documentation all read this table, so they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.intake import command_arguments
from bot.triggers import Role


@dataclass(frozen=True)
class Definition:
    """One command. `who` is the least role that may use it; `note` what else is asked of them.

    A definition that is not `available` is parsed, so that its mistakes are named, and then
    answered with the plain statement that this version cannot do it yet.
    """

    name: str
    usage: str
    does: str
    who: Role
    examples: tuple[str, ...]
    read: command_arguments.Reader
    note: str = ""
    available: bool = True


DEFINITIONS: tuple[Definition, ...] = (
    Definition(
        name="revert",
        usage="/revert [#PR|SHA …] [because …]",
        does="Undo a merged pull request or a commit in a hotfix PR, which merges when green. "
        "Without a target: the pull request you comment on.",
        who=Role.WRITE,
        examples=("/revert", "/revert #12 #13 because logins fail", "/revert 3f2a9c1"),
        read=command_arguments.read_revert,
    ),
    Definition(
        name="status",
        usage="/status",
        does="Say what is running here, and the one next thing to do.",
        who=Role.NONE,
        examples=("/status",),
        read=command_arguments.read_anything,
    ),
    Definition(
        name="retry",
        usage="/retry",
        does="Try what failed here again.",
        who=Role.WRITE,
        examples=("/retry",),
        read=command_arguments.read_nothing,
    ),
    Definition(
        name="cancel",
        usage="/cancel",
        does="Stop what is running here, close its pull request and delete its branch.",
        who=Role.WRITE,
        examples=("/cancel",),
        read=command_arguments.read_nothing,
    ),
    Definition(
        name="severity",
        usage="/severity LEVEL",
        does="Change how bad the incident is: `low`, `medium`, `high` or `critical`.",
        who=Role.WRITE,
        examples=("/severity high",),
        read=command_arguments.read_severity,
    ),
    Definition(
        name="approve",
        usage="/approve [ID|SHA|DIGEST]",
        does="Approve what waits here. Without an id: the only approval pending. A SHA names the "
        "commit that is asked about, a digest one version of the configuration.",
        who=Role.WRITE,
        note="a Founder for what cannot be undone",
        examples=("/approve", "/approve 7k2m", "/approve 0c1d2e3f4a5b"),
        read=command_arguments.read_approval,
    ),
    Definition(
        name="reject",
        usage="/reject [ID]",
        does="Reject what waits here. Without an id: the only approval pending.",
        who=Role.WRITE,
        note="a Founder for what cannot be undone",
        examples=("/reject", "/reject 7k2m because the migration is gone"),
        read=command_arguments.read_approval,
    ),
    Definition(
        name="help",
        usage="/help",
        does="Show this list.",
        who=Role.NONE,
        examples=("/help",),
        read=command_arguments.read_anything,
    ),
    Definition(
        name="bisect",
        usage="/bisect GOOD..BAD [check NAME]",
        does="Find the commit that broke a check, and propose its revert. Either end may be left "
        "out: the good one is looked for, the bad one is the branch as it is.",
        who=Role.WRITE,
        examples=(
            "/bisect v1.4..main",
            "/bisect ..main",
            "/bisect ..main check unit tests",
        ),
        read=command_arguments.read_bisect,
    ),
    Definition(
        name="skip",
        usage="/skip SHA",
        does="Leave a commit out of the running bisect.",
        who=Role.WRITE,
        examples=("/skip 3f2a9c1",),
        read=command_arguments.read_commit,
    ),
    Definition(
        name="good",
        usage="/good SHA",
        does="Tell the running bisect that a commit is good.",
        who=Role.WRITE,
        examples=("/good 3f2a9c1",),
        read=command_arguments.read_commit,
    ),
    Definition(
        name="bad",
        usage="/bad SHA",
        does="Tell the running bisect that a commit is bad.",
        who=Role.WRITE,
        examples=("/bad 8be01d7",),
        read=command_arguments.read_commit,
    ),
    Definition(
        name="shadow",
        usage="/shadow CAPABILITY CANDIDATE",
        does="Run a candidate beside the provider that serves now, and compare them.",
        who=Role.WRITE,
        examples=("/shadow llm.summarize acme/model-2",),
        read=command_arguments.read_shadow,
    ),
    Definition(
        name="ramp",
        usage="/ramp CAPABILITY [STAGE]",
        does="Give the candidate more traffic: 5, 25, 50, then 100 percent.",
        who=Role.WRITE,
        examples=("/ramp llm.summarize", "/ramp llm.summarize 25"),
        read=command_arguments.read_ramp,
    ),
    Definition(
        name="rollback",
        usage="/rollback CAPABILITY [because …]",
        does="Give all traffic back to the provider that served before.",
        who=Role.WRITE,
        examples=("/rollback llm.summarize because answers are empty",),
        read=command_arguments.read_capability,
    ),
    Definition(
        name="pause",
        usage="/pause [self-work|CAPABILITY] because …",
        does="Hold self-work, or one capability, until someone unpauses it.",
        who=Role.WRITE,
        examples=("/pause because the evals are red",),
        read=command_arguments.read_pause,
    ),
    Definition(
        name="unpause",
        usage="/unpause [self-work|CAPABILITY] [because …]",
        does="Let it go on. Without a name: the only pause here.",
        who=Role.WRITE,
        examples=("/unpause self-work",),
        read=command_arguments.read_unpause,
    ),
)

COMMANDS = {definition.name: definition for definition in DEFINITIONS}

_ROLE_WORDS = {
    Role.NONE: "anyone",
    Role.READ: "read access",
    Role.TRIAGE: "triage access",
    Role.WRITE: "write access",
    Role.MAINTAIN: "maintain access",
    Role.ADMIN: "admin access",
}


def who_may(definition: Definition) -> str:
    """Say who may use a command."""
    return _ROLE_WORDS[definition.who] + (f"; {definition.note}" if definition.note else "")


def help_text() -> str:
    """Return the answer to `/help`, in Markdown."""
    now = [_row(definition) for definition in DEFINITIONS if definition.available]
    later = [definition for definition in DEFINITIONS if not definition.available]
    parts = [
        "Write a command at the start of a line, in any comment on an issue, pull request or "
        "review, open or closed. Several per comment are fine. Quotes, code and edited comments "
        "never run.",
        "\n".join(["| Say | It does | Who may | For example |", "|---|---|---|---|", *now]),
    ]
    if later:
        names = ", ".join(f"`/{definition.name}`" for definition in later)
        parts.append(f"Not in this version yet: {names}.")
    parts.append("If another bot answers to the same word, write `/playbooks revert` and so on.")
    return "\n\n".join(parts)


def not_yet_text(name: str) -> str:
    """Return the honest answer to a well-formed command this version cannot carry out."""
    usage = COMMANDS[name].usage
    return (
        f"`{usage}` is understood, but this version cannot do it yet. Nothing was started. "
        "`/help` lists what it can do."
    )


def _row(definition: Definition) -> str:
    examples = "<br>".join(f"`{example}`" for example in definition.examples)
    cells = (f"`{definition.usage}`", definition.does, who_may(definition), examples)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
