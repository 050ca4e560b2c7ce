"""The words of a bisect's issue and pull request."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from bot import markdown
from bot.culprit.evidence import TrialOutcome
from bot.names import split_numeric, typed_numeric
from bot.playbooks.bisect.trials import TrialRow
from bot.playbooks.incident.context import IncidentContext
from bot.playbooks.incident.phrases import (
    StatusMessage,
    body,
    commands,
    facts,
    listed,
    offenders_in_words,
    paragraphs,
    passed_over,
    quoted,
    untold,
)
from bot.playbooks.run import Ending
from bot.records.documents.reports import Finding, SpecReport, TrialMade, Verification, spec_table


class BisectMessages(IncidentContext):
    """The facts of one bisect that the texts need.

    `subjects` are the first lines of the suspects' messages, by SHA.
    """

    check: str | None
    numeric: str | None = None
    bad: str
    good: str = ""
    commits: int = 0
    known: int = 0
    trials_left: int = 0
    notes: tuple[str, ...] = ()
    subjects: dict[str, str] = Field(default_factory=dict)

    @property
    def to_start_over(self) -> str:
        """The same search once more; it has a range, without which nothing can be searched."""
        metric = f" numeric {self.typed_metric}" if self.numeric else ""
        check = f" check {self.check}" if self.check else ""
        return f"/bisect {self.good[:12]}..{self.bad[:12]}{metric}{check}"

    @property
    def broken_check(self) -> str | None:
        """The check that fails; None where there is none, or it is about a number."""
        return self.check if self.numeric is None else None

    @property
    def metric(self) -> str | None:
        """The metric whose change is looked for; None where it is about a failure."""
        return split_numeric(self.numeric)[0] if self.numeric else None

    @property
    def typed_metric(self) -> str:
        """The metric as a command takes it; empty where it is about a failure."""
        return typed_numeric(self.numeric) if self.numeric else ""

    @property
    def did(self) -> str:
        """What the culprit did to the signal."""
        return "changed" if self.numeric else "broke"

    @property
    def signal(self) -> str:
        """What tells good from bad, as Markdown."""
        named = self.metric or self.check
        return markdown.code(named) if named else "the trial"


_SHORT = 7
_SUSPECTS_SHOWN = 10
_TRIALS_SHOWN = 200


NO_ROOM = (
    "Other bisects of this repository run as many trials as may run at once; this one goes on as "
    "soon as there is room."
)

# --- titles -----------------------------------------------------------------------------------


def incident_title(check: str | None, base: str, numeric: str | None = None) -> str:
    """What the incident is called (plain text).

    Args:
        check: what tells good from bad; None where only trials do.
        base: the branch.
        numeric: the metric whose change is looked for, perhaps with what is worse; None where it
            is about a failure.
    """
    if numeric is None:
        return f"{quoted(check or 'The trial')} fails on {quoted(base)}"
    name, worse = split_numeric(numeric)
    return f"{quoted(name)} {f'got {worse}' if worse else 'changed'} on {quoted(base)}"


def task(check: str | None, numeric: str | None) -> str:
    """What is to be found out (plain text)."""
    if numeric is None:
        return f"Find what broke {check or 'the trial'}"
    return f"Find what changed {split_numeric(numeric)[0]}"


def issue_title(case: BisectMessages) -> str:
    """The incident issue's title (plain text)."""
    return f"Incident: {incident_title(case.check, case.base, case.numeric)}"


def fix_title(case: BisectMessages) -> str:
    """The fix pull request's title (plain text)."""
    return f"Revert {offenders_in_words(case.offenders)}"


def commit_message(case: BisectMessages, commits: Sequence[str]) -> str:
    """The fix commit's message, in the form of `git revert`."""
    lines = "\n".join(f"This reverts commit {sha}." for sha in commits)
    signal = quoted(case.metric or case.check or "the trial")
    found = f"Found by bisect: {signal} {_is_worse(case)} since then."
    return f"{fix_title(case)}\n\n{lines}\n\n{found}"


# --- answers ------------------------------------------------------------------------------------


def joined(issue: int | None, incident: str) -> Ending:
    """Somebody asked for the same before."""
    where = f"#{issue}" if issue else markdown.code(incident)
    return Ending(
        outcome="joined",
        reason=f"This culprit is already being searched for, as incident {where}.",
        remedy="`/status` says where it stands.",
    )


# --- documents ----------------------------------------------------------------------------------


def issue_body(case: BisectMessages, standing: StatusMessage, picture: str) -> str:
    """The incident issue, in short."""
    reason = f" Reason given: {markdown.text(case.reason)}" if case.reason else ""
    over = standing.state in ("done", "stopped")
    return paragraphs(
        f"**{standing.headline}**",
        f"{_trouble(case, over=over)}{reason}",
        facts(case),
        body(standing),
        passed_over(case, standing),
        untold(case),
        f"<details><summary>How the suspicion is spread</summary>\n\n{picture}\n\n</details>"
        if picture
        else "",
        commands(
            standing,
            "/retry",
            "/cancel",
            *(() if case.numeric else ("/good SHA", "/bad SHA")),
            "/skip SHA",
        ),
    )


def _trouble(case: BisectMessages, *, over: bool) -> str:
    """What is wrong, and what is done about it."""
    base, bad, looking = markdown.code(case.base), linked(case, case.bad), "looked"
    if not over:
        looking = "am looking"
    if case.numeric is None:
        fails = "failed" if over else "fails"
        return (
            f"{case.signal} {fails} on {base} at {bad}, and I {looking} for the commit that "
            "broke it."
        )
    _, worse = split_numeric(case.numeric)
    return (
        f"{case.signal} {f'got {worse}' if worse else 'changed'} on {base} between "
        f"{linked(case, case.good)} and {bad}, and I {looking} for the commit that did it."
    )


def _is_worse(case: BisectMessages) -> str:
    """What is wrong since the culprit, after what it is about."""
    if case.numeric is None:
        return "fails"
    _, worse = split_numeric(case.numeric)
    return f"is {worse}" if worse else "is different"


def check_summary(
    case: BisectMessages, standing: StatusMessage, picture: str, trials: Sequence[TrialRow]
) -> str:
    """What the `bisect` check-run says: where it stands, the suspicion, every trial."""
    return paragraphs(
        f"**{standing.headline}**", *standing.details, picture, trial_table(case, trials)
    )


def check_title(standing: StatusMessage) -> str:
    """The `bisect` check-run's title (plain text)."""
    return {
        "working": "In progress: the search for the culprit",
        "needs you": "Needs a person",
        "done": "Culprit found and reverted",
        "stopped": "Ended",
    }[standing.state]


def as_picture(chart: str, address: str | None) -> str:
    """Show where the culprit may be: as a picture where there is one, and as text beside it."""
    caption = "Probability that the culprit is there, oldest commits first:"
    drawn = markdown.image("the same as the text below", address) if address else ""
    return paragraphs(caption, drawn, markdown.fence(chart))


def fix_section(
    case: BisectMessages,
    standing: StatusMessage,
    finding: Finding,
    verification: Verification,
    spec: SpecReport,
) -> str:
    """The managed section of the fix pull request's description."""
    culprit = case.offenders[0].sha
    return paragraphs(
        f"**{standing.headline}**",
        f"{case.signal} {_is_worse(case)} on {markdown.code(case.base)} since "
        f"{linked(case, culprit)} ({finding.confidence:.1%} sure), which this reverts. "
        f"Incident: #{case.issue}.",
        *boundaries_in_words(case, finding),
        *effect_in_words(case, finding),
        verification_in_words(case, verification),
        facts(case),
        body(standing),
        "What this fix must achieve:",
        spec_table(spec),
    )


def culprit_comment(case: BisectMessages, finding: Finding, verification: Verification) -> str:
    """The one comment on the pull request that brought the culprit: facts, kindly."""
    culprit = case.offenders[0].sha
    return paragraphs(
        f"{case.signal} {_is_worse(case)} on {markdown.code(case.base)} since "
        f"{linked(case, culprit)}, as far as {finding.trials} trials and {case.known} earlier "
        f"results tell ({finding.confidence:.1%} sure). "
        f"{verification_in_words(case, verification)}",
        f"#{case.pull_request} would revert it, so that {markdown.code(case.base)} "
        f"{'is green' if case.numeric is None else 'has the number of before'} "
        "while this is fixed; nothing is lost by that. If you have a fix at hand, that is as "
        f"good: merge it and close #{case.pull_request}. If this looks wrong to you, say so on "
        f"#{case.issue}.",
    )


# --- pieces -------------------------------------------------------------------------------------


def learnt(case: BisectMessages, finding: Finding, *, reason: bool = True) -> tuple[str, ...]:
    """What a search has found out, however unsure; with or without why it went no further."""
    listed = "\n".join(
        f"- {each.probability:.1%} {linked(case, each.sha)} "
        f"{markdown.text(case.subjects.get(each.sha, ''), limit=100)}"
        for each in finding.suspects[:_SUSPECTS_SHOWN]
    )
    more = len(finding.suspects) - _SUSPECTS_SHOWN
    rest = f"\n- and {more} more" if more > 0 else ""
    splitters = ", ".join(linked(case, sha) for sha in finding.splitters[:_SUSPECTS_SHOWN])
    return tuple(
        part
        for part in (
            markdown.text(finding.reason) if reason else "",
            *number_wanted(case, finding),
            *boundaries_in_words(case, finding),
            *effect_in_words(case, finding),
            f"With 95% probability it is one of these:\n\n{listed}{rest}" if listed else "",
            f"A result for one of these would tell the most: {splitters}." if splitters else "",
            f"There may be no culprit at all ({finding.p_no_culprit:.1%}), or an older one "
            f"({finding.p_before_range:.1%})."
            if case.numeric is None
            else "",
        )
        if part
    )


_HAPPENED = {
    "broken": "broke at",
    "fixed": "was fixed at",
    "flaky_from": "became flaky at",
    "fails_from": "fails more often from",
}


def boundaries_in_words(case: BisectMessages, finding: Finding) -> tuple[str, ...]:
    """All that happened to the signal along the range, where that is more than one break."""
    if len(finding.boundaries) < 2 and finding.cause is None:
        return ()
    told = [f"{_HAPPENED[each.kind]} {linked(case, each.sha)}" for each in finding.boundaries]
    if not told:
        return ()
    return (f"{case.signal} {listed(told)}.",)


def perhaps_an_outage(case: BisectMessages) -> str:
    """Runs of the good end fail: it waits a while."""
    return (
        f"Everything fails by now, {linked(case, case.good)} too, which is taken to be good. "
        "It may be an outage: I wait a while and try that commit again. If it is really broken "
        f"there, say so: {markdown.code(f'/bad {case.good[:12]}')}."
    )


def often_cancelled(count: int) -> str:
    """GitHub, or somebody, cancelled many runs of trials."""
    return (
        f"{count} trials were cancelled, and not by me. A `concurrency` group that all runs of the "
        "workflow share does that: take it out, or put `${{ inputs.trial_id }}` into its name."
    )


def found_all_the_same(case: BisectMessages, finding: Finding, why: str) -> str:
    """The culprit is known, and its revert could not be proposed (plain text)."""
    culprit = case.offenders[0]
    return (
        f"{culprit.sha[:12]} ({culprit.title}) {case.did} {case.check or 'the check'}, "
        f"{finding.confidence:.1%} sure, but its revert could not be proposed. {why}"
    )


def revert_not_tried(why: str) -> str:
    """GitHub refused the commit without the suspect; `why` is plain text."""
    return f"Whether it is green without the suspect could not be tried: {markdown.text(why)}."


def too_few_trials(needed: int, left: int) -> str:
    """The suspect cannot be checked within the budget."""
    return f"The check of the suspect takes {needed} trials, and {left} are left."


def remembered(trials: Sequence[TrialMade]) -> list[str]:
    """Trials of earlier attempts count."""
    if not trials:
        return []
    return [f"{len(trials)} results of earlier attempts are used again."]


def number_wanted(case: BisectMessages, finding: Finding) -> tuple[str, ...]:
    """How a trial says the number, where none did."""
    if case.numeric is None or finding.status != "infra" or finding.cause == "outage":
        return ()
    name, _ = split_numeric(case.numeric)
    notice = f'echo "::notice title=playbooks-metrics::{{\\"{name}\\": 12.3}}"'
    return (f"A step of the trial's job has to print it as a notice: {markdown.code(notice)}.",)


def effect_in_words(case: BisectMessages, finding: Finding) -> tuple[str, ...]:
    """By how much a number changed, where a commit is named that changed it."""
    found = finding.effect
    if found is None:
        return ()
    return (
        f"{case.signal} changed by {found.effect:+.4g} (95%: {found.low:+.4g} to "
        f"{found.high:+.4g})"
        + (
            f", {abs(found.deviations):.1f} times what single runs differ by."
            if found.deviations
            else "; single runs do not differ."
        ),
    )


NO_END_SKIPPED = "An end of the range cannot be left out: name another range."
ONLY_SKIP = (
    "A number cannot be said to be good or bad: of your words, only `/skip SHA` counts in this "
    "search."
)


def verification_in_words(case: BisectMessages, verification: Verification) -> str:
    """What the fresh runs say, in a sentence."""
    if verification.boundary == "not made":
        return f"Fresh runs were not made: {markdown.text(verification.note)}"
    runs = {
        role: [each for each in verification.runs if each.role == role]
        for role in ("culprit", "parent", "revert")
    }
    failed = "failed" if case.numeric is None else "had the worse number in"
    parts = [
        f"{name} {failed} {sum(e.failed for e in found)} of "
        f"{sum(e.failed + e.passed for e in found)} fresh runs"
        for name, found in (
            ("the suspect", runs["culprit"]),
            ("its parents", runs["parent"]),
            ("the bad end with the suspect reverted", runs["revert"]),
        )
        if found
    ]
    note = f" {markdown.text(verification.note)}" if verification.note else ""
    return f"{'; '.join(parts).capitalize()}.{note}"


def trial_table(case: BisectMessages, trials: Sequence[TrialRow]) -> str:
    """Every trial, newest last; of very many the newest."""
    if not trials:
        return "No trial has been made."
    lines = ["| trial | commit | for | result | seconds |", "|---|---|---|---|---|"]
    for row in trials[-_TRIALS_SHOWN:]:
        marks = {TrialOutcome.FAIL: "**fail**", None: "running"}
        result = marks.get(row.outcome, str(row.outcome))
        if case.metric is not None and row.outcome is not None:
            value = row.metrics.get(case.metric)
            result = "no number" if value is None else f"**{value:.6g}**"
        if row.reason:
            result = f"{result}: {markdown.text(row.reason)}"
        name = markdown.link(row.name, row.url) if row.url else markdown.text(row.name)
        seconds = "" if row.seconds is None else f"{row.seconds:g}"
        lines.append(f"| {name} | {linked(case, row.sha)} | {row.why} | {result} | {seconds} |")
    return "\n".join(lines)


def linked(case: BisectMessages, sha: str) -> str:
    """A commit as a short link, its SHA fit to be copied."""
    return f"[`{sha[:_SHORT]}`]({case.repository_url}/commit/{sha})"
