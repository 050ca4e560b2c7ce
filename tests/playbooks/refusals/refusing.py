"""What a repository refuses beside the recovery itself, one kind at a time, and what then holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import pytest

from bot.records import incidents, runs
from bot.records.audit import chain
from bot.records.audit.chain import AuditEntry
from bot.records.lifecycle import RunState
from bot.records.runs import StoredRun
from fakegithub.world.refusals import Kind
from tests.shop import Shop

Refuse = Callable[[Shop, int], object]


@dataclass(frozen=True)
class Refusal:
    """One thing that is refused from now on.

    Attributes:
        name: for the test's name.
        begin: begins it, for the pull request with this number.
        later: whether it can also begin right after the merge: what is switched by a setting in
            the middle of a request cannot.
        untold: what the audit says of it at the end of every Run that met it, in part; empty where
            a Run need not meet it.
    """

    name: str
    begin: Refuse
    later: bool = True
    untold: str = ""


def _of(kind: str, *, status: int | None = None, about: str = "*") -> Refuse:
    def begin(shop: Shop, _: int) -> None:
        shop.repository.refusals.refuse(kind, status, about=about)  # type: ignore[arg-type]

    return begin


def _lock(shop: Shop, number: int) -> None:
    shop.repository.issues[number].locked = True


def _no_issues(shop: Shop, _: int) -> None:
    shop.repository.has_issues = False


def _no_issue_list(shop: Shop, _: int) -> None:
    shop.repository.has_issues = False
    shop.repository.refusals.refuse("issue_list", 410, everybody=True)


def _free_plan(shop: Shop, _: int) -> None:
    shop.repository.private, shop.repository.plan = True, "free"


def _old_server(shop: Shop, _: int) -> None:
    shop.repository.ghes = (3, 10)


def _no_deletion(shop: Shop, _: int) -> None:
    shop.github.restrict_refs(shop.repository, "hotfix/**", "fix/**", rules=["deletion"])


def _no_records(shop: Shop, _: int) -> None:
    shop.github.restrict_refs(shop.repository, "playbooks/**")


def _hidden(shop: Shop, _: int) -> None:
    # What an App may not do at all, GitHub denies the existence of.
    for kind in TELLING:
        shop.repository.refusals.refuse(kind, 404)


TELLING: tuple[Kind, ...] = (
    "comment", "comment_edit", "reaction", "issue", "label", "assignee", "state", "description",
    "check_run", "check_run_update", "branch_deletion",
)  # fmt: skip

REFUSALS: tuple[Refusal, ...] = (
    Refusal("a locked conversation", _lock, untold="the conversation is locked"),
    Refusal("issues switched off", _no_issues, untold="issues are switched off in this repository"),
    Refusal(
        "issues and their list switched off", _no_issue_list,
        untold="issues are switched off in this repository",
    ),
    Refusal("the free plan", _free_plan, later=False),
    Refusal("an old server", _old_server, later=False),
    Refusal("comments", _of("comment")),
    Refusal("comments, as if they were not there", _of("comment", status=404)),
    Refusal("all that tells, as if it were not there", _hidden),
    Refusal("edits of comments", _of("comment_edit")),
    Refusal("reactions", _of("reaction")),
    Refusal("issues", _of("issue")),
    Refusal("labels", _of("label")),
    Refusal("assignees", _of("assignee")),
    Refusal("closing and opening", _of("state")),
    Refusal("edits of descriptions", _of("description")),
    Refusal("check-runs", _of("check_run")),
    Refusal("edits of check-runs", _of("check_run_update")),
    Refusal("deletion of branches", _of("branch_deletion")),
    Refusal("deletion of hotfix branches", _no_deletion, untold="`: a ruleset forbids it"),
    Refusal(
        "the records branch", _no_records,
        untold="write to `playbooks/records`: a ruleset forbids it",
    ),
    Refusal("writing to the records branch", _of("branch_update", about="playbooks/*")),
)  # fmt: skip

FORBIDDEN = ("failed", "could not", "did not work")
"""What is never said of something that was merged."""

SAMPLE = {
    ("a locked conversation", "before"),
    ("issues switched off", "before"),
    ("all that tells, as if it were not there", "after"),
    ("assignees", "before"),
    ("check-runs", "before"),
    ("comments", "after"),
    ("deletion of hotfix branches", "after"),
}
"""What every test run tries of a playbook that is not tried whole."""

Cell = tuple[Refusal, str]


def choose(metafunc: pytest.Metafunc, sample: Collection[tuple[str, str]]) -> None:
    """Parametrize by `refusal` and `when`; what is not tried is not collected.

    Args:
        metafunc: the test.
        sample: what every test run tries, by name; `make chaos` tries all.
    """
    is_full = metafunc.config.getoption("--chaos") == "full"
    cells: list[Cell] = [
        (refusal, when)
        for refusal in REFUSALS
        for when in ("before", "after")
        if when == "before" or refusal.later
    ]
    chosen = [
        pytest.param(refusal, when, id=f"{refusal.name}, {when}")
        for refusal, when in cells
        if is_full or (refusal.name, when) in sample
    ]
    metafunc.parametrize(("refusal", "when"), chosen)


def begin(refusal: Refusal, when: str, shop: Shop, number: int) -> None:
    """Refuse from now on, or from the next merge on; for the pull request with this number."""
    if when == "before":
        refusal.begin(shop, number)
    else:
        shop.github.upon_merge(shop.repository, lambda: refusal.begin(shop, number))


async def runs_of(shop: Shop, playbook: str) -> list[StoredRun]:
    """Every Run of a playbook."""
    async with shop.bot.read_only.connect() as conn:
        found = await incidents.list_recent(conn, shop.repository.id)
        of = [run for each in found for run in await runs.of_incident(conn, each.id)]
        of += await runs.without_incident(conn, shop.repository.id)
    return [run for run in of if run.playbook == playbook]


async def ended_well(
    shop: Shop,
    playbook: str,
    *,
    untold: str,
    never: Sequence[str] = FORBIDDEN,
    others: Collection[Kind] = (),
) -> None:
    """Wait for the only Run of a playbook; it succeeded, and nothing says otherwise.

    What was refused to it, and is told at the end at all, is told in the audit.

    Args:
        shop: whose.
        playbook: which.
        untold: what the audit says of it that was not done, in part.
        never: what no text says.
        others: what only others than this Run ask for.
    """

    async def is_over() -> bool:
        found = await runs_of(shop, playbook)
        return bool(found) and not any(run.is_live for run in found)

    await shop.eventually(is_over)
    [run] = await runs_of(shop, playbook)
    assert run.state is RunState.SUCCEEDED, run.reason
    async with shop.bot.read_only.connect() as conn:
        known = await incidents.list_recent(conn, shop.repository.id)
        entries = await chain.read(conn, shop.repository.id)
    assert [each.status for each in known if each.kind == playbook] == ["resolved"]
    for text in _texts(shop):
        assert not [words for words in never if words in text.lower()], text
    finished = [
        entry
        for entry in entries
        if isinstance(entry, AuditEntry) and entry.action == "run.finished"
    ]
    if _met(shop, others):
        assert any("not_done" in entry.refs for entry in finished), "the audit does not tell"
    [last] = [entry.refs.get("not_done") for entry in finished if entry.run == run.id]
    assert untold in str(last), f"the audit tells {last}"
    await shop.alone()


def _met(shop: Shop, others: Collection[Kind]) -> bool:
    """Whether something was refused that is told at the end, which a last reaction is not."""
    left_out = {"reaction", "issue_list", "check_run_update", "state", *others}
    standing = shop.repository.refusals.standing
    return any(each.refused for each in standing if each.kind not in left_out)


def _texts(shop: Shop) -> list[str]:
    """All that the bot has said by now, wherever."""
    said: list[str] = []
    for issue in shop.repository.issues.values():
        said += [each.body for each in issue.comments if each.app is not None]
        if issue.app is not None:
            said += [issue.title, issue.body or ""]
    for check in shop.repository.check_runs.values():
        if check.app.slug == "playbooks":
            said += [str(check.output.get("title")), str(check.output.get("summary"))]
    return said
