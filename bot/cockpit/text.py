"""The words of the pages, and how texts, times and numbers are shown on them.

Escaping is done by the templates. Here invisible characters go, lengths are cut, and Markdown we
wrote ourselves becomes HTML.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from bot import LazyModule, markdown
from bot.canary.interval import Interval
from bot.canary.messages import NAMES
from bot.records.approvals import FOUNDERS_STAGE
from bot.records.audit.chain import AuditEntry
from bot.records.audit.verify import Altered, CannotCheck, Intact, Older, Truncated, Verdict
from bot.records.incidents import Incident
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.runs import StoredRun, ToldStanding
from bot.records.steps import Reversibility
from bot.triggers import SHA

if TYPE_CHECKING:
    import markdown_it
    import nh3
else:
    markdown_it, nh3 = LazyModule("markdown_it"), LazyModule("nh3")

_REFERENCE = re.compile(
    r"\\.|`[^`]*`|<code>[^<]*</code>|\[(?:[^\[\]\\]|\\.)*+\]\([^()\s]*\)"
    r"|(?<![\w&/])#(?P<number>\d{1,10})\b",
    re.DOTALL,
)
NONE = "\N{EN DASH}"
"""Where there is nothing to say."""
_A_MOMENT = timedelta(seconds=5)
LONGEST = 300
"""Characters shown of somebody's words where the page does not say otherwise."""
_TAGS = {"a", "br", "code", "em", "li", "ol", "p", "pre", "strong", "table", "tbody", "td", "th",
         "thead", "tr", "ul", "hr", "h3", "h4"}  # fmt: skip


def plain(raw: object, limit: int = LONGEST) -> str:
    """Write on one line, without what a reader cannot see (controls, direction marks), cut."""
    # Cut first: the longest title must not cost more than what is shown of it.
    whole = str(raw)
    text = whole[: 4 * limit]
    # Most words are plain letters, and a page has hundreds of them.
    words = " ".join(text.split() if _is_harmless(text) else _visible(text).split())
    is_cut = len(words) > limit or len(whole) > 4 * limit
    return words[: limit - 1].rstrip() + "…" if is_cut else words


def _is_harmless(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _visible(text: str) -> str:
    return _without_towers(
        "".join(
            " " if each.isspace() else each
            for each in text
            if each.isspace() or unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Co", "Cn")
        )
    )


def _without_towers(text: str) -> str:
    """Keep at most two marks on a letter: more of them climb over the lines around."""
    if text.isascii():
        return text
    kept, marks = [], 0
    for each in text:
        marks = marks + 1 if unicodedata.category(each) in ("Mn", "Me") else 0
        if marks <= 2:
            kept.append(each)
    return "".join(kept)


def say(raw: object, limit: int = LONGEST) -> Markup:
    """Show somebody's words, isolated: their direction does not turn ours around."""
    return Markup(f"<bdi>{escape(plain(raw, limit))}</bdi>")  # noqa: S704 - escaped just now


@cache
def _markdown() -> markdown_it.MarkdownIt:
    return markdown_it.MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")


def html_of(markdown: str, limit: int = 20_000) -> Markup:
    """Render our own Markdown, in which others' words are escaped already."""
    rendered = _markdown().render(_without_towers(markdown[:limit]))
    clean = nh3.clean(
        rendered,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noreferrer",
    )
    return Markup(clean)  # noqa: S704 - cleaned just now, and made from escaped words


def with_references(markdown: str, address: Callable[[int], str]) -> str:
    """Link what GitHub links by itself: `#12` in our own Markdown, outside of code and links.

    The words of others hold no such thing: `bot.markdown` parts it.
    """

    def linked(found: re.Match[str]) -> str:
        if found["number"] is None:
            return found[0]
        return f"[#{found['number']}]({address(int(found['number']))})"

    return _REFERENCE.sub(linked, markdown)


@lru_cache(maxsize=1_000)
def inline_of(markdown: str, limit: int = 4_000) -> Markup:
    """Render one line of our own Markdown, to stand inside a sentence."""
    rendered = _markdown().renderInline(_without_towers(" ".join(markdown[:limit].split())))
    clean = nh3.clean(
        rendered,
        tags={"a", "code", "em", "strong"},
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noreferrer",
    )
    return Markup(f"<bdi>{clean}</bdi>")  # noqa: S704 - cleaned just now, made from escaped words


def duration(span: timedelta | None) -> str:
    """A length of time in at most two units: `2 h 5 min`."""
    if span is None:
        return NONE
    seconds = max(0, round(span.total_seconds()))
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    for place, (size, name) in enumerate(units):
        if seconds >= size or size == 1:
            count, rest = divmod(seconds, size)
            smaller = units[place + 1] if place + 1 < len(units) else None
            if smaller and rest >= smaller[0] and count < 10:
                return f"{count} {name} {rest // smaller[0]} {smaller[1]}"
            return f"{count} {name}"
    return "0 s"


def moment(when: datetime | None, now: datetime) -> Markup:
    """A time as people say it (`5 min ago`), exact for whoever wants it."""
    if when is None:
        return escape(NONE)
    exact = when.strftime("%Y-%m-%d %H:%M:%S UTC")
    span = now - when
    if abs(span) < _A_MOMENT:
        said = "just now"
    else:
        said = f"{_coarse(span)} ago" if span > timedelta(0) else f"in {_coarse(-span)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(when.isoformat(), exact, said)


def exactly(when: datetime | None, now: datetime) -> Markup:
    """A time as people say it, and beside it the clock's, with its zone."""
    if when is None:
        return escape(NONE)
    clock = f"{when:%H:%M}" if when.date() == now.date() else f"{when:%Y-%m-%d %H:%M}"
    return Markup('{} <span class="clock">({} UTC)</span>').format(moment(when, now), clock)


def clock(when: datetime) -> str:
    """A time of day, with its date, in UTC."""
    return f"{when:%Y-%m-%d %H:%M}"


def _coarse(span: timedelta) -> str:
    """The larger of the two units is enough for how long ago something was."""
    return " ".join(duration(span).split()[:2])


def percent(share: float) -> str:
    """A share as people read it; what is not certain is never written as certain."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share:.1%}"


def number(count: int | float) -> str:
    """A count with its thousands parted."""
    return str(escape(f"{count:,}"))


_HARDLY = 0.005
"""What is less than half a percent is said as none."""


def name_of(metric: str) -> str:
    """What a metric, a split or a limit is called."""
    return NAMES.get(metric, metric.replace("_", " "))


def difference(compared: Interval | None) -> str:
    """How much more or less the candidate has than the baseline: `+39% (-64% to +253%)`."""
    if compared is None:
        return "not known"
    return f"{_more(compared.ratio)} ({_more(compared.low)} to {_more(compared.high)})"


def _more(ratio: float) -> str:
    if abs(ratio - 1) < _HARDLY:
        return "0%"
    return f"{ratio - 1:+.0%}" if ratio < 10 else f"{ratio:,.0f} times"


def sign_of_harm(part: float) -> str:
    """How close the candidate is to being taken back: the share of the proof it takes."""
    if part >= 1:
        return "over its limit"
    return "no sign" if part <= 0 else f"{int(100 * part)}%"


_LONGEST_WHY = 300

STAGES = ("queued", "checking", "acting", "verifying", "done")
_STAGE_OF = {
    RunState.QUEUED: 0,
    RunState.PREFLIGHT: 1,
    RunState.AWAITING_APPROVAL: 2,
    RunState.RUNNING: 2,
    RunState.VERIFYING: 3,
    RunState.COMPENSATING: 3,
}

_SAID = {
    "approval.asked": "asked for an approval",
    "approval.given": "the approval was given",
    "approval.void": "the approval is not needed any more",
    "fix.merged": "fix merged",
    "fix.opened": "fix pull request opened",
    "fix.recomputed": "fix computed again on the newest base",
    "hotfix.merged": "hotfix merged",
    "hotfix.opened": "hotfix pull request opened",
    "hotfix.recomputed": "hotfix computed again on the newest base",
    "incident.joined": "a second request joined",
    "plan.overtaken": "another one ended while this was planned",
    "incident.opened": "incident opened",
    "incident.resolved": "incident resolved",
    "incident.severity": "severity changed",
    "issue.opened": "incident issue opened",
    "run.failed": "the run broke off",
    "run.finished": "the run ended",
}


_WAITS_FOR = {
    "founder": "it changes files that another revert cannot restore",
    "unrelated": "checks fail that failed before it as well",
    "nothing counts": "no check tells whether it is good",
    "unstarted": "a check does not begin, and all others are green",
    "no evals": "no evals are configured, and nobody asked for it in person",
    "person": "nobody asked for it in person",
    "approval": "the next stage needs an approval",
    FOUNDERS_STAGE: "the next stage needs a Founder's approval",
    "inconclusive": "the evidence is inconclusive",
}
"""Why a Run waits, by the word that playbooks record."""


@dataclass(frozen=True)
class Next:
    """The one next thing to do about an incident.

    Attributes:
        text: Markdown, the words of others escaped.
        is_yours: whether a person has to act.
        since: since when it is so, where that is known.
        details: what happened and what can be done, in paragraphs of Markdown.
    """

    text: str
    is_yours: bool = False
    since: datetime | None = None
    details: tuple[str, ...] = ()


def what_next(incident: Incident, last: StoredRun | None, asked_a_founder: Collection[str]) -> Next:
    """Say the one next thing, as people were told it.

    Args:
        incident: what it is about.
        last: its Run that says where it stands.
        asked_a_founder: Runs that only they decide.
    """
    if not incident.is_open:
        return Next("Done: this is over.")
    if last is None:
        return Next("Nobody works on it: start a playbook.", is_yours=True)
    told = last.standing
    if told is not None and _holds(told, last):
        return Next(told.headline, last.needs_somebody, told.at, told.details)
    return _by_state(incident, last, asked_a_founder)


def _holds(told: ToldStanding, run: StoredRun) -> bool:
    """Whether what was told is not behind: the state of a Run changes a moment before."""
    if told.state in ("needs you", "stopped"):
        return True
    return run.is_live and not run.needs_somebody


def _by_state(incident: Incident, last: StoredRun, asked_a_founder: Collection[str]) -> Next:
    """Say the one next thing where nobody was told anything yet, or what was told is over."""
    match last.state:
        case RunState.AWAITING_APPROVAL:
            why = markdown.text(waits_for(last) or "it waits for a person", limit=_LONGEST_WHY)
            who = "As a Founder, approve" if last.id in asked_a_founder else "Approve"
            said = f"{who} or reject the {last.playbook}: {why}"
            return Next(said, is_yours=True, since=last.updated_at)
        case RunState.FAILED | RunState.TIMED_OUT | RunState.ROLLBACK_FAILED:
            why = markdown.text(last.reason or last.state, limit=_LONGEST_WHY)
            said = f"The {last.playbook} broke off ({why}). Fix it, then retry."
            return Next(said, is_yours=True, since=last.finished_at)
        case RunState.CANCELLED | RunState.ROLLED_BACK:
            said = f"The {last.playbook} was stopped: decide what to do."
            return Next(said, is_yours=True, since=last.finished_at)
        case RunState.SUCCEEDED:
            return Next(f"The {last.playbook} is done; the outcome is being confirmed.")
        case RunState.VERIFYING if incident.status is IncidentStatus.MITIGATED:
            return Next("Nothing yet. The change is merged, and its checks are awaited.")
        case _:
            return Next(f"Nothing yet: the {last.playbook} is {doing(last)}.")


def waits_for(run: StoredRun) -> str:
    """Why a Run stands where it does, in a sentence's words; empty where nothing is known."""
    return _WAITS_FOR.get(run.reason or "", run.reason or "")


def doing(run: StoredRun) -> str:
    """What a live Run is at."""
    if run.needs_somebody:
        return "waiting for a person"
    if run.playbook == "bisect" and run.state in (RunState.RUNNING, RunState.PREFLIGHT):
        return "searching"
    if run.playbook in ("shadow", "ramp") and run.state is RunState.VERIFYING:
        return "watching the candidate"
    return {
        RunState.QUEUED: "waiting for its turn",
        RunState.PREFLIGHT: "working out what to do",
        RunState.RUNNING: "preparing its change",
        RunState.VERIFYING: "waiting for checks",
        RunState.COMPENSATING: "being taken back",
    }.get(run.state, str(run.state))


_UNDO_SAID = {
    Reversibility.REVERSIBLE: "Can be undone",
    Reversibility.COMPENSATABLE: "Can be made good",
    Reversibility.IRREVERSIBLE: "Cannot be undone",
}


def undo_said(reversibility: Reversibility) -> str:
    """How far a step can be taken back."""
    return _UNDO_SAID[reversibility]


def stage_of(run: StoredRun) -> int:
    """How many of the stages of `STAGES` lie behind a Run."""
    return _STAGE_OF.get(run.state, len(STAGES) - 1)


def can_retry(incident: Incident, newest: StoredRun | None) -> bool:
    """Whether `/retry` would do something."""
    is_done = newest is None or newest.state is RunState.SUCCEEDED
    return incident.is_open and not is_done


def action_said(entry: AuditEntry) -> str:
    """An audit entry's action in words."""
    known = _SAID.get(entry.action)
    return known or entry.action.replace(".", " ").replace("_", " ")


_ABOUT = (
    "pull_request", "pull_requests", "issue", "capability", "budget", "check", "path", "step",
    "commit",
)  # fmt: skip


def about(entry: AuditEntry) -> str:
    """What an audit entry is about, such as `pull request 4`; nothing where it does not say."""
    name, value = next(((n, v) for n in _ABOUT if (v := entry.refs.get(n))), ("", None))
    if isinstance(value, list) and len(value) == 1:
        name = name.removesuffix("s")
    return f"{name.replace('_', ' ')} {ref_said(value)}" if name else ""


def ref_said(value: object) -> str:
    """What an audit entry refers to, as people write it: commits in twelve digits."""
    if isinstance(value, list | tuple):
        return ", ".join(ref_said(each) for each in value)
    text = str(value)
    return text[:12] if SHA.fullmatch(text) else text


@dataclass(frozen=True)
class ChainSaid:
    """A verdict on an audit chain, for people. `is_bad`: somebody has to look, now."""

    text: str
    is_bad: bool = False


def chain_said(verdict: Verdict) -> ChainSaid:
    """Say what was found about a chain."""
    match verdict:
        case Intact():
            said = (
                f"intact: {verdict.entries:,} entries, anchored in git up to {verdict.anchored:,}"
            )
            return ChainSaid("; ".join([said, *map(str, verdict.restored)]))
        case CannotCheck():
            return ChainSaid(
                "unbroken; no signed copy lies in git yet, so a cut-off end would not show"
            )
        case Altered() | Truncated() | Older():
            return ChainSaid(f"{verdict}", is_bad=True)
