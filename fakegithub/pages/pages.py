"""Plain pages for people, at the addresses that `html_url` fields name. No JavaScript."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from fakegithub.git.bare import Change, GitRefused, StoredCommit
from fakegithub.pages import forms, models
from fakegithub.pages.markdown import Renderer
from fakegithub.shapes.repositories import html_url
from fakegithub.site import Site
from fakegithub.world.model import FakeCheckRun, FakeIssue, FakeRepository

Page = Callable[["PageVisit"], web.Response]

_TEMPLATES = Path(__file__).parent / "templates"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_MOST_COMMITS = 50
_MOST_LINES = 5000


def _ago(now: datetime, moment: datetime) -> str:
    seconds = (now - moment.astimezone(UTC)).total_seconds()
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count != 1 else ''} ago"
    return "just now"


class PageVisit:
    """One person's look at one page."""

    def __init__(self, site: Pages, request: web.Request) -> None:
        """Find the repository that the address names, if it names one.

        Raises:
            web.HTTPNotFound: when there is no such repository.
        """
        self.site, self.request, self.params = site, request, request.match_info
        self.world = site.github.world
        self.found: FakeRepository | None = None
        if "owner" in self.params:
            self.found = self.world.repository(self.params["owner"], self.params["repo"])
            if self.found is None:
                raise web.HTTPNotFound

    @property
    def repository(self) -> FakeRepository:
        """The repository of this page."""
        if self.found is None:
            raise web.HTTPNotFound
        return self.found

    @property
    def page(self) -> str:
        """The repository's address."""
        return html_url(self.world, self.repository)

    def number(self, name: str) -> int:
        """A number in the address."""
        text = self.params[name]
        if not text.isdecimal():
            raise web.HTTPNotFound
        return int(text)

    def issue(self) -> FakeIssue:
        """The issue or pull request of this page."""
        issue = self.repository.issues.get(self.number("number"))
        if issue is None:
            raise web.HTTPNotFound
        return issue

    def commit(self, name: str) -> StoredCommit:
        """The commit that the address names."""
        sha = self.repository.git.commit_sha(self.params[name])
        if sha is None:
            raise web.HTTPNotFound
        return self.repository.git.commit(sha)

    def log(self, *revisions: str, count: int = _MOST_COMMITS) -> list[StoredCommit]:
        """Commits, newest first."""
        git = self.repository.git
        return git.commits(git.rev_list(f"--max-count={count}", *revisions))

    def show(self, template: str, **values: Any) -> web.Response:
        """Fill a template."""
        now, people = self.world.now(), forms.people(self.world, self.found)
        common: dict[str, Any] = {
            "site": self.world.url, "visit": self, "world": self.world,
            "models": models, "ago": lambda moment: _ago(now, moment),
            "me": forms.chosen(people, self.request), "people": people,
            "here": self.request.rel_url.path_qs, "said": self.request.query.get("said", ""),
        }  # fmt: skip
        if self.found is not None:
            markdown = Renderer(self.page, self.world.url)
            common |= {"repository": self.found, "page": self.page, "markdown": markdown.html}
        text = self.site.templates.get_template(template).render(**common, **values)
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)


class Pages:
    """All pages of one demo GitHub."""

    def __init__(self, github: Site) -> None:
        """Read the templates."""
        self.github = github
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True,
            lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        )  # fmt: skip

    def serve(self, page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Make a request handler of a page."""

        async def handler(request: web.Request) -> web.Response:
            return page(PageVisit(self, request))

        return handler


def routes(github: Site) -> list[web.RouteDef]:
    """Routes at `/` and `/{owner}/{repo}/…`."""
    site, repo = Pages(github), "/{owner}/{repo}"
    pages: dict[str, Page] = {
        "/": front,
        repo: home,
        f"{repo}/issues": issue_list,
        f"{repo}/pulls": issue_list,
        f"{repo}/issues/{{number}}": issue_page,
        f"{repo}/pull/{{number}}": issue_page,
        f"{repo}/pull/{{number}}/commits": pull_commits,
        f"{repo}/pull/{{number}}/checks": pull_checks,
        f"{repo}/pull/{{number}}/files": pull_files,
        f"{repo}/commits/{{ref:.+}}": commit_list,
        f"{repo}/commit/{{ref}}": commit_page,
        f"{repo}/tree/{{ref:.+}}": files,
        f"{repo}/blob/{{ref:.+}}": files,
        f"{repo}/runs/{{run_id}}": check_page,
        f"{repo}/actions": workflow_runs,
        f"{repo}/actions/runs/{{run_id}}": workflow_run,
        f"{repo}/actions/runs/{{run_id}}/job/{{job_id}}": check_page,
        f"{repo}/actions/runs/{{run_id}}/job/{{job_id}}/log.txt": job_log,
        f"{repo}/raw/{{ref:.+}}": raw_file,
    }
    shown = [web.get(path, site.serve(page)) for path, page in pages.items()]
    return shown + forms.routes(github)


# The site and one repository


def front(visit: PageVisit) -> web.Response:
    """Every repository."""
    public = [r for r in visit.world.repositories.values() if not r.private]
    return visit.show("front.html", repositories=public)


def home(visit: PageVisit) -> web.Response:
    """Recent commits, pull requests, issues, files and the README."""
    repository = visit.repository
    head = repository.git.branch(repository.default_branch)
    newest = sorted(repository.issues.values(), key=lambda i: i.number, reverse=True)
    readme = ""
    if head and (entry := repository.git.entry(head, "README.md")) is not None:
        readme = repository.git.read(entry.sha).decode(errors="replace")
    return visit.show(
        "home.html", readme=readme, commits=visit.log(head, count=8) if head else [],
        pulls=[i for i in newest if i.pull][:10], issues=[i for i in newest if not i.pull][:10],
        entries=repository.git.tree(head) if head else [],
        branches=repository.git.refs("refs/heads/"),
    )  # fmt: skip


def issue_list(visit: PageVisit) -> web.Response:
    """All issues, or all pull requests."""
    wanted = visit.request.path.endswith("/pulls")
    newest = sorted(visit.repository.issues.values(), key=lambda i: i.number, reverse=True)
    return visit.show(
        "list.html", pulls=wanted, issues=[i for i in newest if bool(i.pull) == wanted]
    )


# One issue or pull request


def issue_page(visit: PageVisit) -> web.Response:
    """The conversation, with a box to comment."""
    issue = visit.issue()
    kind = "pull" if issue.pull else "issues"
    if f"/{kind}/" not in visit.request.path:
        raise web.HTTPFound(f"{visit.page}/{kind}/{issue.number}")
    return visit.show(
        "issue.html", tab="conversation", **_about(visit, issue),
        entries=models.conversation(issue),
    )  # fmt: skip


def _about(visit: PageVisit, issue: FakeIssue) -> dict[str, Any]:
    """What the head of every page about an issue shows."""
    pull, world, repository = issue.pull, visit.world, visit.repository
    checks = (
        models.checks_of(world, repository, visit.page, pull.head_sha, pull.base_ref)
        if pull
        else []
    )
    obstacles = models.obstacles(world, repository, issue)
    return {"issue": issue, "checks": checks, "obstacles": obstacles}


def _pull_range(visit: PageVisit, issue: FakeIssue) -> tuple[str, str]:
    """The commits of a pull request: after the first, up to the second."""
    pull = issue.pull
    if pull is None:
        raise web.HTTPNotFound
    git = visit.repository.git
    base = pull.base_sha if pull.merged_at else git.branch(pull.base_ref) or pull.base_sha
    return git.merge_base(base, pull.head_sha) or base, pull.head_sha


def pull_commits(visit: PageVisit) -> web.Response:
    """The commits of a pull request."""
    issue = visit.issue()
    base, head = _pull_range(visit, issue)
    commits = visit.log(head, f"^{base}", count=250)
    return visit.show("issue.html", tab="commits", **_about(visit, issue), commits=commits)


def pull_checks(visit: PageVisit) -> web.Response:
    """The checks of a pull request's head."""
    issue = visit.issue()
    if issue.pull is None:
        raise web.HTTPNotFound
    return visit.show("issue.html", tab="checks", **_about(visit, issue))


def pull_files(visit: PageVisit) -> web.Response:
    """What a pull request changes."""
    issue = visit.issue()
    changes = visit.repository.git.changes(*_pull_range(visit, issue))
    return visit.show("issue.html", tab="files", **_about(visit, issue), changes=changes)


# Commits and files


def commit_list(visit: PageVisit) -> web.Response:
    """The history of a branch."""
    commit = visit.commit("ref")
    return visit.show("commits.html", ref=visit.params["ref"], commits=visit.log(commit.sha))


def commit_page(visit: PageVisit) -> web.Response:
    """One commit, what it changed and what was checked on it."""
    commit, git = visit.commit("ref"), visit.repository.git
    empty = git.write("tree", b"")
    changes: list[Change] = git.changes(commit.parents[0] if commit.parents else empty, commit.sha)
    checks = models.checks_of(visit.world, visit.repository, visit.page, commit.sha, None)
    return visit.show("commit.html", commit=commit, changes=changes, checks=checks)


def _at_ref(visit: PageVisit) -> tuple[str, StoredCommit, str]:
    """Split `ref/path` where a branch, tag or commit ends: the longest that exists."""
    git, parts = visit.repository.git, visit.params["ref"].strip("/").split("/")
    for end in range(len(parts), 0, -1):
        ref = "/".join(parts[:end])
        sha = git.commit_sha(ref)
        if sha is not None:
            return ref, git.commit(sha), "/".join(parts[end:])
    raise web.HTTPNotFound


def files(visit: PageVisit) -> web.Response:
    """A folder, or one file."""
    ref, commit, path = _at_ref(visit)
    git = visit.repository.git
    entry = git.entry(commit.sha, path) if path else None
    if path and entry is None:
        raise web.HTTPNotFound
    text, entries = None, []
    if entry is not None and entry.type == "blob":
        content = git.read(entry.sha)
        text = "(binary file)" if b"\0" in content else content.decode(errors="replace")
        text = "\n".join(text.splitlines()[:_MOST_LINES])
    elif entry is None or entry.type == "tree":
        entries = git.tree(commit.sha, path=f"{path}/" if path else "")
    return visit.show("files.html", ref=ref, path=path, text=text, entries=entries)


def raw_file(visit: PageVisit) -> web.Response:
    """One file as plain text, whatever it is."""
    _, commit, path = _at_ref(visit)
    try:
        entry = visit.repository.git.entry(commit.sha, path) if path else None
    except GitRefused:
        entry = None
    if entry is None or entry.type != "blob":
        raise web.HTTPNotFound
    content = visit.repository.git.read(entry.sha)
    return web.Response(body=content, content_type="text/plain", headers=_HEADERS)


# Checks


def _check(visit: PageVisit) -> FakeCheckRun:
    name = "job_id" if "job_id" in visit.params else "run_id"
    run = visit.repository.check_runs.get(visit.number(name))
    if run is None:
        raise web.HTTPNotFound
    return run


def check_page(visit: PageVisit) -> web.Response:
    """One check with its text, annotations, buttons and, for a job, its log."""
    run = _check(visit)
    return visit.show("check.html", run=run, job=visit.site.github.runner.jobs.get(run.id))


def job_log(visit: PageVisit) -> web.Response:
    """A job's log as plain text."""
    job = visit.site.github.runner.jobs.get(_check(visit).id)
    return web.Response(text=job.log if job else "", headers=_HEADERS)


def workflow_runs(visit: PageVisit) -> web.Response:
    """Every workflow run."""
    runs = visit.site.github.runner.runs.values()
    mine = [run for run in runs if run.repository is visit.repository]
    return visit.show("actions.html", runs=mine[::-1], run=None)


def workflow_run(visit: PageVisit) -> web.Response:
    """One workflow run with its jobs."""
    run = visit.site.github.runner.runs.get(visit.number("run_id"))
    if run is None or run.repository is not visit.repository:
        raise web.HTTPNotFound
    return visit.show("actions.html", runs=[], run=run)
