"""Callers without a stored secret: tokens that an issuer really signs, and really publishes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bot.intake.http import oidc
from bot.intake.http.auth import ApiToken, Callers, read_tokens
from bot.intake.http.oidc import WorkflowPolicy, WorkflowTokens, issuer_of
from bot.intake.http.problems import HttpProblem, as_problem
from bot.triggers import Repository, Role

NOW = 1_800_000_000
AUDIENCE = "https://playbooks.example"
APP = Repository(id=71, owner="acme", name="app", installation_id=3)
HEAL = "acme/app/.github/workflows/heal.yml@refs/heads/main"


@dataclass
class Issuer:
    """Makes tokens as GitHub does, and publishes its keys over HTTP."""

    keys: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict)
    asked: int = 0
    url: str = ""

    def new_key(self, kid: str) -> None:
        self.keys = {kid: rsa.generate_private_key(public_exponent=65537, key_size=2048)}

    async def published(self, request: web.Request) -> web.Response:
        del request
        self.asked += 1
        found = [
            json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
            | {"kid": kid, "use": "sig", "alg": "RS256"}
            for kid, key in self.keys.items()
        ]
        return web.json_response({"keys": found})

    def claims(self, **other: Any) -> dict[str, Any]:
        given = {
            "iss": self.url, "aud": AUDIENCE, "exp": NOW + 300, "nbf": NOW - 5, "iat": NOW,
            "sub": "repo:acme/app:ref:refs/heads/main", "repository": "acme/app",
            "repository_id": "71", "event_name": "push", "ref": "refs/heads/main",
            "job_workflow_ref": "acme/app/.github/workflows/evals.yml@refs/heads/main",
        }  # fmt: skip
        return {name: value for name, value in (given | other).items() if value is not ...}

    def token(self, kid: str = "one", header: dict[str, Any] | None = None, **other: Any) -> str:
        headers = {"kid": kid} | (header or {})
        return jwt.encode(self.claims(**other), self.keys["one" if kid not in self.keys else kid],
                          "RS256", headers=headers)  # fmt: skip


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    issuer.new_key("one")
    app = web.Application()
    app.router.add_get("/.well-known/jwks", issuer.published)
    async with TestServer(app) as server:
        issuer.url = str(server.make_url("")).rstrip("/")
        yield issuer


class Served:
    async def served(self) -> tuple[Repository, ...]:
        return (APP,)


def reader(issuer: Issuer, *, audience: str | None = AUDIENCE) -> WorkflowTokens:
    async def policy(_: Repository) -> WorkflowPolicy:
        return WorkflowPolicy("main", (HEAL,))

    return WorkflowTokens(
        issuer=issuer.url, audience=audience, repositories=Served(), policy_of=policy,
        clock=lambda: datetime.fromtimestamp(NOW, UTC),
    )  # fmt: skip


async def refused(tokens: WorkflowTokens, token: str) -> HttpProblem:
    with pytest.raises(HttpProblem) as found:
        await tokens(token)
    return found.value


async def test_a_workflow_reports_and_one_that_is_named_acts(issuer: Issuer) -> None:
    tokens = reader(issuer)
    reporter = await tokens(issuer.token())
    assert (reporter.name, reporter.role, reporter.repository_id) == (
        "actions.evals.yml", Role.TRIAGE, 71,
    )  # fmt: skip
    actor = await tokens(issuer.token(job_workflow_ref=HEAL))
    assert (actor.name, actor.role, actor.unnamed) == ("actions.heal.yml", Role.WRITE, None)
    assert actor.may_see(APP)
    assert not actor.may_see(APP.model_copy(update={"id": 72}))


MISSING = ...
WRONG: list[tuple[str, Any, int]] = [
    ("iss", "https://token.actions.githubusercontent.com", 401),
    ("iss", MISSING, 401),
    ("aud", "https://github.com/acme", 401),
    ("aud", [AUDIENCE, "https://elsewhere.example"], 401),
    ("aud", MISSING, 401),
    ("exp", NOW - 60, 401),
    ("exp", MISSING, 401),
    ("exp", True, 401),
    ("exp", float("inf"), 401),
    ("nbf", NOW + 600, 401),
    ("nbf", MISSING, 401),
    ("iat", NOW + 600, 401),
    ("repository_id", "72", 403),
    ("repository_id", MISSING, 403),
    ("event_name", "pull_request", 403),
    ("event_name", "pull_request_target", 403),
    ("event_name", "pull_request_review_comment", 403),
    ("event_name", MISSING, 403),
    ("ref", "refs/heads/feature", 403),
    ("ref", "refs/tags/main", 403),
    ("ref", "main", 403),
    ("ref", MISSING, 403),
    ("job_workflow_ref", MISSING, 403),
]


@pytest.mark.parametrize(("claim", "value", "status"), WRONG)
async def test_a_wrong_claim_is_refused_and_named(
    issuer: Issuer, claim: str, value: Any, status: int
) -> None:
    problem = await refused(reader(issuer), issuer.token(**{claim: value}))
    assert problem.status == status
    assert [each.field for each in problem.fields] == [claim]
    assert f"refused: {claim} " in str(problem)


async def test_a_forged_token_is_refused_and_says_what_of_it(issuer: Issuer) -> None:
    tokens = reader(issuer)
    stranger = Issuer(url=issuer.url)
    stranger.new_key("one")
    public = issuer.keys["one"].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    good = issuer.token()
    head, _, rest = good.partition(".")
    elliptic = ec.generate_private_key(ec.SECP256R1())
    # Signed with the public key as a shared secret: the classic confusion of algorithms.
    confused = jwt.api_jws.PyJWS()
    confused._algorithms["HS256"].prepare_key = lambda key: key  # type: ignore[method-assign]
    forged = {
        "signature": [
            stranger.token(),
            f"{head}.{jwt.encode(issuer.claims(ref='x'), 'k' * 32).split('.')[1]}."
            + rest.partition(".")[2],
            good[:-8] + "AAAAAAAA",
        ],
        "alg": [
            confused.encode(json.dumps(issuer.claims()).encode(), pem, "HS256", {"kid": "one"}),
            jwt.encode(issuer.claims(), "", "none", headers={"kid": "one"}),
            jwt.encode(issuer.claims(), elliptic, "ES256", headers={"kid": "one"}),
            jwt.encode(issuer.claims(), issuer.keys["one"], "PS256", headers={"kid": "one"}),
        ],
        "kid": [
            issuer.token("unknown"),
            jwt.encode(issuer.claims(), issuer.keys["one"], "RS256"),
        ],
        "token": ["eyJ.eyJ.eyJ", "eyJ9.." + "a" * 100],
    }
    for field_, those in forged.items():
        for each in those:
            problem = await refused(tokens, each)
            assert (problem.status, problem.fields[0].field) == (401, field_), str(problem)
    assert (await tokens(good)).role is Role.TRIAGE


async def test_keys_are_read_once_and_rotated_ones_found_at_most_every_half_minute(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = reader(issuer)
    for _ in range(5):
        await tokens(issuer.token())
    assert issuer.asked == 1
    issuer.new_key("two")
    # Anybody can ask for keys that do not exist: that costs the issuer nothing.
    for _ in range(5):
        assert (await refused(tokens, issuer.token("two"))).fields[0].field == "kid"
    assert issuer.asked == 1
    monkeypatch.setattr(tokens._keys._client, "cooldown_duration", 0.0)
    assert (await tokens(issuer.token("two"))).name == "actions.evals.yml"
    assert issuer.asked == 2


async def test_an_issuer_that_is_away_is_waited_for_and_not_stormed(issuer: Issuer) -> None:
    token = issuer.token()
    issuer.url = "http://127.0.0.1:9"
    tokens = reader(issuer)
    for _ in range(3):
        assert (await refused(tokens, token)).status == 503
    assert tokens._keys._away_until > 0


async def test_without_a_public_address_it_says_what_to_set(issuer: Issuer) -> None:
    problem = await refused(reader(issuer, audience=None), issuer.token())
    assert (problem.status, "PLAYBOOKS_URL" in str(problem)) == (401, True)


async def test_what_needs_more_than_a_report_names_the_setting(issuer: Issuer) -> None:
    callers = Callers(read_tokens([]), Served(), reader(issuer))

    async def act(request: web.Request) -> web.StreamResponse:
        return web.json_response((await callers.caller(request, Role.WRITE)).name)

    async def report(request: web.Request) -> web.StreamResponse:
        found: ApiToken = await callers.caller(request, Role.WRITE, is_report=True)
        return web.json_response(found.name)

    app = web.Application(middlewares=[as_problem])
    app.router.add_post("/act", act)
    app.router.add_post("/report", report)
    async with TestServer(app) as server:
        import aiohttp

        async with aiohttp.ClientSession(server.make_url("/")) as http:

            async def post(path: str, token: str) -> tuple[int, str]:
                headers = {"Authorization": f"Bearer {token}"}
                async with http.post(path, headers=headers) as answer:
                    return answer.status, await answer.text()

            assert await post("/report", issuer.token()) == (200, '"actions.evals.yml"')
            status, said = await post("/act", issuer.token())
            assert status == 403
            assert "callers.workflows" in said
            assert "evals.yml@refs/heads/main" in said
            token = issuer.token(job_workflow_ref=HEAL)
            assert await post("/act", token) == (200, '"actions.heal.yml"')


@pytest.mark.parametrize(
    ("web_url", "issuer"),
    [
        ("https://github.com", "https://token.actions.githubusercontent.com"),
        ("https://octo.ghe.com", "https://token.actions.octo.ghe.com"),
        ("https://git.acme.example", "https://git.acme.example/_services/token"),
    ],
)
def test_each_github_has_its_issuer(web_url: str, issuer: str) -> None:
    assert issuer_of(web_url) == issuer


def test_the_leeway_is_short() -> None:
    assert oidc.LEEWAY_S <= 60
