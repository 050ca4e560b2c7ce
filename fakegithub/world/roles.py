"""What a person may do on one repository."""

from __future__ import annotations

from enum import StrEnum


class RoleName(StrEnum):
    """A role, weakest first, as GitHub's `role_name` spells it.

    https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user
    """

    NONE = "none"
    READ = "read"
    TRIAGE = "triage"
    WRITE = "write"
    MAINTAIN = "maintain"
    ADMIN = "admin"

    def at_least(self, other: RoleName) -> bool:
        """Tell whether this role includes every right of `other`."""
        order = list(RoleName)
        return order.index(self) >= order.index(other)
