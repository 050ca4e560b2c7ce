"""Every word the bisect command says, in one place, and how text of others is made harmless."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bot.culprit.metric import MetricVerdict
from bot.culprit.posterior import BoundaryKind
from bot.culprit.verdict import SearchStatus, Verdict
from bot.git.history import CommitInfo
from bot.local.journal import LocalRequest

SHORT = 12
_LAST_LINES = 15
_LONGEST_LINE = 200

NO_SANDBOX = (
    "Warning: trials run without a sandbox, with all your rights. {reason} "
    "Limits on time, memory, disk and processes still hold."
)
SUBMODULES = "Note: submodules stay empty in trials: {paths}."
INTERRUPTED = "Interrupted. Nothing finished is lost; continue with: {resume}"
FAILED = "{problem}\nNothing finished is lost; continue with: {resume}"
FOUND_GOOD = "Good end: {commit} passes."
NO_GOOD = "No good commit was found, back to the first one: the search covers the whole history."
STOPPED = (
    "A trial was stopped after {seconds:g} s, which tells nothing of its commit. Where hanging is "
    "the failure you look for, start again with: -- timeout {fewer:g} {command}. Where it only "
    "needs longer, with a higher --time-limit."
)
KILLED = (
    "A trial was killed ({reason}), which tells nothing of its commit. Where that is the failure "
    "you look for, start again with: -- sh -c {command}. Where this machine lacks memory, with "
    "fewer --jobs."
)
NO_CHECKOUT = "--share names what lies in a checkout, and this repository has none."
NO_HOME = "Your home folder is not known here: set HOME to it, or to an empty folder."
UNFINISHED = "This log ends before a verdict. Continue with: {resume}"

CHECKED = {
    "confirmed": "Fresh runs of it and of what came before agree.",
    "undecided": "Fresh runs of it and of what came before were not clear: look closely.",
    "no budget": "The budget left no room to check it with fresh runs.",
}

EXIT_CODES = {
    SearchStatus.CULPRIT: 0,
    SearchStatus.CLASS: 3,
    SearchStatus.NO_CULPRIT: 4,
    SearchStatus.BEFORE_RANGE: 5,
    SearchStatus.BUDGET: 6,
}
ERROR = 1


def printable(text: str, most: int = 200) -> str:
    """Make text of others safe for a terminal: no control characters, one line, not too long."""
    clean = "".join(c if c.isprintable() else " " for c in text).strip()
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def listed(paths: Sequence[str], most: int = 5) -> str:
    """Name the first few of these, and how many more there are."""
    named = ", ".join(printable(path, 80) for path in paths[:most])
    return named if len(paths) <= most else f"{named} and {len(paths) - most} more"


def not_text(name: str) -> str:
    """A name that the log cannot hold."""
    shown = printable(name.encode("utf-8", "backslashreplace").decode())
    return (
        f"{shown} is not UTF-8, so the log cannot hold it. Name it in a script that COMMAND runs, "
        "or use another name."
    )


def sharing(paths: Sequence[str]) -> str:
    """Say what of the checkout trials see."""
    return (
        f"Trials also see from your checkout: {listed(paths)}. What they change there is dropped; "
        "--pristine leaves it out."
    )


def not_in_checkout(path: str) -> str:
    """Say that a path cannot be shared."""
    return f"--share {printable(path)}: nothing of that name lies in this checkout."


def not_an_ancestor(good: str, bad: str, base: str | None) -> str:
    """Say that the good end does not lie before the bad one, and which good end would do."""
    if base is not None and base.startswith(bad):
        return f"The ends are the wrong way round: {good} comes after {bad}. Swap them."
    said = f"{good} is not an ancestor of {bad}, so nothing says that the change lies between. "
    if base is None:
        return said + "Their histories have nothing in common: choose another good end."
    return said + f"They part at {base[:SHORT]}: if that passes, use it as the good end."


def skipped_end(end: str) -> str:
    """Say that an end cannot be left out where a number is compared with it."""
    return f"--skip {end[:SHORT]}: it is an end of the range, which all else is compared with."


def nothing_between(good: str, bad: str) -> str:
    """Say that the range is empty."""
    return f"Nothing lies between {good} and {bad}: there is no commit to blame."


def shallow() -> str:
    """Say that history is missing where it is needed."""
    return (
        "This clone is shallow, and the commits in question reach its edge: "
        "run `git fetch --unshallow` and try again."
    )


def infra(reason: str) -> str:
    """Say that trials could not run at all."""
    return (
        "Too many trials in a row could not run, so nothing can be said of the commits. "
        f"The last one: {printable(reason)}."
    )


def end_never_ran(end: str, commit: str, times: int, reason: str) -> str:
    """Say that an end of the range could not run, so that nothing can be compared with it."""
    return (
        f"The {end} end {commit[:SHORT]} could not run, {times} times in a row, so there is "
        f"nothing to compare other commits with. The last time: {printable(reason)}."
    )


def not_written(error: str) -> str:
    """Say that a commit's files could not be written."""
    return f"its files could not be written: {printable(error)}"


def larger_budget(resume: str, trials: int) -> str:
    """Say how a search goes on whose budget is spent; `resume` is the command without one."""
    return f"To go on with twice as many trials in all: {resume} --budget {2 * trials}"


def no_number(name: str, commit: str, reason: str, output: str) -> str:
    """Say that the command does not write the number that is to be compared, and what it does."""
    said = (
        f"The command wrote no number {printable(name)!r} at {commit[:SHORT]} "
        f"({printable(reason)}). It has to write JSON to the file named in $PLAYBOOKS_RESULT, "
        'such as {"metrics": {"' + printable(name) + '": 12.5}}.'
    )
    return f"{said}\nIts last lines:\n{_quoted(output)}" if output else said


def effect(found: MetricVerdict, name: str) -> str:
    """Say how much a metric changed."""
    low, high = found.interval
    changed = f"{printable(name)} changed by {found.effect:+.4g} (95%: {low:+.4g} to {high:+.4g})"
    if low == high:
        return f"{changed}; runs of one commit do not differ."
    return f"{changed}, {abs(found.deviations):.1f} times what single runs differ by."


def unexpected(end: str, commit: str, reason: str, output: str) -> str:
    """Say how an end of the range ended that should have ended otherwise, and what it printed."""
    said = f"The {end} end {commit[:SHORT]}: {printable(reason)}. "
    if not output:
        return said + "It printed nothing."
    return f"{said}Its last lines:\n{_quoted(output)}"


def _quoted(output: str) -> str:
    return "\n".join(f"  | {line}" for line in output.splitlines())


def last_lines(output: str) -> str:
    """Keep the last lines of what a command printed, harmless and not too long."""
    lines = [printable(line, _LONGEST_LINE) for line in output.splitlines()]
    return "\n".join([line for line in lines if line][-_LAST_LINES:])


def differences(
    request: LocalRequest,
    *,
    confined: bool,
    at_checkout: bool,
    variables: Sequence[str],
    empty: Sequence[str],
) -> tuple[str, ...]:
    """List what differs in a trial from running the command by hand in the checkout.

    Args:
        request: what was asked for.
        confined: whether trials run in a sandbox.
        at_checkout: whether they run at the path of the checkout.
        variables: names of the environment that trials do not have.
        empty: paths of submodules that are empty in trials.
    """
    found = []
    if confined and not request.network:
        found.append("no network, not even to services of this machine (--network allows it)")
    if request.unseen:
        found.append(f"not committed, so not there: {listed(request.unseen)} (--share PATH)")
    if request.changed:
        found.append(f"without your changes of {listed(request.changed)} (--share PATH)")
    if request.shared:
        found.append(f"as in your checkout now, at every commit: {listed(request.shared)}")
    if empty:
        found.append(f"empty submodules: {listed(empty)}")
    if variables:
        found.append(f"without the variables {listed(variables, 10)} (-- env NAME=value COMMAND)")
    if not at_checkout:
        found.append("in another folder than your checkout")
    return (*found, "nothing to read on standard input, and no terminal")


def told_differences(found: Sequence[str]) -> str:
    """Tell the differences, one a line."""
    return "What differs from running it by hand:\n" + "\n".join(f"  - {each}" for each in found)


def conclusion(
    verdict: Verdict,
    commits: Sequence[CommitInfo],
    goods: Sequence[str],
    untried: Mapping[str, str],
    *,
    numeric: bool = False,
) -> str:
    """Tell a verdict to a person: what was found, how sure that is, and what to do next.

    Args:
        verdict: the verdict.
        commits: what is known of those it names.
        goods: the good ends.
        untried: why commits could not be tried, by commit.
        numeric: it is about a metric's change.
    """
    sure = f"{verdict.confidence:.1%}"
    commits_listed = "\n".join(f"  {_described(info, verdict)}" for info in commits)
    match verdict.status:
        case SearchStatus.CULPRIT:
            return f"{verdict.culprit} is the culprit ({sure} sure).\n{commits_listed}"
        case SearchStatus.CLASS:
            return (
                f"One of these {len(verdict.candidates)} commits is the culprit ({sure} sure); "
                f"no commit that can be tried tells them apart.\n{commits_listed}"
                f"{_untried(verdict, untried)}"
            )
        case SearchStatus.NO_CULPRIT if verdict.cause or numeric:
            return f"No single commit is to blame ({sure} sure). {verdict.reason}"
        case SearchStatus.NO_CULPRIT:
            return (
                f"Bad passes: the bad end does not show the failure ({sure} sure). It was a flake "
                "or came from its environment. Check the command on the bad end."
            )
        case SearchStatus.BEFORE_RANGE:
            ends = ", ".join(good[:SHORT] for good in goods)
            return (
                f"Good fails: {ends} shows the failure too ({sure} sure), so the culprit is older. "
                "Name an older good end, or leave --good out to have one found."
            )
        case _:
            said = f"No verdict: {verdict.reason[:1].lower()}{verdict.reason[1:]}"
            return f"{said}\n{commits_listed}{_untried(verdict, untried)}"


_KINDS = {
    BoundaryKind.BROKEN: "broken from",
    BoundaryKind.FIXED: "fixed at",
    BoundaryKind.FLAKY_FROM: "flaky from",
    BoundaryKind.FAILS_FROM: "fails at another rate from",
}


def boundaries(verdict: Verdict) -> str:
    """Name every commit where the signal changed, where there are several."""
    if len(verdict.boundaries) < 2 and verdict.cause is None:
        return ""
    return "".join(f"\n  {_KINDS[each.kind]} {each.sha[:SHORT]}" for each in verdict.boundaries)


def _untried(verdict: Verdict, untried: Mapping[str, str]) -> str:
    """Name the commits that would tell more if they could be tried, and why they could not."""
    if not verdict.splitters:
        return ""
    named = listed([sha[:SHORT] for sha in verdict.splitters])
    reasons = Counter(untried[sha] for sha in verdict.splitters if sha in untried)
    why = ", ".join(f"{printable(each)} ({count})" for each, count in reasons.most_common(3))
    said = f"\nThese would tell more if they could be tried: {named}."
    return f"{said} What kept them from it: {why}." if why else said


def _described(info: CommitInfo, verdict: Verdict) -> str:
    probability = next((c.probability for c in verdict.candidates if c.sha == info.sha), 0.0)
    return (
        f"{info.sha[:SHORT]} {probability:6.1%}  {printable(info.subject, 100)} "
        f"({printable(info.author, 40)}, {info.committed_at:%Y-%m-%d})"
    )
