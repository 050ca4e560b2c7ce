"""The command `bisect` in a clone: its options, and files that the command is made of."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

import click

from bot.culprit.metric import MetricVerdict
from bot.culprit.verdict import SearchStatus, Verdict
from bot.git.errors import GitError
from bot.git.history import describe
from bot.git.revert import open_clone
from bot.local import journal, messages
from bot.local.checkout import Shared, choose_shared, read_checkout, work_tree
from bot.local.history import RangeError, resolve_end, submodules
from bot.local.journal import BudgetRaised, Journal, JournalError, LocalRequest
from bot.local.session import InfraError, run
from bot.local.view import watching
from bot.names import NUMERIC, split_numeric
from bot.trials.outcome import CommandNotFoundError
from bot.trials.sandbox import SandboxError

_SHARED = tuple(map(Path, ("/tmp", "/var/tmp", "/")))  # noqa: S108 - never shown whole
_BETWEEN_NAMES = re.compile(r"[\s=;&|<>()\"'`]+")


def resolved(
    command: Sequence[str], here: Path, repository: Path | None, start: str
) -> tuple[str, ...]:
    """Make the command's words mean the same files where trials start.

    A word that names a file of the checkout is read from the folder that trials start in; any other
    word that names a file where the person stands becomes absolute.

    Args:
        command: the words.
        here: where the person stands.
        repository: the root of their checkout, None where it is bare.
        start: the folder trials start in, from that root.
    """
    words = []
    for number, word in enumerate(command):
        path = here / word
        plain = number == 0 and "/" not in word
        is_theirs = not plain and not word.startswith(("-", "/")) and _is_file(path)
        if is_theirs and repository is not None and _inside(path, repository):
            named = _from_root(path, repository)
            if _from_root(here, repository) != start:
                word = os.path.relpath(named, start or ".")
                word = f"./{word}" if number == 0 and "/" not in word else word
        elif is_theirs:
            word = str(path.resolve() if ".." in path.parts else path.absolute())
        words.append(word)
    return tuple(words)


def named_in(command: Sequence[str], here: Path, repository: Path) -> tuple[str, ...]:
    """Return what of the checkout a command names, from its root.

    Each word may name a file or a folder; a name inside a word, as in a shell's text, a file only:
    such texts name folders to delete and make them.
    """
    found: dict[str, None] = {}
    for word in command:
        for name in dict.fromkeys((word, *_BETWEEN_NAMES.split(word))):
            path = here / name
            there = _is_file(path) or (name == word and _is_folder(path))
            if name.strip("./") and there and _inside(path, repository):
                found[_from_root(path, repository)] = None
    return tuple(found)


def deletes(command: Sequence[str], name: str) -> bool:
    """Tell whether a command seems to delete a folder of this name: then it makes its own."""
    return any(
        re.search(rf"\brm\b[^;&|\n]*(?<![\w.-]){re.escape(name)}(?![\w.-])", word)
        for word in (*command, " ".join(command))
    )


def readable(command: Sequence[str]) -> tuple[Path, ...]:
    """Return what a sandbox must show for the command: its files, with what lies beside them."""
    found: set[Path] = set()
    for word in command:
        path = Path(word)
        if path.is_absolute() and path.exists():
            for file in (path, path.resolve()):
                found.add(file if file.parent in _SHARED or file.is_dir() else file.parent)
    return tuple(sorted(found - set(_SHARED)))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a shell's text may be too long for a name
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _inside(path: Path, repository: Path | None) -> bool:
    return repository is not None and path.resolve().is_relative_to(repository.resolve())


def _from_root(path: Path, repository: Path) -> str:
    """Return a path from the root: empty for the root itself, `/` where it lies outside."""
    whole, root = path.resolve(), repository.resolve()
    if not whole.is_relative_to(root):
        return "/"
    return "" if whole == root else str(whole.relative_to(root))


_PROBLEMS = (
    RangeError, InfraError, JournalError, CommandNotFoundError, SandboxError, GitError, OSError,
)  # fmt: skip
_SHOWN_COMMITS = 10

_HELP = """Find the commit that made COMMAND fail, with a stated confidence.

COMMAND runs in each commit's files, in the folder you stand in. It ends with 0 if the commit is
good, 125 if it cannot be tried, and any other number if it is bad; a crash is bad too. At 126 and
127, "command not found", nothing more is tried. A trial that is stopped or killed (137, 143) is no
evidence: where hanging is the failure, write -- timeout 60 COMMAND. It may fail by chance: trials
are repeated until the verdict is sure. What it writes to $PLAYBOOKS_RESULT (JSON: fingerprint,
metrics) is read. Variables for COMMAND: -- env NAME=value COMMAND.

Your own checkout and home are never touched: COMMAND sees your home and what is installed in your
checkout (node_modules, .venv and the like), and what it changes there is kept apart and dropped.

Exit codes: 0 culprit, 1 error, 2 usage, 3 several commits that cannot be told apart, 4 the bad
end passes, 5 the good end fails, 6 budget spent.
"""


@click.command("bisect", help=_HELP, context_settings={"ignore_unknown_options": False})
@click.option("--repo", type=click.Path(path_type=Path), default=Path(), help="Your clone.")
@click.option("--good", "goods", multiple=True, metavar="REV", help="A commit that passes; found "
              "by trying releases and older commits if left out. May be repeated.")  # fmt: skip
@click.option("--bad", metavar="REV", default="HEAD", show_default=True, help="One that fails.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Trials at once.")  # fmt: skip
@click.option("--confidence", type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
              default=0.99, show_default=True, help="Probability at which to stop.")  # fmt: skip
@click.option("--budget", type=click.IntRange(1),
              help="At most so many trials; with --resume, in all.")  # fmt: skip
@click.option("--first-parent", is_flag=True, help="Blame merges, not commits inside branches.")
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON on standard output.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Makes random choices repeatable.")  # fmt: skip
@click.option("--skip", "skips", multiple=True, metavar="REV", help="Never try this commit.")
@click.option("--build", metavar="COMMAND", help="Run once per tree before COMMAND; a commit that "
              "does not build is not tried.")  # fmt: skip
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), default=1800.0,
              show_default=True, help="Seconds a trial may take.")  # fmt: skip
@click.option("--share", "wanted", multiple=True, metavar="PATH", help="Let trials see this of "
              "your checkout, as it is now, whether committed or not.")  # fmt: skip
@click.option("--pristine", is_flag=True, help="Let trials see nothing of your checkout unasked.")
@click.option("--network", is_flag=True, help="Let trials use the network.")
@click.option("--numeric", metavar="NAME[:lower|:higher]", help="Compare this number, which "
              "COMMAND writes to $PLAYBOOKS_RESULT, whatever it ends with; lower or higher is "
              "worse, if you say so. Needs --good.")  # fmt: skip
@click.option("--verify/--no-verify", default=True, show_default=True,
              help="Check the culprit with fresh runs of it and its parents; not a number's."
              )  # fmt: skip
@click.option("--log", "log_path", type=click.Path(path_type=Path, dir_okay=False),
              help="Where to write the log.")  # fmt: skip
@click.option("--resume", type=click.Path(path_type=Path, dir_okay=False),
              help="Continue an interrupted bisect from its log.")  # fmt: skip
@click.option("--replay", type=click.Path(path_type=Path, dir_okay=False),
              help="Run nothing; reach the verdict of a log again.")  # fmt: skip
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def bisect_command(
    repo: Path,
    goods: tuple[str, ...],
    bad: str,
    jobs: int,
    confidence: float,
    budget: int | None,
    first_parent: bool,
    as_json: bool,
    seed: int,
    skips: tuple[str, ...],
    build: str | None,
    time_limit: float,
    wanted: tuple[str, ...],
    pristine: bool,
    network: bool,
    numeric: str | None,
    verify: bool,
    log_path: Path | None,
    resume: Path | None,
    replay: Path | None,
    command: tuple[str, ...],
) -> None:
    """Read the options, search or replay, and leave with the contract's exit code.

    Args:
        repo: the clone, or a folder in it.
        goods: revisions that pass; empty: releases and older commits are tried.
        bad: a revision that fails.
        jobs: how many trials run at once.
        confidence: the probability of a verdict at which the search stops, above 0.5 and below 1.
        budget: how many trials there may be; None: as many as it takes.
        first_parent: whether merges are blamed, and not the commits that they brought.
        as_json: whether the verdict is printed as JSON, not as text.
        seed: makes the random choices repeatable.
        skips: revisions that are never tried.
        build: what is run once per tree before the command, as typed; None: nothing.
        time_limit: seconds that a trial may take.
        wanted: paths of the checkout that trials see as they are now, committed or not.
        pristine: whether trials see nothing of the checkout that was not asked for.
        network: whether trials may use the network.
        numeric: the metric whose change is looked for, perhaps with what is worse; None: none is.
        verify: whether the culprit is checked with fresh runs of it and its parents.
        log_path: where the log is written; None: a new file in the user's state folder.
        resume: the log of a search that is continued; None: none is.
        replay: the log whose verdict is told again, with nothing run; None: trials are run.
        command: what tells good from bad, word by word; empty where a log holds it.

    Raises:
        UsageError: the options do not go together.
    """
    if replay and resume:
        raise click.UsageError("Choose one of --replay and --resume.")
    if (replay or resume) and command:
        raise click.UsageError("The log holds the command: leave it out.")
    if not (replay or resume or command):
        raise click.UsageError("Which command should run? Write it last: … -- COMMAND")
    if numeric is not None and not re.fullmatch(NUMERIC, numeric):
        raise click.UsageError("--numeric is NAME, NAME:lower or NAME:higher.")
    if numeric is not None and not goods and not (replay or resume):
        raise click.UsageError("--numeric needs a good end to compare with: add --good REV.")
    if numeric is not None and first_parent:
        raise click.UsageError("--first-parent does not go with --numeric yet: leave it out.")
    if given := _given_beside(*(("budget",) if resume else ())) if (replay or resume) else ():
        raise click.UsageError(f"The log holds {', '.join(given)}: leave it out.")
    try:
        if replay:
            sys.exit(_tell(replay, as_json))
        _require_home()
        if resume:
            known = _with_budget(resume, budget)
            sys.exit(_search(known, resume, new=False, as_json=as_json))
        request = asyncio.run(
            _request(
                repo, goods, bad, command, build, log_path, wanted, pristine=pristine,
                jobs=jobs, confidence=confidence, budget=budget, first_parent=first_parent,
                seed=seed, seconds=time_limit, network=network, verify=verify, skips=skips,
                numeric=numeric,
            )
        )  # fmt: skip
        sys.exit(_search(Journal(request), Path(request.log), new=True, as_json=as_json))
    except _PROBLEMS as problem:
        click.echo(f"Error: {problem}", err=True)
        sys.exit(messages.ERROR)
    except KeyboardInterrupt:
        sys.exit(messages.ERROR)


def _require_home() -> None:
    """Trials see the person's home; a user that no file of users knows may have none.

    Raises:
        OSError: there is none.
    """
    try:
        Path.home()
    except RuntimeError:
        raise OSError(messages.NO_HOME) from None


def _with_budget(path: Path, budget: int | None) -> Journal:
    """Read a log, and let its search make up to `budget` trials in all where that is given."""
    known = journal.read(path)
    verdict = known.verdict()
    if budget is None or (verdict is not None and verdict.status is not SearchStatus.BUDGET):
        return known
    if budget <= known.trials():
        raise click.UsageError(f"The log has {known.trials()} trials: --budget has to be more.")
    with journal.opened(path, new=False) as writer:
        writer.entry(BudgetRaised(budget=budget))
    return journal.read(path)


def _given_beside(*more: str) -> tuple[str, ...]:
    """The options that somebody typed, but those that go with a log, and `more` that do."""
    context = click.get_current_context()
    typed = click.core.ParameterSource.COMMANDLINE
    return tuple(
        each.opts[0]
        for each in context.command.params
        if isinstance(each, click.Option)
        and each.name not in ("replay", "resume", "as_json", *more)
        and context.get_parameter_source(each.name or "") is typed
    )


async def _request(
    repo: Path,
    goods: tuple[str, ...],
    bad: str,
    command: tuple[str, ...],
    build: str | None,
    log_path: Path | None,
    wanted: tuple[str, ...],
    *,
    pristine: bool,
    skips: tuple[str, ...],
    **options: object,
) -> LocalRequest:
    """Turn names into commits and the command's files into paths that trials can see."""
    git = await open_clone(repo)
    bad_commit = await resolve_end(git, bad)
    here = Path.cwd()
    try:
        build_words = tuple(shlex.split(build)) if build else ()
    except ValueError as error:
        raise click.UsageError(f"--build cannot be read as a command: {error}.") from None
    root = await work_tree(git)
    checkout, shown = None, Shared()
    if root is not None:
        at = here if here.resolve().is_relative_to(root.resolve()) else here / repo
        checkout = await read_checkout(git, root, at, await submodules(git, bad_commit))
        typed = [*command, *build_words]
        shown = choose_shared(
            checkout,
            named_in(typed, here, root),
            [_wanted(path, here, root) for path in wanted],
            dependencies=not pristine,
            deleted=lambda name: deletes(typed, name),
        )
    elif wanted:
        raise RangeError(messages.NO_CHECKOUT)
    start = checkout.start if checkout else ""
    words_of = resolved(command, here, root, start)
    build_words = resolved(build_words, here, root, start)
    good_commits = [await resolve_end(git, good) for good in goods]
    skipped = [await resolve_end(git, skip) for skip in skips]
    ends = sorted({bad_commit, *good_commits} & set(skipped))
    if ends and options["numeric"] is not None:
        raise RangeError(messages.skipped_end(ends[0]))
    log_file = (log_path or _default_log(bad_commit)).absolute()
    for name in (str(log_file), str(here / repo), *words_of, *build_words, *shown.shared):
        if not _is_text(name):
            raise RangeError(messages.not_text(name))
    return LocalRequest.model_validate(
        {
            "log": str(log_file),
            "repository": str(here / repo),
            "goods": good_commits,
            "bad": bad_commit,
            "command": words_of,
            "build": build_words or None,
            "readable": [str(path) for path in readable([*words_of, *build_words])],
            "skips": skipped,
            "rivals": True,
            "checkout": str(root) if root else None,
            "start": start,
            **shown.model_dump(),
            **options,
        }
    )


def _is_text(name: str) -> bool:
    """Tell whether a name that the system gave can stand in the log: some are no UTF-8."""
    return name.encode("utf-8", "replace").decode() == name


def _wanted(path: str, here: Path, root: Path) -> str:
    """Return a path that the person wants to be seen, from the root of their checkout."""
    whole = Path(os.path.normpath(here / path))
    if not os.path.lexists(whole) or not whole.is_relative_to(root) or whole == root:
        raise RangeError(messages.not_in_checkout(path))
    return str(whole.relative_to(root))


def _resuming(log: Path | str) -> str:
    """Give the command that goes on with a log, by the name that this one was called by."""
    return f"{click.get_current_context().command_path} --resume {shlex.quote(str(log))}"


def _search(known: Journal, path: Path, *, new: bool, as_json: bool) -> int:
    """Search with a view; whatever stops it, say how to go on."""
    resume = _resuming(path)
    if not new and known.verdict() is not None:
        return _tell(path, as_json)
    with journal.opened(path, new=new) as writer:
        if new:
            writer.request(known.request)
        try:
            with watching(sys.stderr, known.request.jobs) as view:
                asyncio.run(run(known.request, known, writer, view))
        except (KeyboardInterrupt, asyncio.CancelledError):
            click.echo(messages.INTERRUPTED.format(resume=resume), err=True)
            return messages.ERROR
        except RangeError:
            if new:
                path.unlink()
            raise
        except (CommandNotFoundError, InfraError, SandboxError, GitError, OSError) as error:
            said = str(error)
            click.echo("Error: " + messages.FAILED.format(problem=said, resume=resume), err=True)
            return messages.ERROR
    return _tell(path, as_json)


def _tell(path: Path, as_json: bool) -> int:
    """Print the verdict a log leads to, and return its exit code."""
    known = journal.read(path)
    verdict = known.verdict()
    if verdict is None:
        raise JournalError(messages.UNFINISHED.format(resume=_resuming(path)))
    if verdict.status not in messages.EXIT_CODES:
        raise JournalError(messages.infra(verdict.reason))
    if as_json:
        click.echo(_json(known, verdict))
    else:
        click.echo(asyncio.run(_text(known, verdict)))
    return messages.EXIT_CODES[verdict.status]


def _json(known: Journal, verdict: Verdict) -> str:
    numeric = known.request.numeric
    changed = {} if numeric is None else {"change": _change(known.metric().verdict(), numeric)}
    return json.dumps(
        {
            "status": verdict.status,
            "culprit": verdict.culprit,
            "candidates": [
                {"sha": candidate.sha, "probability": candidate.probability}
                for candidate in verdict.candidates
            ],
            "confidence": verdict.confidence,
            "trials": known.trials(),
            "rounds": known.rounds(),
            "seed": str(known.request.seed),
            "log": known.request.log,
            "reason": verdict.cause,
            "boundaries": [{"sha": each.sha, "kind": each.kind} for each in verdict.boundaries],
            **changed,
        },
        sort_keys=True,
    )


def _change(found: MetricVerdict, numeric: str) -> dict[str, object] | None:
    """How much a number changed, in its own unit; None where no step was found."""
    if not found.is_change:
        return None
    low, high = found.interval
    return {
        "metric": split_numeric(numeric)[0],
        "effect": found.effect,
        "low": low,
        "high": high,
        "deviations": found.deviations if isfinite(found.deviations) else None,
    }


async def _text(known: Journal, verdict: Verdict) -> str:
    shown = [candidate.sha for candidate in verdict.candidates[:_SHOWN_COMMITS]]
    try:
        commits = await describe(await open_clone(Path(known.request.repository)), shown)
    except GitError:
        commits = []
    untried = {each.commit: each.reason for each in known.endings.values()}
    numeric = known.request.numeric
    told = messages.conclusion(
        verdict, commits, known.request.goods, untried, numeric=numeric is not None
    )
    told += messages.boundaries(verdict)
    if numeric is not None:
        found = known.metric().verdict()
        if found.is_change:
            told += f"\n{messages.effect(found, split_numeric(numeric)[0])}"
    elif verdict.status in (SearchStatus.BEFORE_RANGE, SearchStatus.NO_CULPRIT):
        ends = {"good": known.searches[-1].graph.goods, "bad": (known.request.bad,)}
        end = "good" if verdict.status is SearchStatus.BEFORE_RANGE else "bad"
        told += "".join(
            f"\n{messages.unexpected(end, sha, ending.reason, ending.output)}"
            for sha in ends[end]
            if (ending := known.endings.get(sha))
        )
        told += f"\n{messages.told_differences(known.differences)}" if known.differences else ""
    checked = known.checks.ending if verdict.status is SearchStatus.CULPRIT else None
    if checked in messages.CHECKED:
        told += f"\n{messages.CHECKED[checked]}"
    if verdict.status is SearchStatus.BUDGET and known.is_spent:
        told += f"\n{messages.larger_budget(_resuming(known.request.log), known.trials())}"
    counted = f"{known.trials()} trials in {known.rounds()} rounds. Log: {known.request.log}"
    return f"{told}\n{counted}"


def _default_log(bad: str) -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        # Such a one counts for nothing, says its specification: it would lie in the checkout.
        state = Path.home() / ".local/state"
    now = datetime.now(UTC)
    # To the microsecond: one process may look for several culprits in a second.
    name = f"{now:%Y%m%dT%H%M%S%f}-{bad[:8]}-{os.getpid()}.jsonl"
    return state / "playbooks" / "bisect" / name
