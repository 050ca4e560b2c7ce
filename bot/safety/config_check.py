"""`playbooks config`: says whether a version of the file can be used.

A version that cannot be used fails, with the line and what is allowed; one whose sensitive sections
no Founder has approved yet is neutral and says what counts until then. It stands on the head of a
pull request that brings such a version, and on the default branch's where one came without.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from bot import markdown
from bot.config import CONFIG_PATH, Config
from bot.config_versions import ConfigVersion
from bot.github.calls.checks import Button, CheckReport
from bot.github.client import RepositoryClient
from bot.github.errors import Forbidden, NotFound, Unprocessable
from bot.github.models import PullRequest
from bot.playbooks.checks.unheard import Unheard, names_seen, unheard
from bot.safety.config_consent import SHOWN, changed_sections
from bot.safety.config_in_force import Sections, digest_of, sensitive_sections, version_at
from bot.triggers import Value

NAME = "playbooks config"
_MEANT_SO = "It can be used; was it meant so?"
_APPROVE = Button("Approve", "As a Founder, approve these sections", "approve")


class ConfigVerdict(Value):
    """What is said about one version of the file.

    Attributes:
        conclusion: of the check-run.
        title: what it comes to.
        summary: why, and what can be done (Markdown).
        asks: the sensitive sections that wait for a Founder.
        digest: of all sensitive sections, where some wait.
        shown: that digest, also where it was approved before.
    """

    conclusion: Literal["success", "failure", "neutral"]
    title: str
    summary: str
    asks: tuple[str, ...] = ()
    digest: str = ""
    shown: str = ""


def judge_config(
    version: ConfigVersion,
    counting: Sections,
    no_counters: str | None = None,
    *,
    on_default_branch: bool = False,
) -> ConfigVerdict:
    """Judge one version of `.github/playbooks.yml`. Pure.

    Args:
        version: the file as it was read.
        counting: the sensitive sections that count now.
        no_counters: why Prometheus cannot be asked; None: it can.
        on_default_branch: whether the default branch has it; otherwise a pull request brings it.
    """
    if on_default_branch:
        once, ask = "It counts.", "A Founder presses Approve on this check."
        rest = "Everything else counts already."
    else:
        once = "It counts once it is merged."
        ask = (
            "A Founder who did not write it comments {approve} on this pull request, before or "
            "after it is merged."
        )
        rest = "Everything else counts once it is merged."
    config = version.config
    if config is None:
        return ConfigVerdict(
            conclusion="failure",
            title="It cannot be used",
            summary=markdown.fence(version.fault)
            + "\n\nUntil it is mended, the last good version stays in force.",
        )
    counted = sorted(name for name, each in config.capabilities.items() if each.prometheus)
    if counted and no_counters is not None:
        return ConfigVerdict(
            conclusion="failure",
            title="It names Prometheus, which this bot cannot ask",
            summary=f"{', '.join(map(markdown.code, counted))}: judged by Prometheus, but "
            f"{no_counters}. Ramps of it are refused as long as that is so.\n\n"
            "Whoever runs the bot sets it and restarts; or take `prometheus` out, and have clients "
            "report to `/providers/observations`.",
        )
    wanted = sensitive_sections(config)
    changed = changed_sections(wanted, counting)
    doubts = ""
    if version.doubts:
        doubts = "\n\n**Was this meant?**\n\n" + markdown.fence("\n".join(version.doubts))
    if not changed:
        return ConfigVerdict(
            conclusion="neutral" if doubts else "success",
            title=_MEANT_SO if doubts else "It can be used",
            summary=once + doubts,
        )
    named = ", ".join(markdown.code(name) for name in changed)
    digest = digest_of(wanted)
    asked = ask.format(approve=markdown.code(f"/approve {digest[:SHOWN]}"))
    return ConfigVerdict(
        conclusion="neutral",
        title="It can be used; a Founder has to approve a part",
        summary=f"{named}: changes of these count only after a Founder approved them, until then "
        f"what is in force stays so. {rest}\n\n{asked} (Digest "
        f"{markdown.code(digest[:SHOWN])}.){doubts}",
        asks=changed,
        digest=digest,
        shown=digest,
    )


def never_heard(names: Sequence[Unheard]) -> str:
    """Say that checks are configured which no commit had (Markdown); nothing where all did."""
    rows = [
        f"- {markdown.code(each.name)}"
        + (f": did you mean {markdown.code(each.nearest)}?" if each.nearest else "")
        for each in names
    ]
    if not rows:
        return ""
    return (
        "**No commit had these checks yet**, neither among the newest of the default branch nor on "
        "pull requests:\n\n" + "\n".join(rows) + "\n\nA hotfix waits for each of its smoke checks "
        "and evals. Where they are new, nothing is wrong."
    )


async def _never_heard(client: RepositoryClient, head: str, config: Config) -> str:
    checks = config.checks
    named = (*checks.smoke, *checks.evals, *checks.slo, *checks.safety)
    if not named:
        return ""
    try:
        base = (await client.about()).default_branch
        seen = await names_seen(client, head, base, named)
    except (Forbidden, NotFound, Unprocessable):
        # Advice only: whether the file can be used does not hang on it.
        return ""
    return never_heard(unheard(named, seen))


async def changes_config(client: RepositoryClient, pull: PullRequest) -> bool:
    """Tell whether a pull request touches the file.

    Raises:
        GitHubError: its files could not be read.
    """
    async for file in client.pulls.files(pull.number):
        if CONFIG_PATH in (file.filename, file.previous_filename):
            return True
    return False


async def verdict_at(
    client: RepositoryClient,
    head: str,
    counting: Sections,
    *,
    approved: Collection[str] = (),
    no_counters: str | None = None,
    on_default_branch: bool = False,
    note: str = "",
) -> ConfigVerdict:
    """Judge the version of the file that a commit has, with what GitHub knows of its checks.

    Args:
        client: the repository.
        head: the head of a pull request that touches the file, or of the default branch.
        counting: the sensitive sections that count now.
        approved: the digests of versions that were approved and wait for the merge.
        no_counters: why Prometheus cannot be asked; None: it can.
        on_default_branch: whether it is the default branch's.
        note: what else is to be read there (Markdown).

    Raises:
        GitHubError: GitHub could not be read.
    """
    version = await version_at(client, head)
    verdict = judge_config(version, counting, no_counters, on_default_branch=on_default_branch)
    if version.config is not None and verdict.conclusion != "failure":
        never = await _never_heard(client, head, version.config)
        note = "\n\n".join(filter(None, (note, never)))
        if never and verdict.conclusion == "success":
            verdict = verdict.model_copy(update={"conclusion": "neutral", "title": _MEANT_SO})
    if verdict.digest in approved:
        verdict = ConfigVerdict(
            conclusion="success",
            title="It can be used; a Founder approved it",
            summary="It counts once it is merged.",
            shown=verdict.digest,
        )
    if not note:
        return verdict
    return verdict.model_copy(update={"summary": f"{note}\n\n{verdict.summary}"})


async def report_verdict(client: RepositoryClient, head: str, verdict: ConfigVerdict) -> None:
    """Ensure the check-run that says so on a commit.

    Args:
        client: the repository.
        head: the commit that was judged.
        verdict: what to say.

    Raises:
        GitHubError: GitHub could not be read or told.
    """
    await client.checks.ensure_reported(
        None,
        head_sha=head,
        name=NAME,
        external_id=f"config {head}",
        report=CheckReport(
            title=verdict.title,
            summary=verdict.summary,
            conclusion=verdict.conclusion,
            buttons=(_APPROVE,) if verdict.asks else (),
        ),
        look_first=True,
    )
