"""What one repository refuses, as GitHub would: the switches, and how each is used.

All of them may be thrown at any moment. `refuse` lasts until `accept`, or `times` requests.

Conversations, issues, plan, release (each holds for everybody)::

    await alice.put(f"issues/{number}/lock")          # Apps neither comment, edit nor react there
    repository.has_issues = False                     # 410 for issues; pull requests go on
    repository.refusals.refuse("issue_list", 410, everybody=True)  # their list too (older GHES)
    repository.private, repository.plan = True, "free"  # no rules or protection (403), no drafts
    repository.private, repository.plan = True, "pro"   # only no drafts (422)
    repository.ghes = (3, 10)      # no rulesets, no activity (404)
    repository.ghes = (3, 19)      # no `return_run_details` (422)

Branches::

    ruleset = github.restrict_refs(repository, "hotfix/**", "playbooks/**")  # 422, with the rule
    github.restrict_refs(repository, "hotfix/**", bypass=[app])              # … but not for `app`
    github.restrict_refs(repository, "hotfix/**", rules=["deletion"])        # … only this
    repository.rulesets.pop(ruleset.id)                                      # no more
    repository.refusals.silent_rules = True   # "Reference update failed", and nothing about rules
    github.commit(repository, {"a": "1"}, "In the way", branch="hotfix")     # no hotfix/… any more

One refusal at a time, of what an App asks (`everybody=True`: of people too)::

    repository.refusals.refuse("comment")             # 403, from now on
    repository.refusals.refuse("comment", 404)        # as if it were not there
    repository.refusals.refuse("reaction", times=1)   # once
    repository.refusals.refuse("branch", about="playbooks/*")   # only such names
    repository.refusals.refuse("check_run", about="Incident*")  # only checks so named
    repository.refusals.refuse("comment", about="7")            # only on #7
    repository.refusals.refuse("merge", times=2)      # 405 "Base branch was modified …", twice
    repository.refusals.accept("comment")             # no more; without a kind: nothing any more

Any of this from the merge on, before the merger is answered::

    github.upon_merge(repository, lambda: repository.refusals.refuse("comment"))

What is refused for lack of a right (an assignee without access, a tree that is a commit) needs no
switch. A check that one suite cancelled and a newer one passed: `github.report_check`, twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

Kind = Literal[
    "comment", "comment_edit", "comment_deletion", "reaction", "reaction_removal",
    "issue", "issue_list", "description", "state", "label", "assignee",
    "check_run", "check_run_update", "status", "deployment",
    "branch", "branch_update", "branch_deletion", "tree", "commit", "file",
    "pull_request", "base", "review", "reviewer", "merge", "update_branch",
    "auto_merge", "queue", "ready", "draft", "hide", "dispatch", "rerun",
]  # fmt: skip
"""What can be refused, each a thing one asks GitHub to do.

`description` is the title or body of an issue or pull request, `state` its closing and reopening,
`label` also a new label of the repository, `base` another base of a pull request, `hide` the
folding away of a comment, `file` a one-file commit.
"""

KINDS: tuple[Kind, ...] = get_args(Kind)

Status = Literal[403, 404, 405, 409, 410, 422]

_TROUBLE = "https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api"
_WORDS: dict[int, tuple[str, str]] = {
    # Without the right; also what GitHub says to an App that is refused for another reason.
    403: ("Resource not accessible by integration", f"{_TROUBLE}#resource-not-accessible"),
    # "… we may return 404 instead of 403 to avoid confirming the existence".
    404: ("Not Found", f"{_TROUBLE}#404-not-found-for-an-existing-resource"),
    405: (
        "Base branch was modified. Review and try the merge again.",
        "https://docs.github.com/rest/pulls/pulls#merge-a-pull-request",
    ),
    409: ("Conflict", "https://docs.github.com/rest/git/refs"),
    410: (
        "Issues has been disabled in this repository.",
        "https://docs.github.com/rest/issues/issues#create-an-issue",
    ),
    422: ("Validation Failed", f"{_TROUBLE}#validation-failed"),
}


@dataclass(eq=False)
class Refusal:
    """One thing that is refused; `refused` counts how often it was."""

    kind: Kind
    status: Status
    message: str
    docs: str
    times: int | None = None
    everybody: bool = False
    about: str = "*"
    refused: int = 0

    def holds(self, kind: Kind, about: str, *, by_app: bool) -> bool:
        """Tell whether it is about such a request, and not used up."""
        if self.times is not None and self.refused >= self.times:
            return False
        concerned = self.everybody or by_app
        return kind == self.kind and concerned and fnmatchcase(about, self.about)


@dataclass(eq=False)
class Refusals:
    """What one repository refuses besides what its settings and rules do.

    Attributes:
        standing: the refusals in force, and those used up.
        silent_rules: a ruleset's refusal of a new branch is not explained: REST then answers
            "Reference update failed", as it does for a name that is in the way.
            https://docs.github.com/rest/git/refs#create-a-reference
    """

    standing: list[Refusal] = field(default_factory=list)
    silent_rules: bool = False

    def refuse(
        self,
        kind: Kind,
        status: Status | None = None,
        *,
        message: str | None = None,
        times: int | None = None,
        everybody: bool = False,
        about: str = "*",
    ) -> Refusal:
        """Refuse this kind of request from now on, or `times` times.

        Args:
            kind: what is refused.
            status: how; else 405 for a merge, 403 for the rest.
            message: GitHub's words; else those that go with the status.
            times: how often; None: until `accept`.
            everybody: people too, not only Apps.
            about: a pattern for what it is about: the number of an issue or pull request, the id
                of an edited comment, the name of a branch, tag, check, label or path.

        Raises:
            ValueError: 405 for anything but a merge: GitHub answers it nowhere else.
        """
        chosen: Status = status or (405 if kind == "merge" else 403)
        if chosen == 405 and kind != "merge":
            raise ValueError(f"GitHub does not answer 405 to what is a {kind}.")
        words, docs = _WORDS[chosen]
        refusal = Refusal(kind, chosen, message or words, docs, times, everybody, about)
        self.standing.append(refusal)
        return refusal

    def accept(self, *kinds: Kind) -> None:
        """Refuse these kinds no longer; without any: nothing."""
        self.standing = [each for each in self.standing if kinds and each.kind not in kinds]

    def meet(self, kind: Kind, about: str, *, by_app: bool) -> Refusal | None:
        """The refusal that such a request meets, counted; None: it is not refused."""
        met = next((r for r in self.standing if r.holds(kind, about, by_app=by_app)), None)
        if met is not None:
            met.refused += 1
        return met
