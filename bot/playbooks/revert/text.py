"""The facts a revert speaks of, its titles and its documents, as pure functions (Markdown out).

Whatever comes from outside (titles, reasons, branch names, paths) passes through `bot.markdown`
before it stands in a sentence, and through `quoting` before it stands in a title.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot import markdown
from bot.playbooks.checks import Counting, Row
from bot.playbooks.quoting import quoted
from bot.playbooks.revert.targets import Offender
from bot.playbooks.standing import Standing, say
from bot.triggers import Actor, ActorKind, Severity, Value

_TITLE = 180


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
    before: str = ""
    """The last commit of the base branch before the incident."""
    config_fault: str | None = None
    """Why the newest `.github/playbooks.yml` was passed over, if it was."""
    issue: int | None = None
    pull_request: int | None = None
    audit_head: str | None = None
    published: bool = False
    """Whether the final records are on the records branch."""
    proposal: str = "hotfix"
    """What the pull request is called: a `hotfix`, or a `fix`."""


# --- titles -----------------------------------------------------------------------------------


def offenders_in_words(offenders: Sequence[Offender]) -> str:
    """`#12 "Title"`, or a short SHA, as plain text for titles and commit messages."""
    room = _TITLE // len(offenders)
    names = []
    for offender in offenders:
        name = f"#{offender.number}" if offender.number else offender.sha[:9]
        title = quoted(offender.title, limit=max(room - 12, 0)) if room > 30 else ""
        names.append(f'{name} "{title}"' if title else name)
    return ", ".join(names)


def issue_title(case: Case) -> str:
    """The incident issue's title (plain text)."""
    return f"Incident: {quoted(case.base)} broken by {offenders_in_words(case.offenders)}"


def pull_request_title(case: Case) -> str:
    """The hotfix pull request's title (plain text)."""
    return f"Revert {offenders_in_words(case.offenders)}"


def commit_message(case: Case, commits: tuple[str, ...]) -> str:
    """The hotfix commit's message, in the form of `git revert`."""
    lines = [f"This reverts commit {sha}." for sha in commits]
    reason = f"\nReason: {quoted(case.reason, limit=1000)}" if case.reason else ""
    return f"{pull_request_title(case)}\n\n" + "\n".join(lines) + reason


# --- documents ----------------------------------------------------------------------------------


def status(case: Case, standing: Standing) -> str:
    """The sticky comment; its first line is the one next thing to do."""
    return _paragraphs(
        f"**{standing.headline}**", facts(case), _body(standing), _passed_over(case, standing)
    )


def issue_body(case: Case, standing: Standing) -> str:
    """The incident issue."""
    reason = f" Reason given: {markdown.text(case.reason)}" if case.reason else ""
    return _paragraphs(
        f"**{standing.headline}**",
        f"{markdown.code(case.base)} is broken, and {offenders_linked(case)} "
        f"{'is' if len(case.offenders) == 1 else 'are'} being reverted.{reason}",
        facts(case),
        _body(standing),
        _passed_over(case, standing),
        "Commands here: `/status`, `/retry`, `/cancel`, `/severity low|medium|high|critical`.",
    )


def pull_request_section(case: Case, counting: Counting, standing: Standing) -> str:
    """The managed section of the hotfix pull request's description."""
    reason = f" Reason: {markdown.text(case.reason)}" if case.reason else ""
    return _paragraphs(
        f"**{standing.headline}**",
        f"Reverts {offenders_linked(case)} on {markdown.code(case.base)}, asked for by "
        f"{name_of(case.requested_by)}.{reason}",
        facts(case),
        _body(standing),
        _passed_over(case, standing),
        which_checks(counting),
    )


def which_checks(counting: Counting) -> str:
    """Why just these checks decide, and whether there are evals."""
    reasons = {
        "configured": "they are configured in `.github/playbooks.yml`",
        "required": "the base branch requires them",
        "passed before": "they passed on the base branch before the incident",
    }
    smoke = (
        f"Smoke: {names(counting.smoke)}, because {reasons[counting.smoke_from]}."
        if counting.smoke
        else "Smoke: nothing counts."
    )
    evals = f"Evals: {names(counting.evals)}." if counting.evals else "Evals: not configured."
    return f"{smoke} {evals}"


def check_title(standing: Standing) -> str:
    """The `hotfix` check-run's title (plain text)."""
    return {
        "working": "Verifying the hotfix",
        "needs you": "Verified, needs a person" if standing.is_verified else "Needs a person",
        "done": "Merged",
        "stopped": "Stopped without merging",
    }[standing.state]


def needs_you(case: Case, standing: Standing) -> str:
    """The one new comment that asks the requester for something."""
    return _paragraphs(f"{who(case.requested_by)} {standing.headline}", *standing.details)


def final_word(case: Case, standing: Standing) -> str:
    """The one new comment at the end."""
    return _paragraphs(
        f"{who(case.requested_by)} {standing.headline}", *standing.details, facts(case)
    )


# --- pieces -------------------------------------------------------------------------------------


def who(actor: Actor) -> str:
    """Address whoever asked; only people are notified."""
    if actor.kind is ActorKind.PERSON:
        return markdown.mention(actor.login)
    return markdown.code(actor.login)


def name_of(actor: Actor) -> str:
    """Name somebody without notifying them."""
    return markdown.code(actor.login)


def assignees(case: Case) -> tuple[str, ...]:
    """Whom to assign: the person who asked; machines cannot be."""
    is_person = case.requested_by.kind is ActorKind.PERSON
    return (case.requested_by.login,) if is_person else ()


def commit_linked(case: Case, sha: str) -> str:
    """A commit, linked, its short SHA fit to be copied."""
    return f"[`{sha[:9]}`]({case.repository_url}/commit/{sha})"


def offenders_linked(case: Case) -> str:
    """What is reverted, as Markdown links."""
    return _listed(
        [f"#{o.number}" if o.number else commit_linked(case, o.sha) for o in case.offenders]
    )


def hotfix_linked(case: Case) -> str:
    """The hotfix, linked where it has a pull request."""
    return f"{case.proposal} #{case.pull_request}" if case.pull_request else case.proposal


def facts(case: Case) -> str:
    """One line of links."""
    rows = [f"Severity: {case.severity}"]
    if case.issue:
        rows.append(f"Incident: #{case.issue}")
    if case.pull_request:
        rows.append(f"{case.proposal.capitalize()}: #{case.pull_request}")
    if case.published or case.pull_request:
        where = case.records_branch if case.published else case.branch
        blob = f"{case.repository_url}/blob/{where}"
        rows.append(markdown.link("ADR", f"{blob}/{case.adr}"))
        rows.append(markdown.link("report", f"{blob}/{case.artifact}"))
    if case.audit_head:
        rows.append(f"audit head {markdown.code(case.audit_head)}")
    return " · ".join(rows)


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


def names(listed: tuple[str, ...]) -> str:
    """`a`, `b` and `c`."""
    return _listed([markdown.code(name) for name in listed])


def _listed(shown: Sequence[str]) -> str:
    if not shown:
        return "nothing"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _body(standing: Standing) -> str:
    return _paragraphs(*standing.details, check_table(standing.checks))


def _passed_over(case: Case, standing: Standing) -> str:
    if case.config_fault is None or standing.state in ("done", "stopped"):
        return ""
    return (
        f"The newest {markdown.code('.github/playbooks.yml')} cannot be used, so its last good "
        f"version is in force: {markdown.text(case.config_fault, limit=500)}"
    )


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
