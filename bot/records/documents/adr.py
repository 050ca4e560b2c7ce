"""Architecture decision records, and how their outcome is amended.

The decision's text never changes afterwards. Only its front matter and one dated line under
Confirmation tell what came of it.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Literal

import yaml

from bot.markdown import code, link, text
from bot.records.audit.anchors import Anchor
from bot.records.documents.artifacts import DecisionOutcome, TimelineEvent, canonical_bytes
from bot.records.lifecycle import IncidentStatus
from bot.triggers import Value

Decided = Literal["accepted", "rejected"]


class Option(Value):
    """A way out that was considered, with what speaks for and against it."""

    name: str
    good: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()


DO_NOTHING = Option(
    name="Do nothing",
    good=("nothing further is changed on the branch.",),
    bad=("the branch stays broken for everyone until someone acts.",),
)
FORWARD_FIX = Option(
    name="Forward fix",
    good=("the work that broke it stays in.",),
    bad=("nobody knows how long finding and reviewing a fix takes.",),
)


class Pointer(Value):
    """A thing to look at; without an address it is shown as code (a path, a hash)."""

    label: str
    value: str
    url: str | None = None


class AdrFacts(Value):
    """Everything an ADR says. Plain text throughout: rendering escapes it."""

    incident_id: str
    title: str
    date: date
    decision_makers: tuple[str, ...]
    problem: tuple[str, ...]
    drivers: tuple[str, ...]
    options: tuple[Option, ...]
    chosen: str
    because: str
    consequences: Option
    confirmation: str
    more: tuple[Pointer, ...] = ()
    seed: str | None = None
    audit: Anchor | None = None


def adr_path(directory: str, incident_id: str, title: str, on: date) -> str:
    """Name the ADR's file: date and incident id instead of a number, which branches share.

    Args:
        directory: `adr.directory` of the configuration, from the repository's root.
        incident_id: lower-case letters and digits.
        title: any text; up to 50 letters and digits of it end the name.
        on: the day of the incident, which begins the name.

    Raises:
        ValueError: the directory leaves the repository, or the id is not one of ours.
    """
    if not re.fullmatch(r"[0-9a-z]+", incident_id):
        raise ValueError(f"{incident_id!r} is not an incident id")
    folder = PurePosixPath(directory)
    if folder.is_absolute() or ".." in folder.parts:
        raise ValueError(f"the ADR directory must be inside the repository, not {directory!r}")
    return str(folder / f"{on:%Y%m%d}-{incident_id}-{_slug(title)}.md")


def render(facts: AdrFacts) -> str:
    """Write a new ADR, proposed and with its outcome pending.

    "Do nothing" and "forward fix" are always among the options.
    """
    options = _with_defaults(facts.options)
    return "\n".join(
        [
            "---",
            'status: "proposed"',
            f"date: {facts.date.isoformat()}",
            f"decision-makers: {_yaml(facts.decision_makers)}",
            f'outcome: "{DecisionOutcome.PENDING}"',
            "outcome-date: null",
            "---",
            "",
            f"# {text(facts.title, limit=120)}",
            "",
            "## Context and Problem Statement",
            "",
            *(line for paragraph in facts.problem for line in (text(paragraph), "")),
            "## Decision Drivers",
            "",
            *(f"* {text(driver)}" for driver in facts.drivers),
            "",
            "## Considered Options",
            "",
            *(f"* {text(option.name)}" for option in options),
            "",
            "## Decision Outcome",
            "",
            f"Chosen option: “{text(facts.chosen)}”, because {text(facts.because)}",
            "",
            "### Consequences",
            "",
            *_arguments(facts.consequences),
            "",
            "### Confirmation",
            "",
            text(facts.confirmation),
            "",
            "## Pros and Cons of the Options",
            "",
            *(line for option in options for line in _weighed(option)),
            "## More Information",
            "",
            *_more(facts),
            "",
        ]
    )


def with_outcome(adr: str, outcome: DecisionOutcome, on: date, line: str) -> str:
    """Note what came of the decision, in the front matter and as a dated Confirmation line.

    Args:
        adr: the whole ADR as `render` wrote it.
        outcome: confirmed or failed.
        on: the day it became known.
        line: what was observed, one sentence of plain text.

    Raises:
        ValueError: the text is not one of our ADRs.
    """
    adr = _with_field(adr, "outcome", json.dumps(str(outcome)))
    adr = _with_field(adr, "outcome-date", on.isoformat())
    return _with_confirmation(adr, f"* {on.isoformat()}: {text(line)}")


def with_status(adr: str, status: Decided, on: date) -> str:
    """Accept or reject a proposed ADR; the decision's text stays.

    Args:
        adr: the whole ADR as `render` wrote it.
        status: accepted or rejected.
        on: the day it was decided; the ADR bears it as its date.

    Raises:
        ValueError: the text is not one of our ADRs.
    """
    return _with_field(_with_field(adr, "status", json.dumps(status)), "date", on.isoformat())


def superseded_by(adr: str, other: str, on: date) -> str:
    """Mark an ADR as superseded by the one at path `other`; the decision's text stays.

    Args:
        adr: the whole ADR as `render` wrote it.
        other: the newer one in the repository; only its file's name is written.
        on: the day it was superseded; the ADR bears it as its date.

    Raises:
        ValueError: the text is not one of our ADRs.
    """
    status = json.dumps(f"superseded by {PurePosixPath(other).name}")
    return _with_field(_with_field(adr, "status", status), "date", on.isoformat())


def _yaml(words: tuple[str, ...]) -> str:
    quoted: str = yaml.safe_dump(
        list(words), default_style='"', default_flow_style=True, allow_unicode=True, width=math.inf
    )
    return quoted.strip()


def _with_defaults(options: tuple[Option, ...]) -> tuple[Option, ...]:
    names = {option.name for option in options}
    return options + tuple(o for o in (FORWARD_FIX, DO_NOTHING) if o.name not in names)


def _arguments(option: Option) -> list[str]:
    good = [f"* Good, because {text(reason)}" for reason in option.good]
    return good + [f"* Bad, because {text(reason)}" for reason in option.bad]


def _weighed(option: Option) -> list[str]:
    return [f"### {text(option.name)}", "", *_arguments(option), ""]


def _more(facts: AdrFacts) -> list[str]:
    seed = "nothing was sampled" if facts.seed is None else code(facts.seed)
    lines = [
        f"* Incident: {code(facts.incident_id)}",
        *map(_pointed, facts.more),
        f"* Seed: {seed}",
    ]
    if facts.audit:
        lines.append(f"* Audit head: entry {facts.audit.seq}, {code(facts.audit.head_hash)}")
    return lines


def _pointed(pointer: Pointer) -> str:
    shown = link(pointer.value, pointer.url) if pointer.url else code(pointer.value)
    return f"* {text(pointer.label)}: {shown}"


def _with_field(adr: str, field: str, value: str) -> str:
    front, separator, decision = adr.partition("\n---\n")
    changed, found = re.subn(
        rf"^{re.escape(field)}: .*$", lambda _: f"{field}: {value}", front, count=1, flags=re.M
    )
    if not (separator and found and front.startswith("---\n")):
        raise ValueError(f"this is not an ADR of ours: its front matter has no {field}")
    return changed + separator + decision


def _with_confirmation(adr: str, line: str) -> str:
    start = adr.find("\n### Confirmation\n")
    end = adr.find("\n## ", start)
    if start < 0 or end < 0:
        raise ValueError("this is not an ADR of ours: it has no Confirmation section")
    section = adr[start:end].rstrip("\n")
    if line in section.split("\n"):
        return adr
    gap = "\n" if section.rsplit("\n", 1)[-1].startswith("* ") else "\n\n"
    return f"{adr[:start]}{section}{gap}{line}\n{adr[end:]}"


def _slug(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:50].rstrip("-") or "incident"


_ACCEPTED = re.compile(r'^status: "?accepted"?$', re.MULTILINE)


def outcome_of(adr: str, status: IncidentStatus) -> DecisionOutcome:
    """Say what a person's word makes of a decision: only what was carried out can be confirmed."""
    carried_out = _ACCEPTED.search(adr.partition("\n---\n")[0]) is not None
    good = carried_out and status is IncidentStatus.RESOLVED
    return DecisionOutcome.CONFIRMED if good else DecisionOutcome.FAILED


def amended_adr(adr: str, outcome: DecisionOutcome, said: str, *, at: datetime) -> str:
    """Note the outcome; a decision that was never carried out is rejected.

    Args:
        adr: as it stands; what is empty stays so.
        outcome: what became of the decision.
        said: one plain sentence.
        at: when.
    """
    if not adr:
        return adr
    if outcome is DecisionOutcome.FAILED and not _ACCEPTED.search(adr.partition("\n---\n")[0]):
        adr = with_status(adr, "rejected", at.date())
    return with_outcome(adr, outcome, at.date(), said)


def amended_report(
    report: str, status: IncidentStatus, outcome: DecisionOutcome, said: str, *, at: datetime
) -> str:
    """Note in a JSON report what became of its incident, and when.

    Args:
        report: as it stands; what is empty stays so.
        status: the incident's.
        outcome: what became of the decision.
        said: what happened, for the timeline.
        at: when.
    """
    if not report:
        return report
    facts = json.loads(report)
    happened = TimelineEvent(at=at, what=said).model_dump(mode="json")
    facts |= {
        name: value
        for name, value in (("status", str(status)), ("outcome", str(outcome)))
        if name in facts
    }
    if isinstance(facts.get("timeline"), list):
        facts["timeline"] = [*facts["timeline"], happened]
    return canonical_bytes(facts).decode()
