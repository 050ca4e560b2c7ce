"""What a Run left behind, reduced to what two versions of the code must agree on.

Words for people may be others from one version to the next, and so may the names of branches;
what was opened, merged, closed, said (by its hidden marker), recorded and audited may not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fakegithub.world.model import FakeRepository
from tests.chaos.end_state import end_state
from tests.chaos.provider_plays import forget_whose_turn_it_was

_MARKER = re.compile(r"playbooks:([a-z-]+)")
_BRANCH = re.compile(r"\b((?:hot)?fix)[/-](revert|bisect|rollback)-[0-9a-z<> -]+")
_RECORDS = ("docs/", "audit/", "apps/", "self/")
_AS_OFTEN_AS_LOOKED = ("flags.replaced", "check.judged", "run.taken-over")
"""What is said again, or not, as it happens to be looked at."""

Reduced = dict[str, Any]


def reduced(repository: FakeRepository, data: Path, may_be_repeated: Sequence[str] = ()) -> Reduced:
    """The end state, flat: each leaf by its path.

    Args:
        repository: what GitHub has.
        data: the bot's data folder.
        may_be_repeated: markers of what may be said once more or less.
    """
    state = end_state(repository, data)
    forget_whose_turn_it_was(state)
    flat: Reduced = {}
    seen: dict[str, int] = {}
    for number, issue in state["issues"].items():
        kind = "pull request" if issue["pull"] else "issue"
        what = f"{kind} {_plain(issue['title'])}"
        seen[what] = seen.get(what, 0) + 1
        at = f"{what} ({seen[what]})"
        flat[f"{at}, state"] = issue["state"]
        flat[f"{at}, labels"] = issue["labels"]
        flat[f"{at}, assignees"] = issue["assignees"]
        flat[f"{at}, said"] = _said(issue["comments"], may_be_repeated)
        if issue["pull"]:
            head, base, draft, merged = issue["pull"]
            flat[f"{at}, pull"] = (_plain(head), base, draft, merged)
            flat[f"{at}, proposed"] = len(state["proposed"].get(number, ()))
    flat["branches"] = sorted(map(_plain, state["branches"]))
    for name, files in state["files"].items():
        branch = _plain(name)
        flat[f"{branch}, paths"] = sorted(map(_plain, files))
        flat |= {
            f"{branch}, {path}": text
            for path, text in files.items()
            if not path.startswith(_RECORDS)
        }
        flat[f"{branch}, commits"] = len(state["commits"][name])
    flat["check-runs"] = sorted({(run[0], run[2], run[3]) for run in state["check-runs"]})
    flat["gates"] = state["gates"]
    records = state["records"]
    flat["incidents"] = sorted(row[:3] for row in records["incidents"])
    flat["runs"] = sorted(row[:2] for row in records["runs"])
    flat["audit"] = sorted(r[0] for r in records["audit"] if r[0] not in _AS_OFTEN_AS_LOOKED)
    return flat


def differences(found: Reduced, *undisturbed: Reduced) -> list[str]:
    """Where an end is like none of the undisturbed ones, leaf by leaf; empty where all is well."""
    said = []
    for path in sorted({*found, *(p for each in undisturbed for p in each)}):
        allowed = [each.get(path) for each in undisturbed]
        if found.get(path) not in allowed:
            said.append(f"{path}: {found.get(path)!r}, undisturbed {allowed[0]!r}")
    return said


def what_matters(left: Reduced) -> Reduced:
    """What must come of it in the end, though it had to be begun again: files and incidents.

    What was declined is not compared: an attempt that an update ended may be one more, and then
    what is served has changed oftener.
    """
    ends = (", paths", ", commits")
    kept = {
        path: re.sub(r'("generation": )\d+', r"\1<n>", str(found))
        for path, found in left.items()
        if path.startswith("refs/heads/main, ") and not path.endswith(ends)
    }
    return kept | {"incidents": [row for row in left["incidents"] if row[1] != "declined"]}


def _plain(text: str) -> str:
    return _BRANCH.sub(r"\1/\2-<name>", text)


def _said(comments: Sequence[tuple[Any, ...]], may_be_repeated: Sequence[str]) -> list[str]:
    said = []
    for who, body, reactions in comments:
        marker = _MARKER.search(body)
        what = marker[1].strip("-") if marker else "command" if body[:1] == "/" else "words"
        said.append(f"{what} of {who} {' '.join(reactions)}".strip())
    once = {each for each in said if each.startswith(tuple(may_be_repeated))}
    return sorted([*once, *(each for each in said if each not in once)])
