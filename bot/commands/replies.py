"""What reception answers to commands (Markdown out). Playbooks have their own words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bot import markdown
from bot.records.incidents import Incident
from bot.records.lifecycle import IncidentStatus
from bot.records.runs import StoredRun
from bot.triggers import Actor, ActorKind, Problem

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


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
        "Fix the cause, then comment `/retry`.",
    )
    return "\n\n".join(parts)


def parked(actor: Actor) -> str:
    """What is under way here was begun by a newer release than the one that runs."""
    return (
        f"{_who(actor)} what is under way here was begun by a newer version of this bot than the "
        "one that runs now, and waits for it. It goes on as soon as that version is back; "
        "`/cancel` ends it instead."
    )


def stranded(actor: Actor, left: Sequence[str], *, merged: bool, issue: int | None) -> str:
    """A Run ended because this bot was updated under it: what it left, and the one next step.

    Args:
        actor: whoever asked for it.
        left: what it left open; Markdown.
        merged: whether it had merged its change already.
        issue: the incident's issue.
    """
    named = f" of incident #{issue}" if issue else ""
    parts = [
        f"{_who(actor)} I was updated while this was under way, and the new version cannot go on "
        "where the old one was."
    ]
    if left:
        parts.append("It left open:\n\n" + "\n".join(f"- {each}" for each in left))
    if merged:
        closing = f"close issue #{issue}" if issue else "comment `/cancel` here"
        parts.append(f"Its change is merged. Check that the branch is green; if it is, {closing}.")
    else:
        parts.append(f"Comment `/retry`: it starts again{named} from what GitHub shows now.")
    return "\n\n".join(parts)


def followed_again() -> str:
    """A Run that followed alerts ended because this bot was updated; another follows them."""
    return (
        "I was updated while I followed these alerts, and the new version cannot go on where the "
        "old one was. I already follow them again: you need do nothing. This ends when every "
        "condition has cleared; `/cancel` ends it before that."
    )


def ended_meanwhile() -> str:
    """A Run that followed alerts was cut short as it came to its end."""
    return (
        "I was updated just as this came to its end, and could not write down its outcome. It is "
        "over: you need do nothing."
    )


def nothing_to_retry(actor: Actor) -> str:
    """Alerts are followed here, and nothing has broken off."""
    return refusal(
        actor,
        "There is nothing to retry here: I follow these alerts, and nothing broke off.",
        "This ends when every condition has cleared; `/cancel` ends it before that.",
    )


def search_is_over(actor: Actor, fix: int) -> str:
    """A word on a commit, where a bisect waits for its fix."""
    return refusal(
        actor,
        f"The search is over: #{fix} is its fix, and no word on a commit changes that.",
        "If another commit is to blame: `/cancel`, and then `/bisect` again.",
    )


def came_later(actor: Actor, command: str) -> str:
    """Answer a word that was heard long after it was said, about what began in between.

    Args:
        actor: who said it.
        command: what they said.
    """
    return refusal(
        actor,
        "What is under way here was asked for after you wrote this.",
        f"If you mean it: {markdown.code(f'/{command}')}.",
    )


def left_here(actor: Actor) -> str:
    """What was under way here has broken off, and hears nothing."""
    return (
        f"{_who(actor)} nothing is under way here any more: what was under way broke off. Comment "
        "`/retry` to begin it again, or `/cancel` to leave it."
    )


def ended_here(actor: Actor, kind: str) -> str:
    """What was under way here has ended without a merge, whatever is opened again."""
    again = "`/revert`" if kind == "revert" else f"the command that asked for the {kind}"
    return (
        f"{_who(actor)} nothing is under way here any more: this {kind} ended without a merge. "
        f"Comment {again} to start over."
    )


def say_again(actor: Actor, command: str) -> str:
    """A command was cut short by an update of this bot."""
    return (
        f"{_who(actor)} I was updated while I carried out {markdown.code(f'/{command}')}, and do "
        "not know how far it came. Say it again in a new comment."
    )


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


def joined(actor: Actor, incident: Incident | None, run: StoredRun, *, approved: str | None) -> str:
    """The same is being done already: by what, and what happens next.

    Nobody is mentioned: they read on where they just spoke, and are called when it needs them.

    Args:
        actor: who asked.
        incident: what is being done something about.
        run: what is at work on it.
        approved: the commit that this was the awaited yes to; None: it was none.
    """
    by = _being_done(incident)
    if run.playbook != "revert" and not (incident and incident.prs):
        issue = f" of incident #{incident.issue}" if incident and incident.issue else ""
        return (
            f"{_named(actor)}, I am still looking for what to revert: the {run.playbook}{issue} "
            "goes on. When it is found I will propose the revert there, and `/approve` merges it. "
            "If you know it already, `/revert #NUMBER` reverts it at once."
        )
    under_way = f"{_named(actor)}, {_what(incident)} is already being reverted{by}"
    waits = run.standing if run.standing and run.standing.state == "needs you" else None
    if approved is not None:
        about = f" for {markdown.code(approved[:7])}"
        return (
            f"{under_way}, and waited for an approval: yours counts{about}. It merges as soon as "
            "all it needs is green, and I will say here when it is over. `/cancel` stops it."
        )
    if waits is not None:
        end = "I will say here when it is over."
        return f"{under_way}. It waits for somebody: {waits.headline}\n\n{end}"
    return (
        f"{under_way}. It merges by itself as soon as all "
        "it needs is green, and I will say here when it is over or needs you. `/cancel` stops it."
    )


def joined_foreign(actor: Actor, incident: Incident | None, head: str) -> str:
    """The same is being done already, but somebody pushed to it."""
    pull, what = _pull_of(incident), _what(incident)
    return (
        f"{_who(actor)} {what} is already being reverted{_being_done(incident)}, but somebody "
        f"pushed to {pull}: {markdown.code(head[:7])} is not what I made, and I will merge it only "
        f"when it is approved. Read {pull}, then comment {markdown.code(f'/approve {head[:7]}')} "
        "there."
    )


def joined_in_vain(refused: str, incident: Incident | None) -> str:
    """The same waits for a yes that this person may not give; `refused` says so."""
    pull = _pull_of(incident)
    return (
        f"{refused}\n\nIt is ready{_being_done(incident)}: a Founder reads {pull} and comments "
        "`/approve` or `/reject` there."
    )


def joined_late(actor: Actor, incident: Incident | None) -> str:
    """The same was being done, and ended just as somebody asked for it again."""
    return (
        f"{_who(actor)} this was being reverted{_being_done(incident)}, and that has just "
        "ended: `/status` says how. If things are still broken, comment `/revert` again."
    )


def _what(incident: Incident | None) -> str:
    """What is reverted, where it is one pull request or commit: GitHub makes a link of it."""
    kind, _, name = incident.subject.partition(":") if incident else ("", "", "")
    if kind == "pull_request" and name.isdecimal():
        return f"#{name}"
    return name[:7] if kind == "commit" and _SHA.fullmatch(name) else "this"


def _being_done(incident: Incident | None) -> str:
    if incident is None:
        return ""
    by = f" by #{incident.prs[-1]}" if incident.prs else ""
    return f"{by} (incident #{incident.issue})" if incident.issue else by


def _pull_of(incident: Incident | None) -> str:
    return f"#{incident.prs[-1]}" if incident and incident.prs else "the plan"


def status(
    found: Sequence[tuple[Incident, Sequence[StoredRun]]], next_things: Mapping[str, str]
) -> str:
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


def _status_line(incident: Incident, runs: Sequence[StoredRun], next_thing: str) -> str:
    issue = f"#{incident.issue}" if incident.issue else markdown.code(incident.id[-8:])
    pulls = ", ".join(f"#{number}" for number in incident.prs)
    told = next((run for run in reversed(runs) if run.is_live), runs[-1] if runs else None)
    now = told.state if told else "no run"
    head = f"- {next_thing}\n  " if next_thing else "- "
    return (
        f"{head}Incident {issue} ({incident.severity}, {incident.status}): "
        f"{markdown.text(incident.title)}; the {told.playbook if told else 'run'} is "
        f"**{now}**" + (f" with {pulls}" if pulls else "") + "."
    )


def which_approval(
    actor: Actor, command: str, pending: Sequence[StoredRun], here: Sequence[Incident]
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


def asked_before(actor: Actor) -> str:
    """What is under way here asked something, and waits for no answer just now."""
    return refusal(
        actor,
        "Nothing was decided: what I asked here has its answer, or has changed meanwhile.",
        "I will ask again where an approval is still needed; `/status` says where it stands.",
    )


def asks_about_others(actor: Actor, command: str, commits: Sequence[str]) -> str:
    """Something waits for an approval here, and it is about another commit than was named."""
    listed = ", ".join(markdown.code(f"/{command} {each[:12]}") for each in commits)
    return refusal(
        actor,
        "Nothing was approved: no question here is about what you named.",
        f"Read what is there now, then comment {listed}.",
    )


def _of_incident(incident: Incident | None) -> str:
    if incident is None:
        return ""
    pulls = ", ".join(f"#{number}" for number in incident.prs)
    return (f" in {pulls}" if pulls else "") + f" ({markdown.text(incident.title)})"


_NOTHING_HERE = {"severity": "There is no open incident here."} | dict.fromkeys(
    ("good", "bad", "skip"), "No bisect is under way here."
)


def nothing_here(actor: Actor, command: str) -> str:
    """Retry, cancel and the like, where nothing runs."""
    return refusal(
        actor,
        _NOTHING_HERE.get(command, f"There is nothing to {command} here."),
        "Use it on the pull request, the hotfix or the incident issue of a running playbook; "
        "`/status` lists what runs.",
    )


def _who(actor: Actor) -> str:
    is_person = actor.kind is ActorKind.PERSON
    return markdown.mention(actor.login) if is_person else markdown.code(actor.login)


def _named(actor: Actor) -> str:
    """Name somebody without notifying them."""
    return markdown.code(actor.login)


def still_at_work(actor: Actor) -> str:
    """The issue of an incident was closed while its Run goes on."""
    return (
        f"{_who(actor)} `/cancel` stops me: closing this issue did not, and I am still at work on "
        "the incident. I close the issue myself when it is over."
    )


def stays_closed(actor: Actor, why: str) -> str:
    """The issue of an incident was opened again too late."""
    return (
        f"{_who(actor)} Ask again for what you need, as in `/revert #…`: that opens an incident of "
        f"its own. This one stays as it is: {markdown.text(why)}."
    )


def left_by(actor: Actor, left: Incident) -> str:
    """A person left an incident that its Run had left open."""
    what = f"incident #{left.issue}" if left.issue else "this incident"
    is_mitigated = left.status is IncidentStatus.MITIGATED
    became = "resolved" if is_mitigated else "closed"
    parts = [f"{_who(actor)} nothing was under way here any more, so {what} is {became}."]
    if not is_mitigated:
        parts += [
            f"Close {markdown.code(f'#{each}')} yourself, if it is open." for each in left.prs
        ]
    return " ".join(parts)


def open_again(kind: str) -> str:
    """The issue of an incident was opened again."""
    if kind in ("revert", "bisect", "rollback"):
        return (
            f"This incident is open again. Ask for the same {kind} as before, and I take it up "
            "here; closing this issue resolves it."
        )
    return "This incident is open again; closing this issue resolves it."
