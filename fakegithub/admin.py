"""What an administrator does by hand: accounts, Apps, installations, repositories."""

from __future__ import annotations

from collections.abc import Mapping

from fakegithub.access import credentials
from fakegithub.changes import pushes
from fakegithub.git.bare import BareRepository, Signature
from fakegithub.shapes import apps, repositories
from fakegithub.world.model import FakeApp, FakeInstallation, FakeLabel, FakeRepository, FakeUser
from fakegithub.world.world import World

_LABELS = {"bug": "d73a4a", "documentation": "0075ca", "enhancement": "a2eeef"}


def create_user(
    world: World, login: str, *, organization: bool = False, name: str | None = None
) -> FakeUser:
    """Make an account with a token."""
    user = FakeUser(world.new_id(), login, "Organization" if organization else "User", name=name)
    if not organization:
        user.token = world.new_secret("ghp_")
        world.user_tokens[user.token] = user
    world.users[login.lower()] = user
    return user


def create_app(
    world: World,
    slug: str,
    owner: FakeUser,
    permissions: dict[str, str],
    events: list[str],
    webhook_url: str | None,
    secret: str | None,
) -> FakeApp:
    """Register an App and its bot user."""
    private, public = credentials.new_key_pair()
    bot = FakeUser(world.new_id(), f"{slug}[bot]", "Bot")
    world.users[bot.login.lower()] = bot
    permissions = {"metadata": "read", **permissions}
    app = FakeApp(
        world.new_id(), slug, slug.replace("-", " ").title(), owner, bot, permissions, events,
        private, public, world.new_secret("Iv1."), world.new_secret(""), world.now(),
        webhook_url, secret,
    )  # fmt: skip
    world.apps[app.id] = app
    return app


def install(
    world: World, app: FakeApp, account: FakeUser, chosen: list[FakeRepository] | None
) -> FakeInstallation:
    """Install an App and send it `installation.created`."""
    installation = FakeInstallation(
        world.new_id(), app, account, dict(app.permissions), list(app.events), world.now(),
        None if chosen is None else {r.id for r in chosen},
    )  # fmt: skip
    world.installations[installation.id] = installation
    visible = [r for r in world.repositories.values() if installation in world.installations_on(r)]
    listed = ("id", "node_id", "name", "full_name", "private")
    short = [{k: repositories.present_minimal(world, r)[k] for k in listed} for r in visible]
    world.emit(
        "installation", "created",
        {"installation": apps.present_installation(world, installation), "repositories": short,
         "requester": None},
        sender=account, installation=installation, only_app=app,
    )  # fmt: skip
    return installation


def suspend(world: World, installation: FakeInstallation) -> None:
    """Suspend an installation and tell its App."""
    installation.suspended_at = world.now()
    shape = apps.present_installation(world, installation)
    world.emit(
        "installation", "suspend", {"installation": shape, "repositories": []},
        sender=installation.account, installation=installation, only_app=installation.app,
    )  # fmt: skip


def create_repository(
    world: World,
    owner: FakeUser,
    name: str,
    files: Mapping[str, bytes | str] | None,
    *,
    default_branch: str,
    private: bool,
) -> FakeRepository:
    """Make a repository; its first commit is the owner's."""
    identity, now = world.new_id(), world.now()
    git = BareRepository.create(world.root / f"{identity}.git", default_branch)
    repository = FakeRepository(
        identity, owner, name, git, now, now, now, default_branch, private=private
    )
    world.repositories[identity] = repository
    for label, color in _LABELS.items():
        repository.labels[label] = FakeLabel(world.new_id(), label, color, default=True)
    if files:
        commit(world, repository, files, "Initial commit", default_branch, owner)
    return repository


def commit(
    world: World,
    repository: FakeRepository,
    files: Mapping[str, bytes | str | None],
    message: str,
    branch: str | None,
    author: FakeUser | None,
) -> str:
    """Add a commit to a branch (begun at the default branch if new) as if `author` pushed it."""
    git, user = repository.git, author or repository.owner
    branch = branch or repository.default_branch
    parent = git.branch(branch) or git.branch(repository.default_branch)
    entries: dict[str, tuple[str, str] | None] = {}
    for path, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        entries[path] = None if data is None else ("100644", git.write("blob", data))
    tree = git.write_tree(git.commit(parent).tree if parent else None, entries)
    who = Signature(user.name or user.login, user.email, world.now())
    sha = git.write_commit(tree, [parent] if parent else [], message, who)
    pushes.push(world, repository, f"refs/heads/{branch}", sha, user)
    return sha
