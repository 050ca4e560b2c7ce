"""Who asks, what an App may do by its permissions, and which repositories the caller sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fakegithub.world.model import FakeApp, FakeInstallation, FakeUser


@dataclass(frozen=True)
class Caller:
    """Who asks: an App by JWT, an installation by token, a person by token, or nobody."""

    kind: Literal["app", "installation", "person", "nobody"]
    user: FakeUser | None = None
    app: FakeApp | None = None
    installation: FakeInstallation | None = None
    permissions: Mapping[str, str] = field(default_factory=dict)
    repositories: frozenset[int] | None = None
    token: str = ""

    @property
    def rate_key(self) -> str:
        """Whose rate limit this request counts against."""
        if self.installation is not None:
            return f"installation:{self.installation.id}"
        return f"{self.kind}:{self.user.login if self.user else self.app.id if self.app else ''}"

    def may(self, permission: str) -> bool:
        """Tell whether an installation token carries `name=level`, or any of `a=x; b=y`."""
        order = ["", "read", "write", "admin"]
        for wanted in permission.split(";"):
            name, _, level = wanted.strip().partition("=")
            held = self.permissions.get(name, "")
            if order.index(held) >= order.index(level):
                return True
        return False
