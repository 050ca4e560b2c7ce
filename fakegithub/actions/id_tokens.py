"""Tokens that tell others which workflow runs: GitHub's OpenID Connect provider.

Source: docs.github.com, "OpenID Connect reference". A job that has `id-token: write` is given an
address and a token of its own to ask there; any other job has neither, and is refused.
"""

from __future__ import annotations

import secrets
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from fakegithub.actions.workflow_runs import FakeWorkflowRun, Job
from fakegithub.world.world import World

ISSUER = "/_services/token"
"""Where it is, as on a GitHub Enterprise Server."""
_LIFE_S = 300


class IdTokens:
    """Signs for jobs, and publishes with which keys."""

    def __init__(self, world: World) -> None:
        """Prepare; a key is made when the first token or the list of keys is asked for."""
        self._world = world
        self._jobs: dict[str, tuple[FakeWorkflowRun, Job]] = {}
        self._keys: dict[str, RSAPrivateKey] = {}

    def rotate(self, *, forget: bool = False) -> None:
        """Sign with a new key from now on; the former ones stay published unless forgotten."""
        if forget:
            self._keys.clear()
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._keys[f"key-{len(self._keys) + 1}-{secrets.token_hex(4)}"] = key

    def environment(self, run: FakeWorkflowRun, job: Job) -> dict[str, str]:
        """What a job may ask with: nothing without the permission `id-token: write`."""
        if not job.spec.may_ask_for_tokens:
            return {}
        token = secrets.token_hex(20)
        self._jobs[token] = (run, job)
        url = f"{self._world.url}{ISSUER}/request?job={job.id}&api-version=2.0"
        return {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": token, "ACTIONS_ID_TOKEN_REQUEST_URL": url}

    def forget(self, job: Job) -> None:
        """Take back what a job that ended could ask with."""
        self._jobs = {token: (r, j) for token, (r, j) in self._jobs.items() if j is not job}

    def claims(self, run: FakeWorkflowRun, job: Job, audience: str) -> dict[str, Any]:
        """What is said of a job."""
        cause, repository = run.cause, run.repository
        now = int(self._world.now().timestamp())
        workflow = f"{repository.full_name}/{run.workflow.path}@{cause.ref}"
        return {
            "jti": secrets.token_hex(16), "iss": f"{self._world.url}{ISSUER}", "aud": audience,
            "iat": now, "nbf": now - 5, "exp": now + _LIFE_S,
            "sub": f"repo:{repository.full_name}:ref:{cause.ref}",
            "repository": repository.full_name, "repository_id": str(repository.id),
            "repository_owner": repository.owner.login,
            "repository_owner_id": str(repository.owner.id),
            "ref": cause.ref, "ref_type": "branch", "sha": cause.sha,
            "event_name": cause.event, "actor": cause.actor.login,
            "actor_id": str(cause.actor.id), "run_id": str(run.id),
            "run_number": str(run.number), "run_attempt": str(job.attempt),
            "workflow": run.workflow.name, "workflow_ref": workflow, "workflow_sha": cause.sha,
            "job_workflow_ref": workflow, "job_workflow_sha": cause.sha,
            "runner_environment": "github-hosted",
        }  # fmt: skip

    def signed(self, claims: dict[str, Any]) -> str:
        """Sign with the newest key."""
        if not self._keys:
            self.rotate()
        kid, key = list(self._keys.items())[-1]
        return jwt.encode(claims, key, "RS256", headers={"kid": kid})

    def routes(self) -> list[web.RouteDef]:
        """The provider's addresses."""
        return [
            web.get(f"{ISSUER}/.well-known/openid-configuration", self._configuration),
            web.get(f"{ISSUER}/.well-known/jwks", self._published),
            web.get(f"{ISSUER}/request", self._request),
        ]

    async def _configuration(self, request: web.Request) -> web.Response:
        del request
        issuer = f"{self._world.url}{ISSUER}"
        return web.json_response(
            {
                "issuer": issuer,
                "jwks_uri": f"{issuer}/.well-known/jwks",
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
            }
        )

    async def _published(self, request: web.Request) -> web.Response:
        del request
        if not self._keys:
            self.rotate()
        found = [
            jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
            | {"kid": kid, "use": "sig", "alg": "RS256"}
            for kid, key in self._keys.items()
        ]
        return web.json_response({"keys": found})

    async def _request(self, request: web.Request) -> web.Response:
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        run, job = self._jobs.get(token.strip(), (None, None))
        if run is None or job is None or request.query.get("job") != str(job.id):
            return web.json_response(
                {"message": "This job has no permission id-token: write."}, status=403
            )
        audience = (
            request.query.get("audience") or f"{self._world.url}/{run.repository.owner.login}"
        )
        value = self.signed(self.claims(run, job, audience))
        return web.json_response({"count": len(value), "value": value})
