"""May this caller move this branch? Rules that hold for git pushes and for the API alike.

https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets/available-rules-for-rulesets
"""

from __future__ import annotations

from fakegithub.rules import requirements
from fakegithub.rules.requirements import Who
from fakegithub.world.model import FakeRepository
from fakegithub.world.world import World

VIOLATED = "Repository rule violations found"
"""How a ruleset's refusal begins; which rule it is, and a blank line, follow."""

_HEADS = "refs/heads/"


_QUEUE = "refs/heads/gh-readonly-queue/"


_WORKFLOWS = ".github/workflows"


def refusal(
    world: World, repository: FakeRepository, ref: str, after: str | None, caller: Who
) -> str | None:
    """Why `caller` may not point `ref` at `after`, in GitHub's words; None where they may.

    Args:
        world: where it is looked up how the checks on a commit stand.
        repository: the one whose rules count; it has the commits already.
        ref: its full name, such as `refs/heads/main`; tags are free.
        after: full SHA that it is to have; None: it is to be deleted.
        caller: who wants it; rules may make exceptions for them.
    """
    if ref.startswith(("refs/pull/", _QUEUE)):
        return "Cannot update this protected ref."
    if not ref.startswith(_HEADS):
        return None
    branch, before = ref.removeprefix(_HEADS), repository.git.ref(ref)
    if after is None and branch == repository.default_branch:
        return "Cannot delete the default branch."
    rules = requirements.of_rulesets(repository, branch, caller)
    if (reason := _of_rules(rules, before, after)) is not None:
        return f"{VIOLATED}\n\n{reason}\n\n"
    needs = requirements.of(repository, branch, caller)
    if after is None:
        return "Cannot delete this protected branch." if needs.no_deletion else None
    by_rules = _about_the_push(world, repository, rules, before, after)
    if by_rules is not None:
        return f"{VIOLATED}\n\n{by_rules}\n\n"
    return _about_the_push(world, repository, needs, before, after)


def _of_rules(
    rules: requirements.Requirements, before: str | None, after: str | None
) -> str | None:
    """What a ruleset forbids without looking at commits, in the words it has for that."""
    if after is None:
        return "Cannot delete this branch" if rules.no_deletion else None
    if before is None:
        return "Cannot create ref due to creations being restricted." if rules.no_creation else None
    return "Cannot update this protected ref." if rules.no_update else None


def _about_the_push(
    world: World,
    repository: FakeRepository,
    needs: requirements.Requirements,
    before: str | None,
    after: str,
) -> str | None:
    reason = _whatever_it_brings(needs, before)
    if reason is not None or before is None:
        return reason
    return _about_commits(world, repository, needs, before, after)


def refusal_unseen(repository: FakeRepository, ref: str, caller: Who) -> str | None:
    """Like `refusal`, for commits the server has not received yet: they can have no checks."""
    if ref.startswith(("refs/pull/", _QUEUE)):
        return "Cannot update this protected ref."
    if not ref.startswith(_HEADS):
        return None
    before = repository.git.ref(ref)
    needs = requirements.of(repository, ref.removeprefix(_HEADS), caller)
    reason = _whatever_it_brings(needs, before)
    if reason is None and before is not None and needs.checks:
        reason = f'Required status check "{needs.checks[0][0]}" is expected.'
    if reason is None and needs.signatures:
        reason = "Commits must have verified signatures."
    return reason


def _whatever_it_brings(needs: requirements.Requirements, before: str | None) -> str | None:
    if before is None:
        return "Cannot create ref due to creations being restricted." if needs.no_creation else None
    if needs.no_update:
        return "You're not authorized to push to this branch."
    if needs.queue is not None:
        return "Changes must be made through the merge queue."
    if needs.pull_request:
        return "Changes must be made through a pull request."
    return None


def _about_commits(
    world: World,
    repository: FakeRepository,
    needs: requirements.Requirements,
    before: str,
    after: str,
) -> str | None:
    git = repository.git
    if needs.no_force and not git.is_ancestor(before, after):
        return "Cannot force-push to this branch."
    for name, state in requirements.missing_checks(world, repository, after, needs):
        return (
            f'Required status check "{name}" is {"failing" if state == "failed" else "expected"}.'
        )
    if not (needs.linear or needs.signatures):
        return None
    new = git.commits(git.rev_list(after, f"^{before}"))
    if needs.linear and any(len(commit.parents) > 1 for commit in new):
        return "This branch must not contain merge commits."
    if needs.signatures and any(commit.sha not in repository.signed for commit in new):
        return "Commits must have verified signatures."
    return None


def changes_workflows(repository: FakeRepository, after: str) -> bool:
    """Tell whether commits new to the repository change workflow files."""
    git = repository.git
    known = [f"^{sha}" for sha in set(git.refs(_HEADS).values())]
    new = git.commits(git.rev_list(after, *known))
    if any(len(commit.parents) > 1 for commit in new):
        return bool(git.rev_list("-1", after, *known, "--", _WORKFLOWS))
    return any(
        path.startswith(f"{_WORKFLOWS}/") for commit in new for path in git.name_status(commit.sha)
    )
