"""Where results go once they are known (docs/decisions/0001).

Results cannot sit in the commit they judge. They go at once to the records branch, which only
the App writes, then to the default branch: directly where its rules allow, else through one
rolling pull request. A file that is there already with the same bytes is not written again, so
doing any of this twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from bot import markdown
from bot.github.calls.git_data import Tip
from bot.github.calls.trees import TreeChange
from bot.github.errors import Conflict, Forbidden, NotFound, Unprocessable
from bot.github.models import BranchRules, Ref
from bot.playbooks.checks.results import SKIPS_CHECKS
from bot.playbooks.incident.branches import (
    ATTEMPTS,
    LONG_AGO,
    TITLE,
    flat,
    folder_of,
    named_paths,
    only_ours,
)
from bot.playbooks.incident.ports import IncidentStore, OutcomesGitHub, RecordsGitHub
from bot.playbooks.run import Run, attempt
from bot.playbooks.steps import AnyStep, Patch
from bot.records.audit.anchors import ANCHORS_PATH, Anchor, read_anchors
from bot.records.branch_record import Wrong
from bot.triggers import Value

RECORDS_BRANCH = "playbooks/records"
OUTCOMES_BRANCH = "playbooks/outcomes"
RECORDS_BRANCHES = (RECORDS_BRANCH, flat(RECORDS_BRANCH))
"""Where records may be: the first of these that is there. The second is for where a branch named
`playbooks` is in the way of the first."""
OUTCOMES_BRANCHES = (OUTCOMES_BRANCH, flat(OUTCOMES_BRANCH))
"""Where outcomes may be, for the same reason."""
_KEPT_MOVING = "{branch} kept moving while it was being written: try again"
_MOST_TOLD = 5
_SKIP_CI = f"\n\n{SKIPS_CHECKS}"

Edit = str | Callable[[str], str]
"""A file's new text, or the way to it from its present one (empty where there is no file)."""


class RecordFile(Value):
    """A file that records what happens; committed with the change, then to the records branch."""

    path: str
    content: str


class BroughtHome(Value):
    """How the final files reached the default branch; through a pull request where it has one."""

    commit: str
    pull_request: int | None = None


class Recorded(Value):
    """Where records were put: the branch, and its head afterwards."""

    branch: str = RECORDS_BRANCH
    commit: str


class Found(Value):
    """A branch, found to say what it must: its name here, and where it is, if it is."""

    branch: str
    ref: Ref | None

    @classmethod
    def at(cls, branch: str, sha: str) -> Found:
        """A branch that is known to be at a commit."""
        there = {"ref": f"refs/heads/{branch}", "object": {"sha": sha}}
        return cls(branch=branch, ref=Ref.model_validate(there))


async def record(
    github: RecordsGitHub,
    store: IncidentStore,
    files: Sequence[RecordFile],
    anchor: Anchor,
    message: str,
    *,
    incident: str,
) -> Recorded:
    """Put files and the audit anchor on the records branch, whichever it is here.

    It is compared with what is kept first, and what is committed is kept: so whatever anybody
    pushed there is built upon by nobody.

    Args:
        github: the repository whose records branch is written.
        store: what was put on the branch before; the files and the anchor are kept there, too.
        files: what is put there; each replaces what its path holds.
        anchor: the signed head of the audit chain that these files go with.
        message: says what is recorded; that checks are skipped is added to it.
        incident: the id of the incident that the files are about.

    Returns:
        The branch, and its head afterwards.

    Raises:
        GitHubError: it could not be read or written, or others kept pushing (`Conflict`).
    """
    here = github.repository.id
    await store.keep(here, {f.path: f.content for f in files}, anchor, incident=incident)
    for _ in range(ATTEMPTS):
        found = await checked(github, store)
        lines = await store.anchors(here)
        edits = _replacing(files) | {ANCHORS_PATH: partial(_with_lines, lines=lines)}
        try:
            # Seen before it is pushed: what the delivery tells of it is known by then.
            commit = await commit_edits(
                github, found.branch, edits, message + _SKIP_CI, start=None, found=found,
                attempts=1, made=partial(store.saw, here),
            )  # fmt: skip
        except Conflict:
            continue
        await store.written(here, [file.path for file in files], anchors=list(lines))
        return Recorded(branch=found.branch, commit=commit)
    raise Conflict(_KEPT_MOVING.format(branch=RECORDS_BRANCH))


async def checked(github: RecordsGitHub, store: IncidentStore) -> Found:
    """Find the records branch and see that it says what it must; else write it again and say so.

    One request where its head is one that was found in order before.

    Raises:
        GitHubError: it could not be read or written.
    """
    here = github.repository.id
    for _ in range(ATTEMPTS):
        branch, ref = await _records_branch(github)
        known = await store.looked(here)
        if ref is not None and ref.sha == known.head:
            return Found(branch=branch, ref=ref)
        wrong = await _wrong(github, store, ref)
        if not wrong:
            if ref is not None:
                await store.saw(here, ref.sha)
            return Found(branch=branch, ref=ref)
        now = await github.git.branch(branch)
        if (now and now.sha) != (ref and ref.sha):
            # What is kept may be newer than what was read.
            continue
        of = ref.sha if ref is not None else f"gone-after-{known.head or 'nothing'}"
        commit = ref.sha if ref is not None else None
        await store.tell(here, wrong, branch=branch, commit=commit, of=of)
        try:
            rebuilt = await _rebuild(github, store, branch, ref, wrong)
        except Conflict:
            continue
        await store.saw(here, rebuilt)
        await _say(github, store, branch, wrong, commit=commit, of=of)
        return Found.at(branch, rebuilt)
    raise Conflict(_KEPT_MOVING.format(branch=RECORDS_BRANCH))


async def _records_branch(github: RecordsGitHub) -> tuple[str, Ref | None]:
    there = await github.git.branches(folder_of(RECORDS_BRANCH))
    branch = _form(RECORDS_BRANCH, there)
    if branch not in there:
        return branch, None
    ref = {"ref": f"refs/heads/{branch}", "object": {"sha": there[branch]}}
    return branch, Ref.model_validate(ref)


async def _wrong(github: RecordsGitHub, store: IncidentStore, ref: Ref | None) -> Wrong:
    here = github.repository.id
    tree: dict[str, str] = {}
    text = ""
    if ref is not None:
        entries = await github.git.tree(await github.git.tree_of(ref.sha), recursive=True)
        tree = {each.path: each.sha for each in entries if each.type == "blob"}
        file = await github.contents.read(ANCHORS_PATH, ref.sha) if ANCHORS_PATH in tree else None
        text = file.text if file else ""
    files = await store.files(here)
    lines, there = await store.anchors(here), set(text.splitlines(keepends=True))
    await store.adopt(here, [a for a in read_anchors(text) if a.line() not in lines])
    return Wrong(
        files=tuple(each for each in files if not each.may_be(tree.get(each.path))),
        anchors=sum(is_written and line not in there for line, is_written in lines.items()),
    )


async def _rebuild(
    github: RecordsGitHub, store: IncidentStore, branch: str, ref: Ref | None, wrong: Wrong
) -> str:
    here = github.repository.id
    contents = await store.contents(here, [each.path for each in wrong.files])
    lines = await store.anchors(here)
    edits: dict[str, Edit] = {**contents, ANCHORS_PATH: partial(_with_lines, lines=lines)}
    message = "Write the records again\n\nThey were changed or deleted; this is what is kept."
    commit = await commit_edits(
        github, branch, edits, message + _SKIP_CI, start=None,
        found=Found(branch=branch, ref=ref), attempts=1,
    )  # fmt: skip
    await store.written(here, list(contents), anchors=list(lines))
    return commit


async def _say(
    github: RecordsGitHub,
    store: IncidentStore,
    branch: str,
    wrong: Wrong,
    *,
    commit: str | None,
    of: str,
) -> None:
    about = [each.incident_id for each in wrong.files]
    if not about or commit is None:
        about = [each.incident_id for each in await store.files(github.repository.id)][:1]
    name = markdown.code(branch)
    paths = named_paths([each.path for each in wrong.files])
    if wrong.anchors:
        paths.append(f"{wrong.anchors} signed heads of the audit chain")
    what = (
        f"**The branch {name} was deleted.** It is there again, with all that the bot had put "
        f"there: {len(wrong.files)} files and every signed head of the audit chain."
        if commit is None
        else f"**Somebody changed {name}**, which only the App writes (commit {commit[:12]}): "
        f"{', '.join(paths)}. It says again what the bot had put there, and nothing of the change "
        "was taken over."
    )
    body = (
        f"{what}\n\nTo keep others out, let a ruleset for `playbooks/**` restrict creations, "
        "updates and deletions, with the App alone on its bypass list. This is in the audit chain "
        "as `records.rebuilt`."
    )
    for issue in (await store.issues(about))[:_MOST_TOLD]:
        with suppress(Forbidden, NotFound, Unprocessable):
            await github.comments.ensure_comment(
                issue, key=f"records-rebuilt:{of}", body=body, since=LONG_AGO, look_first=True
            )


def _with_lines(text: str, lines: Iterable[str]) -> str:
    """Add the anchors that are missing; what else is there stays: it may be evidence."""
    there = set(text.splitlines(keepends=True))
    missing = [line for line in lines if line not in there]
    separator = "" if not text or text.endswith("\n") or not missing else "\n"
    return text + separator + "".join(missing)


async def recorded(
    run: Run, step: AnyStep, effect: Callable[[], Awaitable[Recorded]]
) -> Recorded | None:
    """Put records on their branch as this step of a Run; where they are, None if it failed.

    Args:
        run: the Run; a failure is noted in its `untold`.
        step: what this is called among the Run's steps.
        effect: puts them there; it may be called again, also where it had got through.

    Raises:
        ValueError: the step is part of the recovery, and must not fail unheard.
    """
    what = f"write to {markdown.code(RECORDS_BRANCH)}"
    if run.patched(Patch.SHORT_BRANCH_NAMES):
        return await attempt(run, step, Recorded, lambda _: effect(), what=what, otherwise=None)

    async def commit(_: bool) -> str:
        return (await effect()).commit

    made = await attempt(run, step, str, commit, what=what, otherwise=None)
    return None if made is None else Recorded(commit=made)


async def read_record(github: RecordsGitHub, path: str) -> str | None:
    """Read a file of the records branch, whichever it is here; None where there is none."""
    for branch in RECORDS_BRANCHES:
        if (file := await github.contents.read(path, branch)) is not None:
            return file.text
    return None


async def _free_form(github: RecordsGitHub, branch: str) -> str:
    """The form in which a branch of ours that is not there as `branch` is, or can be made.

    Git cannot have both `playbooks` and `playbooks/records`. What was begun in the flat form goes
    on in it, so that its history stays in one place.
    """
    return _form(branch, await github.git.branches(folder_of(branch)))


def _form(branch: str, there: Collection[str]) -> str:
    in_the_way = folder_of(branch) in there or flat(branch) in there
    return flat(branch) if in_the_way and branch not in there else branch


async def checked_outcomes(github: OutcomesGitHub, store: IncidentStore) -> None:
    """See that open pull requests of outcomes bring what we put there, and nothing else.

    Raises:
        GitHubError: they could not be read or written.
    """
    for branch in OUTCOMES_BRANCHES:
        async for pull in github.pulls.list(head=branch):
            await only_ours(github, store, pull.number)


async def bring_home(
    github: OutcomesGitHub,
    store: IncidentStore,
    files: Sequence[RecordFile],
    message: str,
    *,
    rules: BranchRules,
    look_first: bool,
) -> BroughtHome:
    """Put the final files on a branch: directly where its rules allow, else by a pull request.

    Args:
        github: the repository that the branch is in.
        store: what the bot has put into the pull request of outcomes, where one is open.
        files: what is put there; each replaces what its path holds.
        message: says what is recorded.
        rules: those of the branch; they name it, too.
        look_first: whether this step may have run before: then its pull request is looked for.

    Raises:
        GitHubError: neither way was open, or others kept pushing (`Conflict`).
    """
    if rules.allows_direct_commits:
        try:
            commit = await commit_edits(
                github, rules.branch, _replacing(files), message + _SKIP_CI, start=rules.branch
            )
            return BroughtHome(commit=commit)
        except (Forbidden, Unprocessable):
            # A rule we could not read forbids it: take the pull request instead.
            pass
    return await _through_pull_request(github, store, files, message, rules.branch, look_first)


async def _through_pull_request(
    github: OutcomesGitHub,
    store: IncidentStore,
    files: Sequence[RecordFile],
    message: str,
    branch: str,
    look_first: bool,
) -> BroughtHome:
    outcomes, records = await _free_form(github, OUTCOMES_BRANCH), RECORDS_BRANCH
    if outcomes != OUTCOMES_BRANCH:
        records = flat(RECORDS_BRANCH)
    rolling = [pull async for pull in github.pulls.list(base=branch, head=outcomes)]
    if rolling:
        await only_ours(github, store, rolling[0].number)
    else:
        # What is left of an earlier, merged or closed one would drag old states along, and what
        # somebody put there.
        await github.git.delete_branch(outcomes)
    commit = await commit_edits(github, outcomes, _replacing(files), message, start=branch)
    if rolling:
        return BroughtHome(commit=commit, pull_request=rolling[0].number)
    pull = await github.pulls.ensure_pull_request(
        head=outcomes,
        base=branch,
        title=TITLE,
        body="Reports and decision records of incidents whose outcome is known by now. They are "
        f"on {markdown.code(records)} already; merging this brings them to "
        f"{markdown.code(branch)}.",
        look_first=look_first,
    )
    return BroughtHome(commit=commit, pull_request=pull.number)


async def commit_edits(
    github: RecordsGitHub,
    branch: str,
    edits: Mapping[str, Edit],
    message: str,
    *,
    start: str | None,
    found: Found | None = None,
    made: Callable[[str], Awaitable[None]] | None = None,
    attempts: int = ATTEMPTS,
) -> str:
    """Commit edits to files of a branch, moving it forward only; its head afterwards.

    Somebody else's push in between is built upon.

    Args:
        github: the repository.
        branch: the branch; made where it is missing.
        edits: for each path, from the present text to the new one.
        message: the commit's message.
        start: the branch to make it from; None makes one without history.
        found: the branch as it was found just now, if it was looked for.
        made: hears of each commit before the branch is moved to it.
        attempts: how often to build upon what others pushed in between.

    Raises:
        Conflict: others kept pushing in between.
    """
    for _ in range(attempts):
        base, is_there = await _base(github, branch, start, found)
        changes = await _changes(github, base.sha if base else None, edits)
        tree = base.tree if base else ""
        if changes or base is None:
            tree = await github.git.publish_tree(base.tree if base else None, changes)
        if is_there and base and tree == base.tree:
            return base.sha
        commit = await github.git.create_commit(
            tree=tree, parents=[base.sha] if base else [], message=message
        )
        if made is not None:
            await made(commit.sha)
        try:
            if is_there:
                await github.git.fast_forward(branch, commit.sha)
            else:
                await github.git.ensure_branch(branch, commit.sha, look_first=False)
        except Conflict:
            found = None
            continue
        return commit.sha
    raise Conflict(_KEPT_MOVING.format(branch=branch))


async def _base(
    github: RecordsGitHub, branch: str, start: str | None, found: Found | None
) -> tuple[Tip | None, bool]:
    """The commit to build upon, None for none; and whether it is the branch's own."""
    if found is not None and found.ref is not None:
        sha = found.ref.sha
        return Tip(sha=sha, tree=await github.git.tree_of(sha)), True
    if found is None and (tip := await github.git.tip(branch)) is not None:
        return tip, True
    if start is None:
        return None, False
    tip = await github.git.tip(start)
    if tip is None:
        raise NotFound(f"There is no branch {start!r}.")
    return tip, False


async def _changes(
    github: RecordsGitHub, base: str | None, edits: Mapping[str, Edit]
) -> list[TreeChange]:
    changes = []
    for path, edit in sorted(edits.items(), key=lambda each: each[0]):
        if isinstance(edit, str):
            # A tree names its content: where it is there already, so is the tree.
            changes.append(TreeChange(path=path, content=edit.encode()))
            continue
        file = await github.contents.read(path, base) if base else None
        before = file.content.decode("utf-8", "replace") if file else None
        after = edit(before or "")
        if after != before:
            changes.append(TreeChange(path=path, content=after.encode()))
    return changes


def _replacing(files: Sequence[RecordFile]) -> dict[str, Edit]:
    return {file.path: file.content for file in files}
