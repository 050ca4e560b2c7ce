"""Setup in a terminal: the same questions, with a browser only where GitHub needs one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from bot.errors import Passing
from bot.github.client import GitHub
from bot.github.errors import GitHubError, in_words
from bot.playbooks.checks.results import GATE_CHECK
from bot.settings import InvalidSettings, ServerSettings, Settings, why_no_address
from bot.setup import proposal
from bot.setup.registration import SetupRefused, addresses_of
from bot.setup.site import SetupSite
from bot.triggers import Repository
from bot.wiring.readings import port_fault

_MOST_REPOSITORIES = 100
_LOOK_EVERY_S = 2.0


async def register(around: ServerSettings, data: Path | None) -> None:
    """Have the App registered in a browser; its credentials are kept, or printed as variables.

    Args:
        around: where to listen meanwhile, and which GitHub is proposed.
        data: where they are kept; None: they are printed.

    Raises:
        InvalidSettings: the port cannot be had.
    """
    host, port = around.playbooks_host, around.playbooks_port
    site = SetupSite(host, port, around.playbooks_url, around.github_api_url, data)
    try:
        await site.open()
    except OSError as error:
        raise port_fault(host, port, error) from error
    try:
        click.echo(f"GitHub asks in a browser. Open this, once:\n\n  {site.address}\n", err=True)
        await site.registered.wait()
        given = site.given
        if given is None:
            raise SetupRefused("The App is not registered yet.")
        click.echo(f"The App is {given.slug} ({given.app_id}).", err=True)
        if data is None:
            click.echo(given.variables(), nl=False)
        # The browser is still to be sent on.
        await asyncio.sleep(1)
    finally:
        await site.close()


async def look_around(
    github: GitHub, settings: Settings, only: str | None, *, is_new: bool = False
) -> None:
    """Show what is proposed to each repository, and open what is wanted.

    Args:
        github: as the App.
        settings: of the App.
        only: `owner/name` of one repository, which gets its proposal unasked.
        is_new: the App was registered a moment ago: wait until it is installed.

    Raises:
        SetupRefused: the App is not installed there.
    """
    if only is not None:
        owner, _, name = only.partition("/")
        found = await github.installations.find_repository(owner, name)
        if found is None:
            raise SetupRefused(f"The App is not installed on {only}.")
        await _propose(github, settings, found, unasked=True)
        return
    repositories = await proposal.installed_repositories(github, _MOST_REPOSITORIES)
    if not repositories:
        app = await github.ourselves.app()
        page = f"{github.addresses.web}/apps/{app.slug}/installations/new"
        if not is_new:
            raise SetupRefused(f"Install it: {page}, then run this again.")
        click.echo(f"Install it in the browser, and choose repositories:\n\n  {page}\n", err=True)
    while not repositories:
        await asyncio.sleep(_LOOK_EVERY_S)
        repositories = await proposal.installed_repositories(github, _MOST_REPOSITORIES)
    for each in repositories:
        await _propose(github, settings, each, unasked=False)


async def _propose(
    github: GitHub, settings: Settings, repository: Repository, *, unasked: bool
) -> None:
    name = repository.full_name
    client = github.repository(repository, playbook="setup")
    try:
        seen = await proposal.look(client)
        click.echo(f"\n== {name}")
        if seen.has_file:
            click.echo("It has a configuration, and keeps it.")
        else:
            text = proposal.proposed(seen)
            click.echo(f"\n{text}")
            if unasked or await _asked(f"Propose it to {name} as a pull request?"):
                pull = await proposal.open_proposal(client, text)
                click.echo(f"Proposed: {github.addresses.web}/{name}/pull/{pull.number}")
        if GATE_CHECK in seen.required:
            return
        click.echo("\nA pause of self-work stops merging only where its check is required.")
        if not await client.permissions.may("administration"):
            by_hand = proposal.by_hand(name, settings.github_app_id)
            click.echo(f"An administrator has it required so:\n\n{by_hand}")
        elif await _asked(f"Have `{GATE_CHECK}` required in {name}?"):
            await proposal.require_gate(client, settings.github_app_id)
    except (GitHubError, Passing) as error:
        words = in_words(error) if isinstance(error, GitHubError) else str(error)
        click.echo(f"{name}: {words}", err=True)


async def _asked(question: str) -> bool:
    return await asyncio.to_thread(click.confirm, question, default=False)


def server_settings(
    around: ServerSettings, *, github: str | None, url: str | None
) -> ServerSettings:
    """The settings, with what was said on the command line.

    Args:
        around: what the environment says.
        github: the GitHub as people see it in their browser.
        url: the bot's public address.

    Raises:
        InvalidSettings: that is no address of a GitHub, or none at all.
    """
    api_url = around.github_api_url
    if url is not None and (why := why_no_address(url)):
        raise InvalidSettings(f"PLAYBOOKS_URL: {why}")
    if github is not None:
        try:
            api_url = addresses_of(github).rest
        except SetupRefused as refused:
            raise InvalidSettings(f"GITHUB_API_URL: {refused}") from refused
    return around.model_copy(
        update={"github_api_url": api_url, "playbooks_url": url or around.playbooks_url}
    )
