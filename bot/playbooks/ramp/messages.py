"""The words of a ramp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from bot import markdown
from bot.canary.judge import Breach
from bot.canary.messages import effect
from bot.canary.policy import Phase, Policy
from bot.canary.report import RampReport, StageReport
from bot.canary.sample_size import ROAS_DROP
from bot.playbooks.incident.phrases import StatusMessage, in_words
from bot.playbooks.ramp.decide import AskAboutRamp, Needed
from bot.playbooks.rollout.evidence import NAMES, curves, metric_table
from bot.playbooks.rollout.messages import (
    RolloutMessages,
    bullets,
    issue_body,
    on_trial,
    retry_command,
    unseen,
    where,
)
from bot.playbooks.rollout.workflow import WeighedCandidate, why_taken_back
from bot.playbooks.run import Ending
from bot.records.documents.adr import Option, Pointer
from bot.triggers import Actor


class RampMessages(RolloutMessages):
    """One ramp.

    Attributes:
        shadow: the id of the shadow it follows; None where there was none to name.
        shadow_report: the path of its report.
        power: what it will be able to see, and how soon; a line each.
        policy_changed: whether the configuration has another policy by now.
    """

    shadow: str
    shadow_report: str
    power: tuple[str, ...] = ()
    policy_changed: bool = False


def title(capability: str, candidate: str) -> str:
    """What the ramp's incident is called (plain text)."""
    return f"Ramp {candidate} for {capability}"


# --- where it stands ---------------------------------------------------------------------------


def starting(case: RampMessages) -> StatusMessage:
    """Before the first observation."""
    return StatusMessage(
        state="working",
        headline=f"In progress: {on_trial(case)} is about to get its first traffic.",
    )


def asking_to_begin(ask: AskAboutRamp) -> StatusMessage:
    """Somebody has to agree before the candidate gets anything."""
    return StatusMessage(
        state="needs you",
        headline=_approve(ask, f"the first stage, {ask.stage}%,"),
        details=(bullets(ask.reasons),),
        approvable=True,
    )


def serving(
    case: RampMessages,
    phase: Phase,
    missing: Sequence[str],
    outlook: str = "",
    notices: Sequence[str] = (),
) -> StatusMessage:
    """It serves its share, and evidence is gathered.

    Args:
        case: the facts.
        phase: what is served.
        missing: for the next step, a sentence each.
        outlook: how long yet; empty: nobody knows.
        notices: what people should know besides, a sentence or two each.
    """
    details = [outlook] if outlook else []
    details += [markdown.text(each) for each in notices]
    if missing:
        details.append(f"Missing for the next step:\n\n{bullets(missing)}")
    return StatusMessage(
        state="working", headline=f"In progress: {_share(case, phase)}.", details=tuple(details)
    )


def asking(
    case: RampMessages, phase: Phase, ask: AskAboutRamp, notices: Sequence[str] = ()
) -> StatusMessage:
    """A person has to say whether it goes on; `notices`: what they should know besides."""
    if ask.why == "approval":
        headline = _approve(ask, f"the stage of {ask.stage}%")
    else:
        headline = (
            "Decide how to go on: it is not clear yet whether the candidate is good enough. "
            "`/approve` goes on anyway, `/cancel` gives all traffic back."
        )
    return StatusMessage(
        state="needs you",
        headline=headline,
        details=(
            f"{_share(case, phase)}. It is watched as before: any anomaly rolls it back.",
            bullets(ask.reasons),
            *(markdown.text(each) for each in notices if each not in ask.reasons),
        ),
        approvable=True,
    )


def powers(policy: Policy, rate: float | None, within: Mapping[str, timedelta]) -> tuple[str, ...]:
    """What a ramp will be able to see, and how soon, before it begins; a line each.

    Args:
        policy: its.
        rate: requests a second; None: not known.
        within: by metric, see `seen_within`.
    """
    chosen = dict(policy.metrics.chosen())
    if rate is None or not within:
        return ()
    count, unit = (rate, "second") if rate >= 1 else (rate * 60, "minute")
    pace = f"{count:,.0f}" if count >= 100 else f"{count:.3g}"
    lines = [
        f"{effect(name, chosen[name], ROAS_DROP)}: needs {in_words(length)} at this traffic"
        + (f", {in_words(_maturity(policy))} of it until revenue is complete" * (name == "roas"))
        for name, length in within.items()
    ]
    return (f"{policy.phases[0].percent}% of {pace} requests a {unit}", *lines)


def _maturity(policy: Policy) -> timedelta:
    return timedelta() if policy.metrics.roas is None else policy.metrics.roas.maturity


def _power(case: RampMessages) -> str:
    if not case.power:
        return ""
    return (
        f"What can be seen, in 8 of 10 cases, with {markdown.text(case.power[0])}:\n\n"
        f"{bullets(case.power[1:])}"
    )


def _approve(ask: AskAboutRamp, what: str) -> str:
    """Say who does it, where that is not just anybody."""
    how = f"{what} with `/approve`, or end the ramp with `/reject`."
    return f"A Founder decides: approve {how}" if ask.founder else f"Approve {how}"


def promoted(case: RampMessages) -> StatusMessage:
    """The candidate is the active provider now."""
    return StatusMessage(
        state="done",
        headline=f"{markdown.code(case.candidate or '')} is the active provider of "
        f"{markdown.code(case.capability)} now.",
        details=(
            f"It passed every stage; its shadow {markdown.code(case.shadow[-8:])} is ended. While "
            f"{markdown.code(case.baseline)} can still be called, "
            f"`/rollback {case.capability}` takes everything back to it.",
        ),
    )


def rolled_back(case: RampMessages, breach: Breach) -> StatusMessage:
    """All traffic went back to the baseline."""
    also = (
        f"Also beyond its limit: {', '.join(NAMES.get(name, name) for name in breach.also)}."
        if breach.also
        else ""
    )
    return StatusMessage(
        state="stopped",
        headline=f"{markdown.code(case.capability)} is back on {markdown.code(case.baseline)}: "
        "the ramp was rolled back.",
        details=tuple(
            part
            for part in (
                markdown.text(why_taken_back(breach.metric, breach.evidence)),
                also,
                "The rollback has an incident of its own. Once that is over, and the candidate is "
                f"fixed: {retry_command(case)}.",
            )
            if part
        ),
    )


def cancelled(case: RampMessages, by: Actor | None, *, began: bool = True) -> StatusMessage:
    """A person ended it; nothing was wrong."""
    who = f" by {markdown.code(by.login)}" if by else ""
    return StatusMessage(
        state="stopped",
        headline=f"{_at_baseline(case, began=began)}: the ramp was cancelled{who}.",
        details=(f"Nothing was wrong. To try again: `/ramp {case.capability}`.",),
    )


def given_up(case: RampMessages, *, began: bool = True) -> StatusMessage:
    """Nobody answered for too long."""
    return StatusMessage(
        state="stopped",
        headline=f"{_at_baseline(case, began=began)}: nobody said how to go on.",
        details=(f"To try again: `/ramp {case.capability}`.",),
    )


def _at_baseline(case: RampMessages, *, began: bool) -> str:
    verb = "is back" if began else "stays"
    return f"{markdown.code(case.capability)} {verb} on {markdown.code(case.baseline)}"


def _share(case: RampMessages, phase: Phase) -> str:
    if phase.percent == 100:
        return f"{on_trial(case)} serves all traffic, the last look before it is promoted"
    if phase.stage == 100:
        held = 100 - phase.percent
        return f"{on_trial(case)} serves 100% ({held}% held back to compare)"
    return f"{on_trial(case)} serves {phase.percent}%"


# --- documents ---------------------------------------------------------------------------------


def issue(
    case: RampMessages, standing: StatusMessage, report: RampReport | None, picture: str | None
) -> str:
    """The ramp's issue: its stages, and each metric's evidence against its limit.

    `picture`: the address of the evidence as a picture, where there is one.
    """
    about = (
        f"{on_trial(case)} is given the traffic of {markdown.code(case.baseline)} step by step; "
        "any anomaly gives all of it back at once."
    )
    observed: tuple[str, ...] = ()
    if report is not None:
        observed = (
            stage_table(report.stages),
            metric_table(report.metrics),
            curves(report, picture),
            unseen(report.not_observed) if report.metrics else "",
        )
    return issue_body(
        case,
        standing,
        about,
        _power(case),
        *observed,
        _policy(case),
        commands=_commands(case, standing),
    )


def _commands(case: RampMessages, standing: StatusMessage) -> tuple[str, ...]:
    rollback = f"/rollback {case.capability} because …"
    match standing.state:
        case "done":
            return "/status", rollback
        case "stopped":
            return ("/status",)
        case "needs you":
            return "/status", "/approve", "/reject", "/cancel", rollback
        case _:
            return "/status", "/cancel", f"/ramp {case.capability} STAGE", rollback


_ENDS = {None: "now", "promote": "passed", "breach": "rolled back", "cancelled": "cancelled"}


def stage_table(stages: Sequence[StageReport]) -> str:
    """The splits served so far; empty before the first."""
    if not stages:
        return ""
    lines = ["| stage | candidate | requests (baseline, candidate) | ended |", "|---|---|---|---|"]
    lines += [
        f"| {each.stage}% | {each.percent}% | {each.n[0]:,}, {each.n[1]:,} | {_ENDS[each.ended]} |"
        for each in stages
    ]
    return "\n".join(lines)


def _policy(case: RampMessages) -> str:
    if not case.policy_changed:
        return ""
    return (
        "The policy in `.github/playbooks.yml` has changed since this ramp began. It is judged by "
        f"the one it began with ({markdown.code(case.policy[:12])}); the new one counts for the "
        "next ramp."
    )


# --- answers -----------------------------------------------------------------------------------


def going_on(issue: int | None, incident: str, stage: int, needed: Needed = None) -> Ending:
    """Its next stage was asked for; `needed`: who has to agree to it."""
    besides = " That stage waits for a Founder's yes as well." if needed == "founder" else ""
    return Ending(
        outcome="joined",
        reason=f"This is your yes to {stage}%: the ramp in {where(issue, incident)} goes on to it "
        f"as soon as its evidence allows, or stays inconclusive.{besides}",
        remedy="",
    )


def not_by_hand(app: str, capability: str, stage: int) -> Ending:
    """An App said yes to a stage in a person's name."""
    command = markdown.code(f"/ramp {capability} {stage}")
    return Ending(
        outcome="declined",
        reason=f"A yes to a stage counts only where a person wrote it: this comment came through "
        f"{markdown.text(app)}.",
        remedy=f"Comment {command} yourself.",
    )


_NAME = "Ramp step by step"


def weighed(case: RampMessages, policy: Policy) -> WeighedCandidate:
    """Why the candidate is ramped, and what was passed over for it."""
    candidate = case.candidate or ""
    stages = ", ".join(f"{phase.percent}%" for phase in policy.phases)
    return WeighedCandidate(
        title=title(case.capability, candidate),
        problem=(
            f"{case.baseline} provides {case.capability}; {candidate} might do it as well or "
            "better.",
            "In its shadow it stayed within the policy's bounds, unseen by users.",
        ),
        drivers=(
            "Users must not meet a worse answer for longer than it takes to notice.",
            "The evidence may be looked at any time without inflating false alarms.",
            "Every step can be taken back while the baseline is callable.",
        ),
        chosen=Option(
            name=_NAME,
            good=(
                f"few users see it first: {stages}.",
                "any anomaly gives all traffic back at once, without asking anybody.",
            ),
            bad=("it takes as long as the evidence needs.",),
        ),
        because="it costs time, and spares most users any bad answer.",
        otherwise=Option(
            name="Switch at once",
            good=("it is quick.",),
            bad=("every user meets what the shadow did not show.",),
        ),
        forgone="what the shadow showed to be good stays unused meanwhile.",
        nothing=Option(
            name="Do nothing",
            good=("users meet nothing new.",),
            bad=("what the shadow showed to be good stays unused.",),
        ),
        consequences=Option(
            name=_NAME,
            good=(f"{candidate} becomes the active provider once it has passed every stage.",),
            bad=("two providers are paid for until then.",),
        ),
        confirmation="Every metric is shown to be within its margin in every stage; none "
        "crosses its limit.",
        more=(Pointer(label="Shadow", value=case.shadow_report),),
    )
