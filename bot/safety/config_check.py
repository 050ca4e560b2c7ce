"""`playbooks config`: says whether a version of the file can be used.

A version that cannot be used fails, with the line and what is allowed; one whose sensitive sections
no Founder has approved yet is neutral and says what counts until then. It stands on the head of a
pull request that brings such a version, and on the default branch's where one came without.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from bot import markdown
from bot.config import CONFIG_PATH, SENSITIVE, Config, InvalidConfig, parse_config
from bot.github.calls.checks import Button, CheckReport
from bot.github.client import RepositoryClient
from bot.github.models import PullRequest
from bot.records.safety.sensitive_config import Approved
from bot.safety.config_in_force import Sections, digest_of, sensitive_sections
from bot.triggers import Value

NAME = "playbooks config"
_APPROVE = Button("Approve", "As a Founder, approve these sections", "approve")


class ConfigVerdict(Value):
    """What is said about one version of the file.

    Attributes:
        conclusion: of the check-run.
        title: what it comes to.
        summary: why, and what can be done (Markdown).
        asks: the sensitive sections that wait for a Founder.
        digest: of all sensitive sections, where some wait.
    """

    conclusion: Literal["success", "failure", "neutral"]
    title: str
    summary: str
    asks: tuple[str, ...] = ()
    digest: str = ""


def judge_config(
    text: str | None,
    counting: Sections,
    no_counters: str | None = None,
    *,
    on_default_branch: bool = False,
) -> ConfigVerdict:
    """Judge one version of `.github/playbooks.yml`. Pure.

    Args:
        text: the file; None where it is removed.
        counting: the sensitive sections that count now.
        no_counters: why Prometheus cannot be asked; None: it can.
        on_default_branch: whether the default branch has it; otherwise a pull request brings it.
    """
    if on_default_branch:
        once, ask = "It counts.", "A Founder presses Approve on this check."
        rest = "Everything else counts already."
    else:
        once = "It counts once it is merged."
        ask = "A Founder comments `/approve` on this pull request, before or after it is merged."
        rest = "Everything else counts once it is merged."
    try:
        config = Config() if text is None else parse_config(text)
    except InvalidConfig as invalid:
        return ConfigVerdict(
            conclusion="failure",
            title="It cannot be used",
            summary=markdown.fence(str(invalid))
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
    changed = [name for name in SENSITIVE if wanted.get(name) != counting.get(name)]
    if not changed:
        return ConfigVerdict(conclusion="success", title="It can be used", summary=once)
    named = ", ".join(markdown.code(name) for name in changed)
    digest = digest_of(wanted)
    return ConfigVerdict(
        conclusion="neutral",
        title="It can be used; a Founder has to approve a part",
        summary=f"{named}: changes of these count only after a Founder approved them, until then "
        f"what is in force stays so. {rest}\n\n{ask} (Digest {markdown.code(digest[:12])}.)",
        asks=tuple(changed),
        digest=digest,
    )


def counting_sections(approved: Approved | None) -> Sections:
    """The sensitive sections that count: the approved ones, or the defaults."""
    return approved.sections if approved else sensitive_sections(Config())


async def changes_config(client: RepositoryClient, pull: PullRequest) -> bool:
    """Tell whether a pull request touches the file.

    Raises:
        GitHubError: its files could not be read.
    """
    async for file in client.pulls.files(pull.number):
        if CONFIG_PATH in (file.filename, file.previous_filename):
            return True
    return False


async def report_config(
    client: RepositoryClient,
    head: str,
    counting: Sections,
    *,
    approved: Collection[str] = (),
    no_counters: str | None = None,
    on_default_branch: bool = False,
    note: str = "",
    look_first: bool,
) -> ConfigVerdict:
    """Put the check-run on a commit whose version of the file is in question.

    Args:
        client: the repository.
        head: the head of a pull request that touches the file, or of the default branch.
        counting: the sensitive sections that count now.
        approved: the digests of versions that were approved and wait for the merge.
        no_counters: why Prometheus cannot be asked; None: it can.
        on_default_branch: whether it is the default branch's.
        note: what else is to be read there (Markdown).
        look_first: whether it may have been put there before.

    Returns:
        what was said.

    Raises:
        GitHubError: GitHub could not be read or told.
    """
    file = await client.contents.read(CONFIG_PATH, head)
    verdict = judge_config(
        file.text if file else None,
        counting,
        no_counters,
        on_default_branch=on_default_branch,
    )
    if verdict.digest in approved:
        verdict = ConfigVerdict(
            conclusion="success",
            title="It can be used; a Founder approved it",
            summary="It counts once it is merged.",
        )
    await client.checks.ensure_reported(
        None,
        head_sha=head,
        name=NAME,
        external_id=f"config {head}",
        report=CheckReport(
            title=verdict.title,
            summary=f"{note}\n\n{verdict.summary}" if note else verdict.summary,
            conclusion=verdict.conclusion,
            buttons=(_APPROVE,) if verdict.asks else (),
        ),
        look_first=look_first,
    )
    return verdict
