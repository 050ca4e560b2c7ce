"""ADRs: MADR 4.0.0, whose decision never changes and whose words cannot become structure."""

from __future__ import annotations

import re
from datetime import date

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from syrupy.assertion import SnapshotAssertion

from bot.records.documents.adr import (
    AdrFacts,
    Option,
    Pointer,
    adr_path,
    render,
    superseded_by,
    with_outcome,
    with_status,
)
from bot.records.documents.artifacts import DecisionOutcome

DAY, NEXT_DAY = date(2026, 3, 1), date(2026, 3, 2)
FACTS = AdrFacts(
    incident_id="01kjx0000000000000000000aa",
    title="Revert #7: Add a cache to login",
    date=DAY,
    decision_makers=("alice",),
    problem=("Login answers 500.", "Reported by alice on #7."),
    drivers=("main must work for everyone.", "Prefer what can be undone."),
    options=(Option(name="Revert #7", good=("it is quick.",), bad=("the cache is gone.",)),),
    chosen="Revert #7",
    because="it brings main back at once and can itself be reverted.",
    consequences=Option(name="", good=("main is safe.",), bad=("the cache must land again.",)),
    confirmation="Smoke and evals of the hotfix are green, and it is merged.",
    more=(
        Pointer(label="Artifact", value="incidents/revert-01kjx.json"),
        Pointer(label="Incident issue", value="#8", url="https://github.example/o/r/issues/8"),
    ),
)


def front_matter(adr: str) -> dict[str, object]:
    front = yaml.safe_load(adr.split("---\n")[1])
    assert isinstance(front, dict)
    return front


def headings(adr: str) -> list[str]:
    tokens = MarkdownIt().parse(adr.split("---\n", 2)[2])
    return [
        f"{token.tag} {tokens[place + 1].content}"
        for place, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


def decision(adr: str) -> str:
    """Everything that must never change: all but the front matter and the dated lines."""
    body = adr.split("---\n", 2)[2]
    return re.sub(r"\n+", "\n", re.sub(r"^\* \d{4}-\d\d-\d\d: .*$", "", body, flags=re.M))


def test_a_new_adr_reads_like_this(snapshot: SnapshotAssertion) -> None:
    assert render(FACTS) == snapshot


def test_an_adr_has_the_sections_of_madr_4() -> None:
    assert [line for line in headings(render(FACTS)) if not line.startswith("h1")] == [
        "h2 Context and Problem Statement",
        "h2 Decision Drivers",
        "h2 Considered Options",
        "h2 Decision Outcome",
        "h3 Consequences",
        "h3 Confirmation",
        "h2 Pros and Cons of the Options",
        "h3 Revert #&#8203;7",
        "h3 Forward fix",
        "h3 Do nothing",
        "h2 More Information",
    ]


def test_a_new_adr_is_proposed_and_its_outcome_pending() -> None:
    assert front_matter(render(FACTS)) == {
        "status": "proposed",
        "date": DAY,
        "decision-makers": ["alice"],
        "outcome": "pending",
        "outcome-date": None,
    }


def test_the_outcome_is_noted_and_the_decision_stays() -> None:
    adr = render(FACTS)
    done = with_outcome(
        adr, DecisionOutcome.CONFIRMED, NEXT_DAY, "Merged as abc; 3 of 3 checks green."
    )
    assert front_matter(done)["outcome"] == "confirmed"
    assert front_matter(done)["outcome-date"] == NEXT_DAY
    assert "\n* 2026-03-02: Merged as abc; 3 of 3 checks green.\n" in done
    assert decision(done) == decision(adr)


def test_noting_the_same_outcome_twice_changes_nothing() -> None:
    once = with_outcome(render(FACTS), DecisionOutcome.FAILED, NEXT_DAY, "Still red.")
    assert with_outcome(once, DecisionOutcome.FAILED, NEXT_DAY, "Still red.") == once
    both = with_outcome(once, DecisionOutcome.CONFIRMED, NEXT_DAY, "Green after a retry.")
    assert both.count("* 2026-03-02: ") == 2
    assert decision(both) == decision(once)


@pytest.mark.parametrize("status", ["accepted", "rejected"])
def test_the_status_follows_the_pull_request(status: str) -> None:
    adr = with_status(render(FACTS), status, NEXT_DAY)  # type: ignore[arg-type]
    assert (front_matter(adr)["status"], front_matter(adr)["date"]) == (status, NEXT_DAY)
    assert decision(adr) == decision(render(FACTS))


def test_a_superseded_adr_names_the_one_that_replaces_it() -> None:
    adr = superseded_by(render(FACTS), "docs/decisions/20260302-01b-revert.md", NEXT_DAY)
    assert front_matter(adr)["status"] == "superseded by 20260302-01b-revert.md"


def test_a_file_that_is_no_adr_of_ours_is_left_alone() -> None:
    for text in ("", "# Title\n", "---\ntitle: x\n---\n# x\n"):
        with pytest.raises(ValueError, match="not an ADR of ours"):
            with_status(text, "accepted", DAY)


HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(
        [
            "\n---\nstatus: accepted\n---\n",
            "\n## Decision Outcome\n\n### Confirmation\n",
            "x\n===\n",
            "<script>alert(1)</script><!--",
            "```\n",
            "[x](javascript:alert(1)) ![](https://evil.example/p.png)",
            "| a |\n|---|\n",
            "1. one\n- two\n> three",
            '"]\nstatus: "accepted"',
            "@everyone fixes #1",
        ]
    ),
)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_whatever_people_write_the_structure_stays(title: str, reason: str, line: str) -> None:
    adr = render(
        FACTS.model_copy(
            update={
                "title": title,
                "problem": (reason,),
                "decision_makers": (reason,),
                "because": reason,
                "confirmation": reason,
                "more": (Pointer(label=reason, value=title, url=reason),),
            }
        )
    )
    adr = with_outcome(with_status(adr, "accepted", DAY), DecisionOutcome.CONFIRMED, DAY, line)
    front = front_matter(adr)
    assert (front["status"], front["outcome"]) == ("accepted", "confirmed")
    assert front["decision-makers"] == [reason]
    shape = [heading for heading in headings(adr) if not heading.startswith("h1")]
    assert shape == [h for h in headings(render(FACTS)) if not h.startswith("h1")]
    types = {token.type for token in MarkdownIt().enable("table").parse(adr.split("---\n", 2)[2])}
    assert not types & {"html_block", "fence", "code_block", "table_open", "blockquote_open", "hr"}


def test_the_file_is_named_by_date_and_incident() -> None:
    path = adr_path("docs/decisions", "01a", "Revert #7: Ünïcode & <more>!", DAY)
    assert path == "docs/decisions/20260301-01a-revert-7-unicode-more.md"
    assert (
        adr_path("docs/decisions", "01a", "修复", DAY) == "docs/decisions/20260301-01a-incident.md"
    )


@given(st.text())
def test_no_title_leads_out_of_the_directory(title: str) -> None:
    path = adr_path("docs/decisions", "01a", title, DAY)
    assert re.fullmatch(r"docs/decisions/20260301-01a-[a-z0-9-]{1,50}\.md", path)


@pytest.mark.parametrize("directory", ["/etc", "../x"])
def test_an_adr_never_leaves_the_repository(directory: str) -> None:
    with pytest.raises(ValueError, match="inside the repository"):
        adr_path(directory, "01a", "x", DAY)
