"""The words of a shadow."""

from __future__ import annotations

from collections.abc import Sequence

from bot import markdown
from bot.canary.policy import Policy
from bot.canary.report import ShadowDiffReport
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.rollout.evidence import curves, metric_table
from bot.playbooks.rollout.messages import (
    RolloutMessages,
    bullets,
    issue_body,
    on_trial,
    retry_command,
    unseen,
)
from bot.playbooks.rollout.workflow import WeighedCandidate
from bot.records.documents.adr import Option
from bot.triggers import Actor


def title(capability: str, candidate: str) -> str:
    """What the shadow's incident is called (plain text)."""
    return f"Shadow {candidate} for {capability}"


# --- where it stands ---------------------------------------------------------------------------


def mirroring(case: RolloutMessages, missing: Sequence[str], outlook: str = "") -> StatusMessage:
    """Copies of requests go to the candidate; `outlook` says how long yet."""
    details = [outlook] if outlook else []
    if missing:
        details.append(f"Missing for a verdict:\n\n{bullets(missing)}")
    return StatusMessage(
        state="working",
        headline=f"In progress: {on_trial(case)} answers copies of requests, unseen by users.",
        details=tuple(details),
    )


def held(case: RolloutMessages, reasons: Sequence[str], *, may_insist: bool) -> StatusMessage:
    """Something is in the way; it goes on by itself, or a person says so."""
    insist = "Or `/approve` it as it is: the ramp is proposed anyway, and watched like every ramp."
    return StatusMessage(
        state="needs you",
        headline=f"Fix what is in the way, or `/cancel`: the shadow of {on_trial(case)} is held.",
        details=(
            bullets(reasons),
            "It goes on by itself once that is fixed.",
            *((insist,) if may_insist else ()),
        ),
        approvable=may_insist,
    )


def insisted_on(case: RolloutMessages, by: str, reasons: Sequence[str]) -> StatusMessage:
    """A person wants the ramp although it was not shown that the candidate is good enough."""
    return StatusMessage(
        state="done",
        headline=f"Ramp it with `/ramp {case.capability}`: {markdown.code(by)} approved "
        f"{on_trial(case)} as it is.",
        details=(
            f"What was not shown:\n\n{bullets(reasons)}",
            f"Nothing is mirrored any more; users are served by {markdown.code(case.baseline)} as "
            "before.",
        ),
    )


def within_bounds(case: RolloutMessages) -> StatusMessage:
    """The candidate is good enough to be ramped."""
    return StatusMessage(
        state="done",
        headline=f"Ramp it with `/ramp {case.capability}`: {on_trial(case)} stayed within the "
        "policy's bounds.",
        details=(
            f"Nothing is mirrored any more; users are served by {markdown.code(case.baseline)} as "
            "before.",
        ),
    )


def out_of_bounds(case: RolloutMessages, reasons: Sequence[str]) -> StatusMessage:
    """The candidate is worse than tolerated."""
    return StatusMessage(
        state="stopped",
        headline=f"{on_trial(case)} is not good enough: no ramp is proposed.",
        details=(
            bullets(reasons),
            f"No user has seen it. Once it is fixed: `/shadow {case.capability} {case.candidate}`.",
        ),
    )


def too_dear(case: RolloutMessages, reasons: Sequence[str]) -> StatusMessage:
    """The cap on extra cost is reached."""
    return StatusMessage(
        state="stopped",
        headline=f"The shadow of {on_trial(case)} was stopped: it reached its cap on extra cost.",
        details=(
            bullets(reasons),
            "Raise `shadow.max_extra_cost_usd` or lower `shadow.sample_rate` in "
            f"`.github/playbooks.yml`, then `/shadow {case.capability} {case.candidate}`.",
        ),
    )


def cancelled(case: RolloutMessages, by: Actor | None) -> StatusMessage:
    """A person ended it."""
    who = f" by {markdown.code(by.login)}" if by else ""
    return StatusMessage(
        state="stopped",
        headline=f"The shadow of {on_trial(case)} was cancelled{who}: nothing is mirrored any "
        "more.",
        details=(f"To try again: `/shadow {case.capability} {case.candidate}`.",),
    )


def given_up(case: RolloutMessages) -> StatusMessage:
    """It was held for too long."""
    return StatusMessage(
        state="stopped",
        headline=f"The shadow of {on_trial(case)} ended without a verdict: nobody fixed what was "
        "in the way.",
        details=(f"To try again: `/shadow {case.capability} {case.candidate}`.",),
    )


def rolled_back(case: RolloutMessages, why: str) -> StatusMessage:
    """The capability was rolled back and paused."""
    return StatusMessage(
        state="stopped",
        headline=f"The shadow of {on_trial(case)} ended: {markdown.code(case.capability)} was "
        "rolled back and is paused.",
        details=(
            markdown.text(why),
            "The rollback has an incident of its own. Once that is over, and the candidate is "
            f"fixed: {retry_command(case)}.",
        ),
    )


# --- documents ---------------------------------------------------------------------------------


def issue(
    case: RolloutMessages,
    standing: StatusMessage,
    report: ShadowDiffReport | None,
    picture: str | None,
) -> str:
    """The shadow's issue: what was compared, and each metric's evidence against its limit.

    `picture`: the address of the evidence as a picture, where there is one.
    """
    about = (
        f"{on_trial(case)} answers copies of some requests. Users see only what "
        f"{markdown.code(case.baseline)} answers; both are compared."
    )
    observed: tuple[str, ...] = ()
    if report is not None:
        observed = (
            _pairs(report),
            metric_table(report.metrics),
            curves(report, picture),
            unseen(report.not_observed) if report.metrics else "",
        )
    return issue_body(
        case,
        standing,
        about,
        *observed,
        commands=_commands(case, standing),
    )


def _commands(case: RolloutMessages, standing: StatusMessage) -> tuple[str, ...]:
    if standing.state == "done":
        return "/status", f"/ramp {case.capability}"
    if standing.state == "needs you":
        insist = ("/approve",) if standing.approvable else ()
        return "/status", *insist, "/cancel", f"/rollback {case.capability} because …"
    if standing.state == "stopped":
        return "/status", f"/shadow {case.capability} {case.candidate}"
    return "/status", "/cancel", f"/rollback {case.capability} because …"


def _pairs(report: ShadowDiffReport) -> str:
    coverage = "not known" if report.coverage is None else f"{report.coverage:.1%}"
    return (
        f"{report.pairs.n:,} requests were answered by both, {report.pairs.dropped:,} by one only "
        f"(complete: {coverage}). The copies cost {report.extra_cost_usd:.2f} USD. Copied: "
        f"{100 * report.sampling.rate:.3g}% of all requests, seed {markdown.code(report.seed)}."
    )


_NAME = "Shadow the candidate"


def weighed(case: RolloutMessages, policy: Policy) -> WeighedCandidate:
    """Why the candidate is shadowed, and what was passed over for it."""
    candidate, shadow = case.candidate or "", policy.shadow
    return WeighedCandidate(
        title=title(case.capability, candidate),
        problem=(
            f"{candidate} might provide {case.capability} as well as {case.baseline}, or "
            "better. Nobody knows yet.",
        ),
        drivers=(
            "No user may meet a candidate that is known to be worse.",
            f"It may cost {shadow.max_extra_cost_usd:g} USD at most.",
        ),
        chosen=Option(
            name=_NAME,
            good=("users see nothing of it.", "both answer the same requests."),
            bad=("the mirrored requests are paid for twice.",),
        ),
        because="it is the only way to know that costs no user anything.",
        otherwise=Option(
            name="Trust the vendor's numbers",
            good=("it costs nothing.",),
            bad=("they were not measured on our requests.",),
        ),
        forgone="nothing is learnt about the candidate.",
        nothing=Option(
            name="Do nothing",
            good=("no request is paid for twice.",),
            bad=("nobody knows whether the candidate is better.",),
        ),
        consequences=Option(
            name=_NAME,
            good=("a ramp is proposed on evidence, or not at all.",),
            bad=(f"{100 * shadow.sample_rate:.3g}% of the requests are sent twice meanwhile.",),
        ),
        confirmation=f"At least {shadow.min_pairs:,} requests answered by both, every metric "
        "shown to be within its margin, none over its limit.",
    )
