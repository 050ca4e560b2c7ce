"""What GitHub's refusals mean: which of them only say that something does not exist here.

Sources: "Troubleshooting the REST API"; "Rules" (rulesets since GHES 3.11,
https://docs.github.com/enterprise-server@3.10/rest has none); "About protected branches" and
"About rulesets" (both need a paid plan in private repositories).
"""

from __future__ import annotations

from bot.github.errors import Forbidden, GitHubError, NotFound, NotOffered, Suspended, Unprocessable

_LONGEST = 200
OUR_BRANCHES = ("hotfix/**", "fix/**", "playbooks/**")
"""The branches that the App makes, moves and deletes, as patterns of a ruleset."""
_BYPASS = (
    f"add the App to the bypass list of the ruleset that covers {', '.join(OUR_BRANCHES)} "
    "(Settings, Rules, Rulesets)"
)


def is_absent(error: GitHubError) -> bool:
    """Tell whether what was asked for does not exist in this place at all.

    The plan does not offer it (403 "Upgrade to GitHub Pro …"), this release of GitHub does not
    know it (404), or it is switched off (410). A missing permission is none of these.
    """
    return isinstance(error, NotFound | NotOffered)


def is_by_ruleset(error: GitHubError) -> bool:
    """Tell whether a ruleset forbids making, moving or deleting a branch, or may be what does.

    GitHub says "Repository rule violations found" with the rule, or only "Reference update
    failed", as it does for a name that is in the way.
    """
    said = error.said.lower()
    return "rule violations" in said or "reference update failed" in said


def in_words(error: GitHubError) -> str:
    """Say in few plain words why GitHub refuses something for good."""
    said = " ".join(error.said.split())
    lower = said.lower()
    match error:
        case _ if "is locked" in lower:
            return "the conversation is locked"
        case _ if "rule violations" in lower:
            return f"a ruleset forbids it: {_BYPASS}"
        case _ if "reference update failed" in lower:
            return f"GitHub does not say why; if a ruleset forbids it, {_BYPASS}"
        case Suspended():
            return "the App is suspended"
        case NotOffered():
            return "this GitHub plan does not offer it here"
        case Forbidden(permission=str(permission)):
            return f"the App lacks {permission}"
        case Forbidden() if "not accessible" in lower:
            return "the App may not"
        case NotFound(status=410) if "issue" in lower:
            return "issues are switched off in this repository"
        case NotFound():
            return "it does not exist, or the App may not see it"
        case Unprocessable(fields=fields) if lower in ("", "validation failed"):
            return "; ".join(fields.values())[:_LONGEST] or "GitHub does not take it"
        case _:
            return (said or str(error))[:_LONGEST]
