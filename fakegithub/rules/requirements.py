"""What a branch requires: rulesets and classic protection folded together, and who passes.

https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from fakegithub.git.bare import BareRepository, Signature
from fakegithub.rules import code_owners
from fakegithub.world.model import (
    FakeApp,
    FakeIssue,
    FakePullRequest,
    FakeRepository,
    FakeUser,
    Protection,
    Ruleset,
)
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World

_PASSING = ("success", "neutral", "skipped")


@dataclass
class Requirements:
    """Everything that stands between a change and a branch, for one caller."""

    checks: list[tuple[str, int | None]] = field(default_factory=list)
    strict: bool = False
    reviews: int = 0
    pull_request: bool = False
    dismiss_stale: bool = False
    last_push_approval: bool = False
    code_owners: bool = False
    conversation_resolution: bool = False
    linear: bool = False
    signatures: bool = False
    no_force: bool = False
    no_deletion: bool = False
    no_creation: bool = False
    no_update: bool = False
    methods: set[str] = field(default_factory=lambda: {"merge", "squash", "rebase"})
    queue: dict[str, Any] | None = None


@dataclass(frozen=True)
class Who:
    """Who wants to change a branch."""

    user: FakeUser
    app: FakeApp | None = None


def applies(ruleset: Ruleset, repository: FakeRepository, branch: str) -> bool:
    """Tell whether a ruleset speaks about a branch."""
    if ruleset.target != "branch":
        return False

    def matches(pattern: str) -> bool:
        if pattern == "~ALL":
            return True
        if pattern == "~DEFAULT_BRANCH":
            return branch == repository.default_branch
        return fnmatchcase(f"refs/heads/{branch}", pattern)

    return any(map(matches, ruleset.include)) and not any(map(matches, ruleset.exclude))


def active_rules(
    repository: FakeRepository, branch: str
) -> Iterator[tuple[Ruleset, dict[str, Any]]]:
    """Every enforced rule for a branch, with the ruleset it comes from."""
    if not repository.has_rules:
        return
    for ruleset in repository.rulesets.values():
        if ruleset.enforcement == "active" and applies(ruleset, repository, branch):
            for rule in ruleset.rules:
                yield ruleset, rule


def protection_of(repository: FakeRepository, branch: str) -> Protection | None:
    """Classic protection of a branch (patterns such as `release/*` too)."""
    if not repository.has_rules:
        return None
    exact = repository.protections.get(branch)
    if exact is not None:
        return exact
    matching = (p for name, p in repository.protections.items() if fnmatchcase(branch, name))
    return next(matching, None)


def is_protected(repository: FakeRepository, branch: str) -> bool:
    """Tell whether anything protects the branch."""
    return protection_of(repository, branch) is not None or any(active_rules(repository, branch))


def bypasses(ruleset: Ruleset, repository: FakeRepository, who: Who) -> bool:
    """Tell whether a caller is on the ruleset's bypass list."""
    for actor in ruleset.bypass_actors:
        kind, identity = actor.get("actor_type"), actor.get("actor_id")
        if kind == "Integration" and who.app is not None and identity == who.app.id:
            return True
        # 5 is GitHub's id of the repository role "admin".
        admin = who.app is None and repository.role_of(who.user) is RoleName.ADMIN
        if kind == "RoleName" and identity == 5 and admin:
            return True
    return False


def of(repository: FakeRepository, branch: str, who: Who | None = None) -> Requirements:
    """What `branch` requires of `who` (None: of anyone without a bypass)."""
    needs = of_rulesets(repository, branch, who)
    protection = protection_of(repository, branch)
    if protection is not None:
        _classic(needs, protection, repository, who)
    return needs


def of_rulesets(repository: FakeRepository, branch: str, who: Who | None = None) -> Requirements:
    """What rulesets alone require."""
    needs = Requirements()
    for ruleset, rule in active_rules(repository, branch):
        if who is None or not bypasses(ruleset, repository, who):
            _rule(needs, rule["type"], rule.get("parameters") or {})
    return needs


def _classic(
    needs: Requirements, protection: Protection, repository: FakeRepository, who: Who | None
) -> None:
    admin = who is not None and who.app is None and repository.role_of(who.user) is RoleName.ADMIN
    needs.no_force |= not protection.allow_force_pushes
    needs.no_deletion |= not protection.allow_deletions
    if admin and not protection.enforce_admins:
        return
    needs.checks += protection.checks or []
    needs.strict |= protection.strict and protection.checks is not None
    if protection.reviews is not None:
        needs.pull_request = True
        needs.reviews = max(needs.reviews, protection.reviews)
        needs.dismiss_stale |= protection.dismiss_stale_reviews
        needs.last_push_approval |= protection.require_last_push_approval
        needs.code_owners |= protection.code_owner_reviews
    needs.linear |= protection.linear_history
    needs.signatures |= protection.signatures
    needs.conversation_resolution |= protection.conversation_resolution
    needs.no_update |= protection.lock_branch
    if protection.push_users is not None or protection.push_apps is not None:
        allowed = who is not None and (
            who.app.slug in (protection.push_apps or [])
            if who.app is not None
            else who.user.login in (protection.push_users or [])
        )
        needs.no_update |= who is not None and not allowed


def _rule(needs: Requirements, kind: str, given: dict[str, Any]) -> None:
    if kind == "required_status_checks":
        listed = given.get("required_status_checks", [])
        needs.checks += [(check["context"], check.get("integration_id")) for check in listed]
        needs.strict |= bool(given.get("strict_required_status_checks_policy"))
    elif kind == "pull_request":
        needs.pull_request = True
        needs.reviews = max(needs.reviews, given.get("required_approving_review_count", 0))
        needs.dismiss_stale |= bool(given.get("dismiss_stale_reviews_on_push"))
        needs.last_push_approval |= bool(given.get("require_last_push_approval"))
        needs.code_owners |= bool(given.get("require_code_owner_review"))
        needs.conversation_resolution |= bool(given.get("required_review_thread_resolution"))
        needs.methods &= set(given.get("allowed_merge_methods") or needs.methods)
    elif kind == "merge_queue":
        needs.queue = given
    else:
        flags = {
            "required_linear_history": "linear", "required_signatures": "signatures",
            "non_fast_forward": "no_force", "deletion": "no_deletion",
            "creation": "no_creation", "update": "no_update",
        }  # fmt: skip
        if kind in flags:
            setattr(needs, flags[kind], True)


# Checks and reviews


def check_state(
    world: World, repository: FakeRepository, sha: str, context: str, app_id: int | None
) -> str:
    """`passed`, `failed`, `pending`, or `expected` when nothing reported yet."""
    for run in world.check_runs(repository, sha):
        if run.name == context and app_id in (None, -1, run.app.id):
            if run.status != "completed":
                return "pending"
            return "passed" if run.conclusion in _PASSING else "failed"
    for status in reversed(repository.statuses):
        if status.sha == sha and status.context == context:
            app = world.apps.get(app_id) if app_id not in (None, -1) else None
            if app is None or status.creator is app.bot:
                words = {"success": "passed", "pending": "pending"}
                return words.get(status.state, "failed")
    return "expected"


def missing_checks(
    world: World, repository: FakeRepository, sha: str, needs: Requirements
) -> list[tuple[str, str]]:
    """Required checks that have not passed on `sha`, each with its state."""
    states = [(name, check_state(world, repository, sha, name, app)) for name, app in needs.checks]
    return [(name, state) for name, state in states if state != "passed"]


def approvals(
    repository: FakeRepository, issue: FakeIssue, needs: Requirements
) -> tuple[list[str], bool]:
    """Whose approvals count, and whether someone with write access asks for changes."""
    latest: dict[str, tuple[str, str]] = {}
    for review in issue.pull.reviews if issue.pull else []:
        able = repository.role_of(review.user).at_least(RoleName.WRITE)
        decisive = review.state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED")
        if able and decisive:
            latest[review.user.login] = (review.state, review.commit_id)
    pusher = repository.push_log.get(issue.pull.head_sha) if issue.pull else None
    counted = [
        login
        for login, (state, _) in latest.items()
        if state == "APPROVED"
        and not (needs.last_push_approval and pusher is not None and pusher.login == login)
    ]
    return counted, any(state == "CHANGES_REQUESTED" for state, _ in latest.values())


def obstacles(
    world: World, repository: FakeRepository, issue: FakeIssue, needs: Requirements
) -> list[str]:
    """Why the rules do not let this pull request be merged yet, in GitHub's words."""
    pull = issue.pull
    if pull is None:
        return []
    found = []
    if needs.no_update:
        found.append("You're not authorized to push to this branch.")
    counted, changes_wanted = approvals(repository, issue, needs)
    if needs.reviews and changes_wanted:
        found.append("Changes were requested by a reviewer with write access.")
    if len(counted) < needs.reviews:
        few = "review is" if needs.reviews == 1 else "reviews are"
        found.append(
            f"At least {needs.reviews} approving {few} required by reviewers with write access."
        )
    if needs.code_owners and (owners := code_owners.awaited(repository, pull, counted)):
        found.append(code_owners.said(owners))
    for name, state in missing_checks(world, repository, pull.head_sha, needs):
        words = {"failed": "is failing", "pending": "is in progress"}
        found.append(f'Required status check "{name}" {words.get(state, "is expected")}.')
    tip = repository.git.branch(pull.base_ref)
    if needs.strict and tip and not repository.git.is_ancestor(tip, pull.head_sha):
        found.append("The head branch is not up to date with the base branch.")
    return found


# Mergeability


def known_mergeable(repository: FakeRepository, issue: FakeIssue) -> bool | None:
    """Whether git can merge it, if that was computed for the present head and base."""
    pull = issue.pull
    if pull is None or pull.merged_at is not None:
        return None
    key = (pull.head_sha, repository.git.branch(pull.base_ref) or "")
    return pull.mergeable if pull.mergeable_for == key else None


def compute_mergeable(repository: FakeRepository, pull: FakePullRequest) -> bool:
    """Try the merge; an open pull request's `merge_commit_sha` is this test merge.

    It is tried some time after somebody asked: by then the pull request may have been merged, and
    is what it is.
    """
    if pull.merged_at is not None:
        return False
    tip = repository.git.branch(pull.base_ref) or ""
    if pull.mergeable_for != (pull.head_sha, tip) or pull.mergeable is None:
        git = repository.git
        tree = git.merge_trees(tip, pull.head_sha) if tip else None
        pull.mergeable, pull.mergeable_for = tree is not None, (pull.head_sha, tip)
        pull.merge_commit_sha, pull.rebaseable = None, False
        if tree is not None:
            head = git.commit(pull.head_sha)
            author, pull.rebaseable = head.author, True
            if len(head.parents) > 1:
                shas = git.rev_list("--reverse", "--topo-order", head.sha, f"^{tip}")
                pull.rebaseable = rebased(git, shas, tip, author) is not None
            message = f"Merge {pull.head_sha} into {tip}"
            pull.merge_commit_sha = git.write_commit(tree, (tip, pull.head_sha), message, author)
    return pull.mergeable


def rebased(git: BareRepository, shas: list[str], onto: str, committer: Signature) -> str | None:
    """Replay commits, oldest first; None where that conflicts or differs from a merge of the last.

    Source: "About pull request merges", when GitHub cannot rebase and merge automatically.
    """
    commits, head = git.commits(shas), onto
    for commit in commits:
        if len(commit.parents) > 1:
            continue
        tree = git.cherry_pick_tree(commit.sha, head)
        if tree is None:
            return None
        if tree != git.commit(head).tree:
            head = git.write_commit(tree, [head], commit.message, commit.author, committer)
    if all(len(commit.parents) < 2 for commit in commits):
        return head
    return head if git.merge_trees(onto, shas[-1]) == git.commit(head).tree else None


def mergeable_state(world: World, repository: FakeRepository, issue: FakeIssue) -> str:
    """GitHub's one-word summary: clean, dirty, blocked, behind, unstable, draft, unknown."""
    pull, mergeable = issue.pull, known_mergeable(repository, issue)
    if pull is None or mergeable is None:
        return "unknown"
    if not mergeable:
        return "dirty"
    if pull.draft:
        return "draft"
    needs = of(repository, pull.base_ref)
    blocked = obstacles(world, repository, issue, needs)
    if blocked == ["The head branch is not up to date with the base branch."]:
        return "behind"
    if blocked:
        return "blocked"
    runs = world.check_runs(repository, pull.head_sha)
    unhappy = any(run.conclusion not in _PASSING for run in runs)
    return "unstable" if unhappy else "clean"
