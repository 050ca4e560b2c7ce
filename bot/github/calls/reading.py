"""Turning GitHub's nested answers into our flat models."""

from __future__ import annotations

from typing import Any

from bot.github.models import CheckKind, CheckResult, CheckRun, Commit, CommitStatus


def commit_from_rest(data: dict[str, Any]) -> Commit:
    """Read a commit of the commits API, which nests the git commit."""
    inner = data["commit"]
    author, committer = inner.get("author") or {}, inner.get("committer") or {}
    return Commit(
        sha=data["sha"],
        message=inner["message"],
        tree=inner["tree"]["sha"],
        parents=tuple(parent["sha"] for parent in data.get("parents", ())),
        html_url=data.get("html_url") or "",
        author_name=author.get("name"),
        author_email=author.get("email"),
        login=(data.get("author") or {}).get("login"),
        committer=(data.get("committer") or {}).get("login"),
        committed_at=committer.get("date"),
        verified=bool((inner.get("verification") or {}).get("verified")),
    )


def commit_from_git(data: dict[str, Any]) -> Commit:
    """Read a commit of the git database API, which is flat."""
    author, committer = data.get("author") or {}, data.get("committer") or {}
    return Commit(
        sha=data["sha"],
        message=data["message"],
        tree=data["tree"]["sha"],
        parents=tuple(parent["sha"] for parent in data["parents"]),
        html_url=data.get("html_url") or "",
        author_name=author.get("name"),
        author_email=author.get("email"),
        committed_at=committer.get("date"),
        verified=bool((data.get("verification") or {}).get("verified")),
    )


def result_of_run(run: CheckRun) -> CheckResult:
    """See a check-run as a result."""
    return CheckResult(
        name=run.name,
        kind=CheckKind.CHECK_RUN,
        id=run.id,
        app_id=run.app.id if run.app else None,
        app_slug=run.app.slug if run.app else None,
        status=run.status,
        conclusion=run.conclusion,
        url=run.details_url or run.html_url,
        started_at=run.started_at,
        completed_at=run.completed_at,
        external_id=run.external_id or None,
        title=run.output.title,
        summary=run.output.summary,
        annotations=run.output.annotations_count,
    )


def result_of_status(status: CommitStatus) -> CheckResult:
    """See a commit status as a result: error counts as a failure, pending as in progress.

    So does a word we have not heard of: it is not known to have passed, nor to have failed.
    """
    done = status.state not in ("pending", "other")
    return CheckResult(
        name=status.context,
        kind=CheckKind.STATUS,
        id=status.id,
        status="completed" if done else "in_progress",
        conclusion={"success": "success"}.get(status.state, "failure") if done else None,
        url=status.target_url,
        started_at=status.created_at,
        completed_at=status.updated_at if done else None,
        summary=status.description,
    )
