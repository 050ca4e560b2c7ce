"""What people should know now, in the words all playbooks share.

Every place that tells people about a Run (sticky status, pull request, incident issue, check-run)
renders the same Standing, so they never disagree.

A commit message acts: GitHub closes issues it says to close, notifies whom it mentions, and runs
no check for a commit that says `[skip ci]`. Quoting a title must do none of it.
https://docs.github.com/actions/managing-workflow-runs/skipping-workflow-runs

Whatever comes from outside (titles, reasons, branch names, paths) passes through `bot.markdown`
before it stands in a sentence, and through `quoting` before it stands in a title.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Literal

from bot import markdown
from bot.playbooks.checks.green import CheckRow, Counting, State
from bot.playbooks.incident.branches import flat, folder_of
from bot.playbooks.incident.context import IncidentContext, Offender
from bot.playbooks.incident.record_files import RECORDS_BRANCH
from bot.triggers import Actor, ActorKind, Value

_MINUTE = timedelta(minutes=1)
_COARSE = timedelta(minutes=5)


def in_words(span: timedelta) -> str:
    """About how long, rounded up: `a minute`, `7 minutes`, `25 minutes`, `3 hours`, `4 days`."""
    step = _MINUTE if span < 2 * _COARSE else _COARSE
    minutes = math.ceil(span / step) * (step // _MINUTE)
    if minutes <= 1:
        return "a minute"
    if minutes < 120:
        return f"{minutes} minutes"
    hours = round(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{hours / 24:.0f} days"


def about(span: timedelta) -> str:
    """The same, saying that it is no promise: `less than a minute`, `about 25 minutes`."""
    return "less than a minute" if span < _MINUTE else f"about {in_words(span)}"


def moment(at: datetime) -> str:
    """When: `14:05 UTC on 2 March`."""
    return at.strftime("%H:%M UTC on %-d %B")


class StatusMessage(Value):
    """What a person should know now. `headline` and `details` are Markdown, already escaped."""

    state: Literal["working", "needs you", "done", "stopped"]
    headline: str
    details: tuple[str, ...] = ()
    checks: tuple[CheckRow, ...] = ()
    approvable: bool = False
    """Whether `/approve` goes on from here."""
    withheld: bool = False
    """Whether our check-run fails until somebody answers for the commit, however green it is."""

    @property
    def is_verified(self) -> bool:
        """Whether every check that counts has passed, whatever else is missing."""
        states = {row.state for row in self.checks}
        checked = {row.state for row in self.checks if row.kind != "preview"}
        return State.PASSED in checked and states <= {State.PASSED, State.SKIPPED}


_MARKS = {
    State.MISSING: "not reported yet",
    State.RUNNING: "running",
    State.PASSED: "passed",
    State.SKIPPED: "skipped",
    State.FAILED: "**failed**",
    State.INFRA: "**did not finish**",
}


def say(state: State) -> str:
    """One check's state in the words people read."""
    return _MARKS[state]


STATES = ("In progress", "Merged", "Rolled back", "Done", "Stopped")
"""How a headline begins that asks nobody for anything; every other one is the one next step."""

_APART = "\u200b"
"""A zero-width space: nobody sees it, no machine reads across it."""

_ACTS = re.compile(
    r"""
    @(?=\w)                                    # notifies
    | \#(?=\d) | \bGH-(?=\d)                   # refers, and closes after "fixes"
    | (?<=[a-z]):(?=//)                        # the same by address
    | \[(?=\s*(?:skip|no|ci|actions)\b)        # [skip ci], [ci skip], [no ci], [skip actions] …
    | \bskip-(?=checks)                        # a trailer
    | \*\*\*(?=NO_CI)                          # another service's
    """,
    re.IGNORECASE | re.VERBOSE,
)


def quoted(raw: str, *, limit: int = 200) -> str:
    """Put someone's words on one line that can be read and does nothing.

    Args:
        raw: the words; line breaks become spaces, invisible characters go.
        limit: cut to this many characters, the last being `…`.
    """
    visible = "".join(
        " " if character.isspace() else character
        for character in raw
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )
    line = " ".join(visible.split())
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + "…"
    return _ACTS.sub(lambda found: found[0] + _APART, line)


_TITLE = 180
_MENTIONED = 2
"""People who asked that one comment mentions: those who asked first."""
_NAMED = 10
"""Others and files named one by one."""


def status(case: IncidentContext, standing: StatusMessage) -> str:
    """The sticky comment; its first line is the one next thing to do."""
    return paragraphs(
        f"**{standing.headline}**",
        facts(case),
        body(standing),
        staying(case),
        passed_over(case, standing),
        in_the_way(case),
        untold(case),
    )


def needs_you(
    case: IncidentContext, standing: StatusMessage, *, called: Collection[str] = ()
) -> str:
    """The new comment that asks the requester for something.

    Whoever was called once is named after that: they hear of each comment as it is, having
    commented themselves.
    """
    return paragraphs(_said_to(case, standing.headline, called), *standing.details)


def final_word(
    case: IncidentContext, standing: StatusMessage, *, called: Collection[str] = ()
) -> str:
    """The one new comment at the end; who was `called` before is only named."""
    said = _said_to(case, standing.headline, called)
    return paragraphs(said, *standing.details, facts(case), untold(case))


def people_of(case: IncidentContext) -> tuple[str, ...]:
    """Whoever asked; where no person did, those whose work it is about. Logins."""
    # Of a bare commit we know the name its author gave git, which is not a login.
    authors = [o.author for o in case.offenders if o.number and o.author]
    asked = assignees(case)[:_MENTIONED]
    return asked or tuple(name for name in dict.fromkeys(authors) if markdown.is_login(name))


def which_checks(counting: Counting) -> str:
    """Why just these checks decide, and whether there are evals."""
    one = len(counting.smoke) == 1
    reasons = {
        "configured": f"{'it is' if one else 'they are'} configured in `.github/playbooks.yml`",
        "required": f"the base branch requires {'it' if one else 'them'}",
        "passed before": f"{'it' if one else 'they'} passed on the base branch before the incident",
    }
    smoke = (
        f"Smoke: {names(counting.smoke)}, because {reasons[counting.smoke_from]}."
        if counting.smoke
        else "Smoke: no check counts."
    )
    evals = f"Evals: {names(counting.evals)}." if counting.evals else "Evals: not configured."
    previews = f" Previews: {names(counting.previews)}." if counting.previews else ""
    return f"{smoke} {evals}{previews}"


def offenders_in_words(offenders: Sequence[Offender]) -> str:
    """`#12 "Title"`, or a short SHA, as plain text for titles and commit messages."""
    room = _TITLE // len(offenders)
    shown = []
    for offender in offenders:
        name = f"#{offender.number}" if offender.number else offender.sha[:7]
        title = quoted(offender.title, limit=max(room - 12, 0)) if room > 30 else ""
        shown.append(f'{name} "{title}"' if title else name)
    return ", ".join(shown)


def _said_to(case: IncidentContext, words: str, called: Collection[str]) -> str:
    people = people_of(case)
    if not people:
        return words
    names = [markdown.code(each) if each in called else markdown.mention(each) for each in people]
    return f"{listed(names)}{':' if {*people} <= {*called} else ''} {words}"


def name_of(actor: Actor) -> str:
    """Name somebody without notifying them."""
    return markdown.code(actor.login)


def assignees(case: IncidentContext) -> tuple[str, ...]:
    """Whom to assign: the persons who asked; machines cannot be."""
    is_person = case.requested_by.kind is ActorKind.PERSON
    first = (case.requested_by.login,) if is_person else ()
    return (*first, *case.also_asked)


def commit_linked(case: IncidentContext, sha: str) -> str:
    """A commit, linked, its short SHA fit to be copied."""
    return f"[`{sha[:7]}`]({case.repository_url}/commit/{sha})"


def offenders_linked(case: IncidentContext) -> str:
    """What is reverted, as Markdown links."""
    return listed(
        [f"#{o.number}" if o.number else commit_linked(case, o.sha) for o in case.offenders]
    )


def staying(case: IncidentContext) -> str:
    """What came with the things that are reverted, and stays: others' work, and our own records."""
    said = []
    for offender in case.offenders:
        others = [f"#{number}" for number in offender.beside]
        shown = [*others[:_NAMED], *([f"{len(others) - _NAMED} more"] if others[_NAMED:] else [])]
        if shown:
            come = (
                "came by the same merge, and stays"
                if len(others) == 1
                else ("came by the same merge, and stay")
            )
            said.append(f"{listed(shown)} {come}: only the commits of #{offender.number} go.")
    if case.left:
        paths = [markdown.code(path) for path in case.left[:_NAMED]]
        more = [f"{len(case.left) - _NAMED} more"] if case.left[_NAMED:] else []
        said.append(f"Left as they are, because I wrote them: {listed([*paths, *more])}.")
    return " ".join(said)


def proposal_linked(case: IncidentContext) -> str:
    """The proposal, linked where it has a pull request."""
    return f"{case.proposal} #{case.pull_request}" if case.pull_request else case.proposal


def how_to_cancel(case: IncidentContext) -> str:
    """What `/cancel` does while a proposal is open."""
    return f"`/cancel` closes the {case.proposal} and deletes its branch."


def facts(case: IncidentContext) -> str:
    """One line of links."""
    rows = [f"Severity: {case.severity}"]
    if case.issue:
        rows.append(f"Incident: #{case.issue}")
    if case.pull_request:
        rows.append(f"{case.proposal.capitalize()}: #{case.pull_request}")
    if case.published or case.pull_request:
        where = case.base if case.merged else case.branch
        where = case.records_branch if case.published else where
        blob = f"{case.repository_url}/blob/{where}"
        rows.append(markdown.link("ADR", f"{blob}/{case.adr}"))
        if case.reported:
            rows.append(markdown.link("report", f"{blob}/{case.artifact}"))
    if case.page:
        rows.append(markdown.link("cockpit", case.page))
    if case.audit_head:
        rows.append(f"audit head {markdown.code(case.audit_head)}")
    return " · ".join(rows)


def check_table(rows: tuple[CheckRow, ...]) -> str:
    """The checks that count, as a table; empty when none does."""
    if not rows:
        return ""
    lines = ["| check | kind | result |", "|---|---|---|"]
    for row in rows:
        name = markdown.text(row.name)
        shown = markdown.link(row.name, row.url) if row.url else name
        lines.append(f"| {shown} | {row.kind} | {say(row.state)} |")
    return "\n".join(lines)


def names(of: tuple[str, ...]) -> str:
    """`a`, `b` and `c`."""
    return listed([markdown.code(name) for name in of])


def listed(shown: Sequence[str], joint: str = "and") -> str:
    """One, two and three."""
    if not shown:
        return "nothing"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {joint} {shown[-1]}"


def body(standing: StatusMessage) -> str:
    """The details, and the checks that count."""
    return paragraphs(*standing.details, check_table(standing.checks))


def passed_over(case: IncidentContext, standing: StatusMessage) -> str:
    """That the newest configuration is not in force, as long as somebody can mend it."""
    if case.config_fault is None or standing.state in ("done", "stopped"):
        return ""
    return (
        f"The newest {markdown.code('.github/playbooks.yml')} cannot be used, so its last good "
        f"version is in force: {markdown.text(case.config_fault, limit=500)}"
    )


def untold(case: IncidentContext) -> str:
    """What is left to do by hand, and where people could not be told; empty where nothing is."""
    left = [each for each in case.untold if each.by_hand]
    refused = [each for each in case.untold if not each.by_hand]
    rows = [f"- {each.what} ({markdown.text(each.why, limit=300)})" for each in left]
    by_hand = "\n".join(["**Left to do by hand:**", "", *rows]) if rows else ""
    named = [f"{each.what} ({markdown.text(each.why, limit=300)})" for each in refused]
    return paragraphs(by_hand, f"GitHub did not let me {listed(named)}." if named else "")


def in_the_way(case: IncidentContext) -> str:
    """That a branch is called as a folder of ours, so that ours is called otherwise."""
    said: list[tuple[str, str]] = []
    if case.branch.startswith(flat(f"{case.proposal}/")):
        said.append((case.proposal, case.branch))
    if case.records_branch != RECORDS_BRANCH:
        said.append((folder_of(RECORDS_BRANCH), case.records_branch))
    return " ".join(
        f"A branch named {markdown.code(folder)} is in the way of {markdown.code(folder + '/…')}, "
        f"so mine is called {markdown.code(name)}."
        for folder, name in said
    )


def commands(standing: StatusMessage, *live: str) -> str:
    """What may be commented where it stands like this; once it is over, nothing is left to steer.

    Args:
        standing: where it stands.
        live: what may be said besides while it goes on, as it is typed.
    """
    over = standing.state in ("done", "stopped")
    shown = ("/status",) if over else ("/status", *live)
    return f"Commands here: {', '.join(f'`{each}`' for each in shown)}."


def paragraphs(*parts: str) -> str:
    """Put parts below each other; empty ones are left out."""
    return "\n\n".join(part for part in parts if part)
