"""What reception answers to commands (Markdown out). Playbooks have their own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot import markdown
from bot.intake.comments.commands import help_text, not_yet_text
from bot.records.recovery.incidents import Incident
from bot.records.recovery.runs import Run
from bot.triggers import Actor, ActorKind, Problem, Severity


def refusal(actor: Actor, reason: str, remedy: str) -> str:
    """The one comment that says why not, and what to do."""
    return f"{_who(actor)} {reason}" + (f"\n\n{remedy}" if remedy else "")


def failure(actor: Actor, step: str, why: str, aftermath: Sequence[str] = ()) -> str:
    """A Run broke off: what did not work, what was undone since, and how to go on."""
    done = aftermath or ("What is done so far stays as it is.",)
    parts = (
        f"{_who(actor)} I could not go on: the step “{markdown.text(step)}” failed.",
        markdown.text(why, limit=1000),
        *done,
        "Mend the cause, then comment `/retry`.",
    )
    return "\n\n".join(parts)


def correction(actor: Actor, problems: Sequence[Problem]) -> str:
    """All mistakes of one comment, together."""
    lines = []
    for problem in problems:
        hint = (
            f" Did you mean {markdown.code(problem.did_you_mean)}?" if problem.did_you_mean else ""
        )
        lines.append(f"- Line {problem.line}: {problem.text}{hint}")
    return (
        f"{_who(actor)} nothing was done for:\n\n"
        + "\n".join(lines)
        + "\n\n`/help` lists every command. Edited comments are not read: write a new one."
    )


def help_reply() -> str:
    """Every command."""
    return help_text()


def later(actor: Actor, name: str) -> str:
    """A command that this version does not know how to carry out yet."""
    return f"{_who(actor)} {not_yet_text(name)}"


def status(found: Sequence[tuple[Incident, Sequence[Run]]], next_things: Mapping[str, str]) -> str:
    """What is going on here, each with the one next thing to do.

    Args:
        found: the incidents here and their Runs.
        next_things: by issue number, what their issues say comes next.
    """
    if not found:
        return (
            "Nothing is running here, and no incident is open about this.\n\n"
            "If this pull request broke things, comment `/revert`."
        )
    lines = [
        _status_line(incident, runs, next_things.get(str(incident.issue), ""))
        for incident, runs in found
    ]
    return "\n".join(lines)


def next_thing(issue_body: str | None) -> str:
    """The headline of an incident issue: the one next thing to do, as it was written there."""
    first = (issue_body or "").partition("\n")[0].strip()
    return first.strip("*") if first.startswith("**") and first.endswith("**") else ""


def _status_line(incident: Incident, runs: Sequence[Run], next_thing: str) -> str:
    issue = f"#{incident.issue}" if incident.issue else markdown.code(incident.id[-8:])
    pulls = ", ".join(f"#{number}" for number in incident.prs)
    now = runs[-1].state if runs else "no run"
    head = f"- {next_thing}\n  " if next_thing else "- "
    return (
        f"{head}Incident {issue} ({incident.severity}, {incident.status}): "
        f"{markdown.text(incident.title)}; the {runs[-1].playbook if runs else 'run'} is "
        f"**{now}**" + (f" with {pulls}" if pulls else "") + "."
    )


def which_approval(
    actor: Actor, command: str, pending: Sequence[Run], here: Sequence[Incident]
) -> str:
    """None or several wait for an approval: say so, and name them by short ids."""
    if not pending:
        return refusal(
            actor,
            "Nothing is waiting for an approval here.",
            "`/status` says what runs here, and what comes next.",
        )
    about = {incident.id: incident for incident in here}
    listed = "\n".join(
        f"- {markdown.code(f'/{command} {run.id[-6:]}')}: {run.playbook}"
        + _of_incident(about.get(run.incident_id or ""))
        for run in pending
    )
    return refusal(actor, "Several wait for an approval. Say which:", listed)


def _of_incident(incident: Incident | None) -> str:
    if incident is None:
        return ""
    pulls = ", ".join(f"#{number}" for number in incident.prs)
    return (f" in {pulls}" if pulls else "") + f" ({markdown.text(incident.title)})"


def nothing_here(actor: Actor, command: str) -> str:
    """Retry, cancel and the like, where nothing runs."""
    return refusal(
        actor,
        f"There is nothing to {command} here.",
        "Use it on the pull request, the hotfix or the incident issue of a running playbook; "
        "`/status` lists what runs.",
    )


def severity_changed(severity: Severity) -> str:
    """Severity of the incident here was set."""
    return f"The incident is now **{severity}**."


def _who(actor: Actor) -> str:
    is_person = actor.kind is ActorKind.PERSON
    return markdown.mention(actor.login) if is_person else markdown.code(actor.login)


def still_at_work(actor: Actor) -> str:
    """The issue of an incident was closed while its Run goes on."""
    return (
        f"{_who(actor)} `/cancel` stops me: closing this issue did not, and I am still at work on "
        "the incident. I close the issue myself when it is over."
    )


def stays_closed(actor: Actor, why: str) -> str:
    """The issue of an incident was opened again too late."""
    return (
        f"{_who(actor)} Ask for what you need anew, as in `/revert #…`: that opens an incident of "
        f"its own. This one stays as it is: {markdown.text(why)}."
    )


def open_again(kind: str) -> str:
    """The issue of an incident was opened again."""
    if kind in ("revert", "bisect", "rollback"):
        return (
            f"This incident is open again. Ask for the same {kind} as before, and I take it up "
            "here; closing this issue resolves it."
        )
    return "This incident is open again; closing this issue resolves it."
