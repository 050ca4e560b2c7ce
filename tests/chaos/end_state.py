"""Everything a Run leaves behind, as plain data without what differs from run to run.

Two runs that did the same have equal end states, whatever killed one of them in between.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from difflib import unified_diff
from pathlib import Path
from pprint import pformat
from typing import Any

from bot.playbooks.checks.results import CONFIG_CHECK, GATE_CHECK
from bot.records.audit.verify import Intact, audit_verify
from fakegithub.world.model import FakeComment, FakeIssue, FakeRepository

_NAMED_BY_AN_ID = (
    (re.compile(r"\b[0-9a-hjkmnp-tv-z]{26}\b"), "<id>"),
    (
        re.compile(r"\b(hotfix|fix)/(revert|bisect|rollback)-[0-9a-z-]+-[0-9a-z]{4}\b"),
        r"\1/\2-<id>",
    ),
)
_VARIES = (
    *_NAMED_BY_AN_ID,
    (re.compile(r"[A-Za-z0-9+/]{86}=="), "<signature>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "<sha>"),
    # Before the short SHA: one in 256 short ids reads like one.
    (re.compile(r"(?<=its shadow `)[0-9a-z]{8}\b"), "<short id>"),
    (re.compile(r"\b[0-9a-f]{7,12}\b"), "<short sha>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "<day>"),
    (re.compile(r"\b\d\d:\d\d(:\d\d)?\b"), "<time>"),
    # A seed, a workflow run, how long a trial took.
    (re.compile(r"\b\d{14,20}\b"), "<seed>"),
    (re.compile(r'(?<=actions/runs/)\d+|(?<="workflow_run": ")\d+'), "<run>"),
    (re.compile(r'(?<="seconds": )[\d.]+|(?<=ed \| )[\d.]+(?= \|)'), "<seconds>"),
)


def without_ids(text: str) -> str:
    """The same text for every Run: ids, and the branches that are named by one, as `<id>`."""
    for pattern, name in _NAMED_BY_AN_ID:
        text = pattern.sub(name, text)
    return text


def end_state(repository: FakeRepository, data: Path) -> dict[str, Any]:
    """What GitHub and the bot's database show about one repository."""

    def same(text: str | None) -> str:
        # The zero-width space that keeps GitHub from linking may fall into the middle of a SHA.
        found = (text or "").replace("&#8203;", "").replace(repository.full_name, "<repository>")
        found = re.sub(rf"\b{repository.id}\b", "<repository id>", found)
        for pattern, name in _VARIES:
            found = pattern.sub(name, found)
        # The number of a comment or check-run in an address, or in a report.
        found = re.sub(r'(issuecomment-|"object_id": ")\d+', r"\1<n>", found)
        found = re.sub(r"http://127\.0\.0\.1:\d+", "<github>", found)
        return re.sub(r"\b(org|alice|chaos|work)-\d+", r"\1", found)

    git = repository.git
    heads = git.refs("refs/heads/")
    pulls = {n: issue.pull for n, issue in repository.issues.items() if issue.pull}
    return {
        "issues": {
            number: _issue(issue, same) for number, issue in sorted(repository.issues.items())
        },
        "branches": sorted(same(name) for name in heads),
        "commits": {
            same(name): [same(git.commit(sha).message) for sha in git.rev_list(head)]
            for name, head in heads.items()
        },
        "files": {
            same(name): {
                same(entry.path): same(git.read(entry.sha).decode())
                for entry in git.tree(head, recursive=True)
                if entry.type == "blob"
            }
            for name, head in heads.items()
        },
        "proposed": {
            number: [same(git.commit(sha).message)
                     for sha in git.rev_list(pull.head_sha, f"^{pull.base_sha}")]
            for number, pull in pulls.items()
        },
        "check-runs": sorted(
            (run.name, same(run.external_id), run.status, run.conclusion or "",
             same(run.output.get("title")), same(run.output.get("summary")))
            for run in repository.check_runs.values()
            # Said of whatever is open while the bot looks, beside every Run: which commits those
            # are depends on when it was killed. So it is with a configuration that counts.
            if run.name not in (GATE_CHECK, CONFIG_CHECK)
        ),
        "gates": _most_gates_of_a_commit(repository),
        "records": _records(data, repository.id, same),
    }  # fmt: skip


def _most_gates_of_a_commit(repository: FakeRepository) -> int:
    """One, wherever the process died: what may have been said is looked for first."""
    of = Counter(run.head_sha for run in repository.check_runs.values() if run.name == GATE_CHECK)
    return max(of.values(), default=1)


def _issue(issue: FakeIssue, same: Any) -> dict[str, Any]:
    pull = issue.pull
    return {
        "title": same(issue.title),
        "body": same(issue.body),
        "state": (issue.state, issue.state_reason),
        "labels": sorted(label.name for label in issue.labels),
        "assignees": sorted(same(user.login) for user in issue.assignees),
        "comments": [_comment(comment, same) for comment in issue.comments],
        "events": sorted(event.event for event in issue.events),
        "pull": pull
        and (same(pull.head_ref), pull.base_ref, pull.draft, pull.merged_at is not None),
    }


def _comment(comment: FakeComment, same: Any) -> tuple[str, str, list[str]]:
    reactions = sorted(reaction.content for reaction in comment.reactions)
    return same(comment.user.login), same(comment.body), reactions


def _records(data: Path, repository: int, same: Any) -> dict[str, Any]:
    path = data / "playbooks.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:

        def rows(columns: str, table: str, order: str) -> list[tuple[str, ...]]:
            query = f"SELECT {columns} FROM {table} WHERE repository_id = ? ORDER BY {order}"  # noqa: S608
            found: Iterable[Any] = database.execute(query, (repository,))
            return [tuple(same(str(value)) for value in row) for row in found]

        return {
            "incidents": rows("kind, status, severity, subject", "incidents", "id"),
            "runs": rows("playbook, state, artifact_path, artifact_sha256", "runs", "id"),
            "audit": rows("seq, action, actor, refs, data", "audit_entries", "seq"),
        }


def difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """Where two end states differ, line by line; empty where they do not."""
    texts = [pformat(state, width=200, sort_dicts=True).splitlines() for state in (expected, found)]
    return "\n".join(unified_diff(*texts, "undisturbed", "killed", n=1, lineterm=""))


def marked(state: dict[str, Any], marker: str) -> list[Any]:
    """The comments of all issues that carry a hidden marker."""
    return [
        comment
        for issue in state["issues"].values()
        for comment in issue["comments"]
        if marker in comment[1]
    ]


def assert_one_of_everything(state: dict[str, Any]) -> None:
    """One revert, done once: read this list as the promise."""
    issues = state["issues"].values()
    assert len([each for each in issues if "incident" in each["labels"]]) == 1
    hotfixes = [each for each in issues if each["pull"] and each["pull"][0].startswith("hotfix/")]
    assert [each["pull"] for each in hotfixes] == [("hotfix/revert-<id>", "main", False, True)]
    [number] = [n for n, each in state["issues"].items() if each in hotfixes]
    [commit] = state["proposed"][number]
    assert commit.count("Playbooks-Step: ") == 1
    assert state["branches"] == ["refs/heads/main", "refs/heads/playbooks/records"]
    main = state["files"]["refs/heads/main"]
    kept = state["files"]["refs/heads/playbooks/records"]
    reports = [path for path in main if "/incidents/revert-" in path]
    adrs = [path for path in main if path.startswith("docs/") and path.endswith(".md")]
    assert len(reports) == 1
    assert len(adrs) == 1
    assert kept[reports[0]] == main[reports[0]]
    assert kept[adrs[0]] == main[adrs[0]]
    assert len(kept["audit/anchors.jsonl"].splitlines()) == 1
    assert len(state["commits"]["refs/heads/playbooks/records"]) == 1
    # The first two, the broken one, the hotfix, and the outcome's records.
    assert len(state["commits"]["refs/heads/main"]) == 5
    assert len(marked(state, "status:")) == 1
    assert len(marked(state, "done:")) == 1
    assert len([each for each in state["check-runs"] if each[0] == "hotfix"]) == 1
    assert len(state["records"]["incidents"]) == len(state["records"]["runs"]) == 1
    assert state["records"]["runs"][0][1] == "succeeded"


async def assert_audit_is_intact(repository: FakeRepository, data: Path) -> None:
    """`audit verify`, with the anchors on the repository's records branch."""
    report = await audit_verify(
        f"sqlite:///{data / 'playbooks.db'}", repository.git.path, data / "signing-key.pem.pub"
    )
    verdicts = [c.verdict for c in report.chains if c.repository_id == repository.id]
    assert len(verdicts) == 1, report.lines()
    assert isinstance(verdicts[0], Intact), str(verdicts[0])
