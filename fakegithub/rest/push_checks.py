"""Rules about branches, put to the caller of a REST route."""

from __future__ import annotations

from fakegithub.access.answers import RequestRefused
from fakegithub.rest.calls import Call
from fakegithub.rules.push_rules import VIOLATED, changes_workflows, refusal
from fakegithub.rules.requirements import Who


def who(call: Call) -> Who:
    """The caller, as rules look at callers."""
    return Who(call.user, call.caller.app)


def require_workflows_permission(call: Call, after: str | None) -> None:
    """Refuse an App without `workflows: write` that brings changed workflow files.

    Raises:
        RequestRefused: 403.
    """
    limited = call.caller.kind == "installation" and not call.caller.may("workflows=write")
    if limited and after is not None and changes_workflows(call.repository, after):
        raise RequestRefused(403, "Resource not accessible by integration")


def require(call: Call, ref: str, after: str | None) -> None:
    """Refuse what rules forbid.

    https://docs.github.com/rest/git/refs#create-a-reference

    Raises:
        RequestRefused: 422 with GitHub's words (or with none, see `Refusals.silent_rules`), 403 for
            workflow files.
    """
    require_workflows_permission(call, after)
    reason = refusal(call.world, call.repository, ref, after, who(call))
    if reason is not None:
        new = call.repository.git.ref(ref) is None
        silent = new and call.repository.refusals.silent_rules and reason.startswith(VIOLATED)
        raise RequestRefused(422, "Reference update failed" if silent else reason)
