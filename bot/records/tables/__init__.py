"""The tables, as SQLAlchemy Core sees them. `migrations/` creates them; a test holds both equal.

Ids are lower-case ULIDs, times UTC, and every aggregate has a `version`. Everything here works the
same on SQLite and PostgreSQL. JSON is `json` and not `jsonb`, which refuses some Unicode.

A new room is named here, so that migrations know its tables.
"""

from bot.records.tables import intake, recovery, safety, traffic
from bot.records.tables.columns import metadata

__all__ = ["intake", "metadata", "recovery", "safety", "traffic"]
