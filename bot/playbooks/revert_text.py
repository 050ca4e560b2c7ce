"""Every word the revert playbook says to people, as pure functions (Markdown out).

Whatever comes from outside (titles, reasons, branch names, paths) passes through
`bot.markdown` before it stands in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bot import markdown
from bot.git.reverting import Conflict, PathConflict
from bot.playbooks.checks import Counting, Row, State, Tally
from bot.playbooks.revert_plan import Offender, Plan
from bot.playbooks.run import Ending
from bot.playbooks.standing import Standing, say
from bot.triggers import Actor, ActorKind, Severity, Value

_PATHS_SHOWN = 20


class Case(Value):
    """The facts of one revert that the texts need; links are filled in as things appear."""

    incident: str
    repository: str
    repository_url: str
    requested_by: Actor
    reason: str
    severity: Severity
    base: str
    offenders: tuple[Offender, ...]
    branch: str
    adr: str
    artifact: str
    records_branch: str
    issue: int | None = None
    pull_request: int | None = None
    audit_head: str | None = None
    published: bool = False
    """Whether the final records are on the records branch."""


# --- titles -----------------------------------------------------------------------------------


def offenders_in_words(offenders: Sequence[Offender]) -> str:
    """`#12 "Title"`, or a short SHA, as plain text for titles and commit messages."""
    names = []
    for offender in offenders:
        name = f"#{offender.number}" if offender.number else offender.sha[:9]
        names.append(f'{name} "{offender.title}"' if offender.title else name)
    return ", ".join(names)


def who(actor: Actor) -> str:
    """Name whoever asked; only people are notified."""
    if actor.kind is ActorKind.PERSON:
        return markdown.mention(actor.login)
    return markdown.code(actor.login)


def offenders_linked(case: Case) -> str:
    """The same as Markdown links."""
    return ", ".join(
        f"#{offender.number}"
        if offender.number
        else markdown.link(offender.sha[:9], f"{case.repository_url}/commit/{offender.sha}")
        for offender in case.offenders
    )


def assignees(case: Case) -> tuple[str, ...]:
    """Whom to assign: the person who asked; machines cannot be."""
    is_person = case.requested_by.kind is ActorKind.PERSON
    return (case.requested_by.login,) if is_person else ()


def issue_title(case: Case) -> str:
    """The incident issue's title (plain text)."""
    return f"Incident: {case.base} broken by {offenders_in_words(case.offenders)}"


def pull_request_title(case: Case) -> str:
    """The hotfix pull request's title (plain text)."""
    return f"Revert {offenders_in_words(case.offenders)}"


def commit_message(case: Case, commits: tuple[str, ...]) -> str:
    """The hotfix commit's message, in the form of `git revert`."""
    lines = [f"This reverts commit {sha}." for sha in commits]
    reason = f"\nReason: {' '.join(case.reason.split())}" if case.reason else ""
    return f"{pull_request_title(case)}\n\n" + "\n".join(lines) + reason


# --- standings ----------------------------------------------------------------------------------


def verifying(tally: Tally, deadline: datetime) -> Standing:
    """Checks are running."""
    missing = tally.named(State.MISSING, State.RUNNING)
    return Standing(
        state="working",
        headline=f"Nothing to do for you yet: I am waiting for {_names(missing)}.",
        details=(f"I wait until {_moment(deadline)}, then I ask you.",),
        checks=tally.rows,
    )


def green(tally: Tally) -> Standing:
    """Everything that counts passed; the merge is next."""
    return Standing(
        state="working",
        headline="Nothing to do for you: the hotfix is green, and I am merging it.",
        checks=tally.rows,
    )


def in_queue(tally: Tally) -> Standing:
    """The merge queue has it."""
    return Standing(
        state="working",
        headline="Nothing to do for you: the hotfix is green and stands in the merge queue.",
        checks=tally.rows,
    )


def conflicted(case: Case, conflict: Conflict) -> Standing:
    """The revert needs a person's hands."""
    shown = [_conflicting(case, path) for path in conflict.paths[:_PATHS_SHOWN]]
    if len(conflict.paths) > _PATHS_SHOWN:
        shown.append(f"… and {len(conflict.paths) - _PATHS_SHOWN} more")
    return Standing(
        state="needs you",
        headline=f"Resolve {len(conflict.paths)} conflicting "
        f"{'path' if len(conflict.paths) == 1 else 'paths'} on {markdown.code(case.branch)}, "
        "then mark the pull request ready for review.",
        details=(
            f"{markdown.code(case.base)} changed these paths after what is reverted, so undoing "
            "it needs a decision. The draft holds both sides between conflict markers.",
            *shown,
            "To do it in a clone: "
            + markdown.code(f"git fetch origin && git switch {case.branch}")
            + ", edit, commit, push. I verify and merge as soon as it is ready for review.",
        ),
    )


def red(tally: Tally, case: Case) -> Standing:
    """A check that counts failed."""
    failed = tally.named(State.FAILED)
    broken = tally.named(State.INFRA)
    what = _names(failed or broken)
    verb = "failed" if failed else "did not finish"
    return Standing(
        state="needs you",
        headline=f"Look at {what}: it {verb} on the hotfix, so I did not merge it.",
        details=(
            f"If the same check fails on {markdown.code(case.base)} in the same way, this revert "
            "is not the cure. If it is a passing fault, run the check again: I go on by myself "
            "when it turns green.",
            "`/cancel` closes the hotfix and deletes its branch.",
        ),
        checks=tally.rows,
    )


def nothing_counts(case: Case) -> Standing:
    """No check can say whether the hotfix is good."""
    return Standing(
        state="needs you",
        headline="Look at the hotfix and merge it yourself: no check says whether it is good.",
        details=(
            f"No smoke check is configured, none is required on {markdown.code(case.base)}, and "
            "none had passed there before the incident. I never merge what nothing verified.",
            "To let me do it next time, name your checks in "
            + markdown.code(".github/playbooks.yml")
            + " under `checks: {smoke: […]}`.",
        ),
    )


def timed_out(names: tuple[str, ...], tally: Tally) -> Standing:
    """Checks did not report in time."""
    return Standing(
        state="needs you",
        headline=f"Find out why {_names(names)} did not report: my waiting time is over.",
        details=(
            "I go on by myself when the result arrives. `/retry` waits once more from the start; "
            "`/cancel` closes the hotfix.",
        ),
        checks=tally.rows,
    )


def changed_by_others(tally: Tally) -> Standing:
    """Somebody pushed to the hotfix branch."""
    return Standing(
        state="needs you",
        headline="Merge the hotfix yourself: it is green, but it holds commits I did not make.",
        details=("I merge only what I computed and verified myself.",),
        checks=tally.rows,
    )


def awaiting_review(names: tuple[str, ...], missing: int, tally: Tally) -> Standing:
    """The branch asks for reviews."""
    who = f" Asked: {', '.join(markdown.mention(name) for name in names)}." if names else ""
    return Standing(
        state="needs you",
        headline=f"Review the hotfix: it is green and needs {missing} more "
        f"{'approval' if missing == 1 else 'approvals'}.{who}",
        details=("I merge it as soon as the review is in. An App cannot approve its own work.",),
        checks=tally.rows,
    )


def merge_refused(why: str, tally: Tally) -> Standing:
    """GitHub would not merge it."""
    return Standing(
        state="needs you",
        headline="Look at the pull request: it is green, but GitHub refuses to merge it.",
        details=(f"GitHub says: {markdown.text(why)}", "`/retry` makes me try again."),
        checks=tally.rows,
    )


def merged(sha: str, case: Case, tally: Tally) -> Standing:
    """Done."""
    commit = markdown.link(sha[:9], f"{case.repository_url}/commit/{sha}")
    return Standing(
        state="done",
        headline=f"Nothing to do: {offenders_linked(case)} is reverted on "
        f"{markdown.code(case.base)} by {commit}.",
        checks=tally.rows,
    )


def confirming(sha: str, case: Case, tally: Tally) -> Standing:
    """Merged, but onto a base that had moved: the result is watched once more."""
    missing = tally.named(State.MISSING, State.RUNNING)
    return Standing(
        state="working",
        headline=f"Nothing to do for you: the hotfix is merged as {sha[:9]}; I am waiting for "
        f"{_names(missing)} on {markdown.code(case.base)}.",
        checks=tally.rows,
    )


def not_cured(sha: str, case: Case, tally: Tally) -> Standing:
    """Merged, yet the branch is not green."""
    failed = tally.named(State.FAILED, State.INFRA) or tally.named(State.MISSING, State.RUNNING)
    return Standing(
        state="needs you",
        headline=f"Look at {markdown.code(case.base)}: the hotfix is merged as {sha[:9]}, but "
        f"{_names(failed)} did not turn green there.",
        details=("Other changes landed together with the hotfix; one of them may be the cause.",),
        checks=tally.rows,
    )


def cured_elsewhere(case: Case) -> Standing:
    """Somebody else reverted it while the hotfix was being made."""
    return Standing(
        state="stopped",
        headline=f"Nothing to do: {offenders_linked(case)} was reverted on "
        f"{markdown.code(case.base)} by someone else meanwhile.",
        details=("I closed the hotfix, since it would change nothing any more.",),
    )


def given_up() -> Standing:
    """Nobody came."""
    return Standing(
        state="stopped",
        headline="I stopped waiting for this hotfix; the pull request stays open.",
        details=("Comment `/revert` again to start anew.",),
    )


def closed_unmerged(case: Case) -> Standing:
    """A person closed the hotfix."""
    return Standing(
        state="stopped",
        headline=f"The hotfix was closed without merging; {markdown.code(case.base)} is as it was.",
        details=("Comment `/revert` again to start anew.",),
    )


def cancelled(case: Case, by: Actor) -> Standing:
    """Somebody said /cancel."""
    return Standing(
        state="stopped",
        headline=f"{who(by)} cancelled this revert; {markdown.code(case.base)} is as it was.",
        details=(
            "The hotfix pull request is closed and its branch deleted. "
            "Comment `/revert` again to start anew.",
        ),
    )


def joined(issue: int | None, incident: str) -> Ending:
    """Somebody asked for the same before."""
    where = f"#{issue}" if issue else markdown.code(incident)
    return Ending(
        outcome="joined",
        reason=f"This is being reverted already, as incident {where}.",
        remedy="`/status` says where it stands.",
    )


def starting(plan: Plan) -> Standing:
    """The incident is open, the hotfix is being made."""
    return Standing(
        state="working",
        headline=f"Nothing to do for you yet: I am preparing the hotfix for "
        f"{markdown.code(plan.base)}.",
    )


# --- documents ----------------------------------------------------------------------------------


def status(case: Case, standing: Standing) -> str:
    """The sticky comment; its first line is the one next thing to do."""
    return "\n\n".join(
        part for part in (f"**{standing.headline}**", _facts(case), _body(standing)) if part
    )


def issue_body(case: Case, standing: Standing) -> str:
    """The incident issue."""
    return "\n\n".join(
        part
        for part in (
            f"**{standing.headline}**",
            f"{markdown.code(case.base)} is broken, and {offenders_linked(case)} is being "
            "reverted." + (f" Reason given: {markdown.text(case.reason)}" if case.reason else ""),
            _facts(case),
            _body(standing),
            "Commands here: `/status`, `/retry`, `/cancel`, `/severity low|medium|high|critical`.",
        )
        if part
    )


def pull_request_section(case: Case, counting: Counting, standing: Standing) -> str:
    """The managed section of the hotfix pull request's description."""
    return "\n\n".join(
        part
        for part in (
            f"**{standing.headline}**",
            f"Reverts {offenders_linked(case)} on {markdown.code(case.base)}, asked for by "
            f"{who(case.requested_by)}."
            + (f" Reason: {markdown.text(case.reason)}" if case.reason else ""),
            _facts(case),
            _body(standing),
            which_checks(counting),
        )
        if part
    )


def which_checks(counting: Counting) -> str:
    """Why just these checks decide, and whether there are evals."""
    reasons = {
        "configured": "they are configured in `.github/playbooks.yml`",
        "required": "the base branch requires them",
        "passed before": "they passed on the base branch before the incident",
    }
    smoke = (
        f"Smoke: {_names(counting.smoke)}, because {reasons[counting.smoke_from]}."
        if counting.smoke
        else "Smoke: nothing counts."
    )
    evals = f"Evals: {_names(counting.evals)}." if counting.evals else "Evals: not configured."
    return f"{smoke} {evals}"


def check_title(standing: Standing) -> str:
    """The `hotfix` check-run's title (plain text)."""
    return {
        "working": "Verifying the hotfix",
        "needs you": "Needs a person",
        "done": "Merged",
        "stopped": "Stopped without merging",
    }[standing.state]


def needs_you(case: Case, standing: Standing) -> str:
    """The one new comment that asks the requester for something."""
    return f"{who(case.requested_by)} {standing.headline}\n\n" + "\n\n".join(standing.details)


def final_word(case: Case, standing: Standing) -> str:
    """The one new comment at the end."""
    return f"{who(case.requested_by)} {standing.headline}\n\n{_facts(case)}"


# --- pieces -------------------------------------------------------------------------------------


def _facts(case: Case) -> str:
    rows = [f"Severity: {case.severity}"]
    if case.issue:
        rows.append(f"Incident: #{case.issue}")
    if case.pull_request:
        rows.append(f"Hotfix: #{case.pull_request}")
    where = case.records_branch if case.published or not case.pull_request else case.branch
    blob = f"{case.repository_url}/blob/{where}"
    rows.append(markdown.link("ADR", f"{blob}/{case.adr}"))
    rows.append(markdown.link("report", f"{blob}/{case.artifact}"))
    if case.audit_head:
        rows.append(f"audit head {markdown.code(case.audit_head)}")
    return " · ".join(rows)


def _body(standing: Standing) -> str:
    table = check_table(standing.checks)
    return "\n\n".join((*standing.details, table) if table else standing.details)


def check_table(rows: tuple[Row, ...]) -> str:
    """The checks that count, as a table; empty when none does."""
    if not rows:
        return ""
    lines = ["| check | kind | result |", "|---|---|---|"]
    for row in rows:
        name = markdown.text(row.name)
        shown = markdown.link(row.name, row.url) if row.url else name
        lines.append(f"| {shown} | {row.kind} | {say(row.state)} |")
    return "\n".join(lines)


def _conflicting(case: Case, path: PathConflict) -> str:
    who = ", ".join(
        f"{markdown.text(commit.author)} in "
        + markdown.link(commit.sha[:9], f"{case.repository_url}/commit/{commit.sha}")
        for commit in path.changed_since[:3]
    )
    return f"- {markdown.code(path.path)} ({', '.join(path.kinds)})" + (
        f", changed since by {who}" if who else ""
    )


def _names(names: tuple[str, ...]) -> str:
    quoted = [markdown.code(name) for name in names]
    if not quoted:
        return "nothing"
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]


def _moment(moment: datetime) -> str:
    return moment.strftime("%H:%M UTC on %-d %B")
