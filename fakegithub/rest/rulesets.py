"""Rulesets and classic branch protection. https://docs.github.com/rest/repos/rules."""

from __future__ import annotations

from typing import Any

from fakegithub.access.answers import Answer, RequestRefused, invalid, not_found
from fakegithub.rest.calls import Call, Routes
from fakegithub.rules import requirements
from fakegithub.shapes import apps, users
from fakegithub.shapes.repositories import api_url, html_url
from fakegithub.world.model import FakeRepository, Protection, Ruleset
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World, node_id, timestamp

routes = Routes()

_REPOSITORY = "/repos/{owner}/{repo}"
_RULESETS = f"{_REPOSITORY}/rulesets"
_PROTECTION = f"{_REPOSITORY}/branches/{{branch:.+}}/protection"


_SELL = "Upgrade to GitHub Pro or make this repository public to enable this feature."


def _require_plan(call: Call) -> None:
    """Refuse rules and protection where the plan has none: a private repository, on Free.

    https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-protected-branches/about-protected-branches

    Raises:
        RequestRefused: 403.
    """
    if not call.repository.has_rules:
        raise RequestRefused(403, _SELL, docs="https://docs.github.com/rest/repos/rules")


def _require_rulesets(call: Call) -> None:
    """Refuse rulesets where there are none: by the plan, or before GHES 3.11.

    https://docs.github.com/enterprise-server@3.11/rest/repos/rules

    Raises:
        RequestRefused: 403 or 404.
    """
    if not call.repository.knows_since(3, 11):
        raise not_found()
    _require_plan(call)


# Rulesets


def add_ruleset(
    world: World,
    repository: FakeRepository,
    name: str,
    rules: list[dict[str, Any]],
    *,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    enforcement: str = "active",
    bypass_actors: list[dict[str, Any]] | None = None,
) -> Ruleset:
    """Give a repository a branch ruleset (by default for its default branch)."""
    now = world.now()
    ruleset = Ruleset(
        world.new_id(), name, enforcement, "branch", include or ["~DEFAULT_BRANCH"],
        exclude or [], rules, now, now, bypass_actors or [],
    )  # fmt: skip
    repository.rulesets[ruleset.id] = ruleset
    return ruleset


def _shape(call: Call, ruleset: Ruleset, *, whole: bool = True) -> dict[str, Any]:
    api = f"{api_url(call.world, call.repository)}/rulesets/{ruleset.id}"
    html = f"{html_url(call.world, call.repository)}/rules/{ruleset.id}"
    shape: dict[str, Any] = {
        "id": ruleset.id,
        "name": ruleset.name,
        "target": ruleset.target,
        "source_type": "Repository",
        "source": call.repository.full_name,
        "enforcement": ruleset.enforcement,
        "node_id": node_id("RepositoryRuleset", ruleset.id),
        "_links": {"self": {"href": api}, "html": {"href": html}},
        "created_at": timestamp(ruleset.created_at),
        "updated_at": timestamp(ruleset.updated_at),
    }
    if whole:
        shape |= {
            "conditions": {"ref_name": {"include": ruleset.include, "exclude": ruleset.exclude}},
            "rules": ruleset.rules,
            "current_user_can_bypass": "always" if _may_bypass(call, ruleset) else "never",
        }
        if call.role() is RoleName.ADMIN or call.caller.may("administration=write"):
            shape["bypass_actors"] = ruleset.bypass_actors
    return shape


def _may_bypass(call: Call, ruleset: Ruleset) -> bool:
    app = call.caller.app
    return app is not None and any(
        each.get("actor_type") == "Integration" and each.get("actor_id") == app.id
        for each in ruleset.bypass_actors
    )


def _named(call: Call) -> Ruleset:
    _require_rulesets(call)
    ruleset = call.repository.rulesets.get(call.number("ruleset_id"))
    if ruleset is None:
        raise not_found()
    return ruleset


@routes.get(_RULESETS, app="metadata=read")
def list_rulesets(call: Call) -> Answer:
    """Every ruleset, without its rules."""
    _require_rulesets(call)
    return call.page([_shape(call, x, whole=False) for x in call.repository.rulesets.values()])


@routes.post(_RULESETS, app="administration=write", person=RoleName.ADMIN)
def create_ruleset(call: Call) -> Answer:
    """A new ruleset."""
    _require_rulesets(call)
    body = call.body
    if not body.get("name") or body.get("enforcement") not in ("active", "disabled", "evaluate"):
        raise invalid("RepositoryRuleset", "enforcement")
    names = (body.get("conditions") or {}).get("ref_name") or {}
    ruleset = add_ruleset(
        call.world, call.repository, str(body["name"]), list(body.get("rules") or []),
        include=names.get("include"), exclude=names.get("exclude"),
        enforcement=body["enforcement"], bypass_actors=body.get("bypass_actors"),
    )  # fmt: skip
    return Answer(201, _shape(call, ruleset))


@routes.get(f"{_RULESETS}/{{ruleset_id}}", app="metadata=read")
def get_ruleset(call: Call) -> Answer:
    """One ruleset; who may bypass it is shown to administrators only."""
    return Answer(200, _shape(call, _named(call)))


@routes.put(f"{_RULESETS}/{{ruleset_id}}", app="administration=write", person=RoleName.ADMIN)
def update_ruleset(call: Call) -> Answer:
    """Change a ruleset."""
    ruleset, body = _named(call), call.body
    names = (body.get("conditions") or {}).get("ref_name") or {}
    ruleset.name = str(body.get("name", ruleset.name))
    ruleset.enforcement = body.get("enforcement", ruleset.enforcement)
    ruleset.rules = body.get("rules", ruleset.rules)
    ruleset.include = names.get("include", ruleset.include)
    ruleset.exclude = names.get("exclude", ruleset.exclude)
    ruleset.bypass_actors = body.get("bypass_actors", ruleset.bypass_actors)
    ruleset.updated_at = call.world.now()
    return Answer(200, _shape(call, ruleset))


@routes.delete(f"{_RULESETS}/{{ruleset_id}}", app="administration=write", person=RoleName.ADMIN)
def delete_ruleset(call: Call) -> Answer:
    """Remove a ruleset."""
    call.repository.rulesets.pop(_named(call).id)
    return Answer(204)


@routes.get(f"{_REPOSITORY}/rules/branches/{{branch:.+}}", app="metadata=read")
def get_branch_rules(call: Call) -> Answer:
    """Active rules that apply to a branch, whether it exists or not; no bypass is considered."""
    _require_rulesets(call)
    found = requirements.active_rules(call.repository, call.params["branch"])
    return call.page([
        {
            **rule, "ruleset_id": ruleset.id, "ruleset_source_type": "Repository",
            "ruleset_source": call.repository.full_name,
        }
        for ruleset, rule in found
    ])  # fmt: skip


# Classic protection


def branch_protection(repository: FakeRepository, branch: str) -> dict[str, Any]:
    """The short form inside a branch."""
    protection = requirements.protection_of(repository, branch)
    checks = (protection.checks if protection else None) or []
    everyone = protection is not None and protection.enforce_admins
    level = "off" if not checks else "everyone" if everyone else "non_admins"
    return {
        "enabled": protection is not None,
        "required_status_checks": {
            "enforcement_level": level,
            "contexts": [name for name, _ in checks],
            "checks": [{"context": name, "app_id": app} for name, app in checks],
        },
    }


def _flag(enabled: bool) -> dict[str, bool]:
    return {"enabled": enabled}


def _whole(call: Call, branch: str, protection: Protection) -> dict[str, Any]:
    url = f"{api_url(call.world, call.repository)}/branches/{branch}/protection"
    shape: dict[str, Any] = {
        "url": url,
        "enforce_admins": {"url": f"{url}/enforce_admins", **_flag(protection.enforce_admins)},
        "required_signatures": {
            "url": f"{url}/required_signatures", **_flag(protection.signatures),
        },
        "required_linear_history": _flag(protection.linear_history),
        "allow_force_pushes": _flag(protection.allow_force_pushes),
        "allow_deletions": _flag(protection.allow_deletions),
        "block_creations": _flag(False),
        "required_conversation_resolution": _flag(protection.conversation_resolution),
        "lock_branch": _flag(protection.lock_branch),
        "allow_fork_syncing": _flag(False),
    }  # fmt: skip
    if protection.checks is not None:
        shape["required_status_checks"] = {
            "url": f"{url}/required_status_checks",
            "strict": protection.strict,
            "contexts": [name for name, _ in protection.checks],
            "contexts_url": f"{url}/required_status_checks/contexts",
            "checks": [{"context": name, "app_id": app} for name, app in protection.checks],
        }
    if protection.reviews is not None:
        shape["required_pull_request_reviews"] = {
            "url": f"{url}/required_pull_request_reviews",
            "dismiss_stale_reviews": protection.dismiss_stale_reviews,
            "require_code_owner_reviews": protection.code_owner_reviews,
            "required_approving_review_count": protection.reviews,
            "require_last_push_approval": protection.require_last_push_approval,
        }
    if protection.push_users is not None or protection.push_apps is not None:
        shape["restrictions"] = _restrictions(call, url, protection)
    return shape


def _restrictions(call: Call, url: str, protection: Protection) -> dict[str, Any]:
    people = [call.world.users[login.lower()] for login in protection.push_users or []]
    slugs = protection.push_apps or []
    may = [app for app in call.world.apps.values() if app.slug in slugs]
    return {
        "url": f"{url}/restrictions",
        "users_url": f"{url}/restrictions/users",
        "teams_url": f"{url}/restrictions/teams",
        "apps_url": f"{url}/restrictions/apps",
        "users": [users.present(call.world, user) for user in people],
        "teams": [],
        "apps": [apps.present_app(call.world, app) for app in may],
    }


@routes.get(_PROTECTION, app="administration=read", person=RoleName.ADMIN)
def get_protection(call: Call) -> Answer:
    """Classic protection of a branch."""
    _require_plan(call)
    branch = call.params["branch"]
    protection = requirements.protection_of(call.repository, branch)
    if call.repository.git.branch(branch) is None or protection is None:
        raise RequestRefused(404, "Branch not protected")
    return Answer(200, _whole(call, branch, protection))


@routes.put(_PROTECTION, app="administration=write", person=RoleName.ADMIN)
def set_protection(call: Call) -> Answer:
    """Protect a branch; the four main settings must be named, null turns one off."""
    _require_plan(call)
    body, branch = call.body, call.params["branch"]
    needed = ("required_status_checks", "enforce_admins", "required_pull_request_reviews",
              "restrictions")  # fmt: skip
    if any(name not in body for name in needed):
        raise RequestRefused(422, "Invalid request.")
    checks, reviews, limits = (body[needed[0]], body[needed[2]], body[needed[3]])
    protection = Protection(
        enforce_admins=bool(body["enforce_admins"]),
        linear_history=bool(body.get("required_linear_history")),
        allow_force_pushes=bool(body.get("allow_force_pushes")),
        allow_deletions=bool(body.get("allow_deletions")),
        lock_branch=bool(body.get("lock_branch")),
        conversation_resolution=bool(body.get("required_conversation_resolution")),
    )
    if checks is not None:
        listed = checks.get("checks") or [{"context": x} for x in checks.get("contexts") or []]
        protection.checks = [(check["context"], check.get("app_id")) for check in listed]
        protection.strict = bool(checks.get("strict"))
    if reviews is not None:
        protection.reviews = int(reviews.get("required_approving_review_count", 1))
        protection.dismiss_stale_reviews = bool(reviews.get("dismiss_stale_reviews"))
        protection.require_last_push_approval = bool(reviews.get("require_last_push_approval"))
        protection.code_owner_reviews = bool(reviews.get("require_code_owner_reviews"))
    if limits is not None:
        protection.push_users = list(limits.get("users") or [])
        protection.push_apps = list(limits.get("apps") or [])
    call.repository.protections[branch] = protection
    return Answer(200, _whole(call, branch, protection))


@routes.delete(_PROTECTION, app="administration=write", person=RoleName.ADMIN)
def delete_protection(call: Call) -> Answer:
    """Protect it no longer."""
    _require_plan(call)
    if call.repository.protections.pop(call.params["branch"], None) is None:
        raise RequestRefused(404, "Branch not protected")
    return Answer(204)
