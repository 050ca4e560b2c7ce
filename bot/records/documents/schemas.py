"""The published description of every artifact."""

from __future__ import annotations

from typing import Any

from bot.canary.report import RampReport, ShadowDiffReport
from bot.records.documents.artifacts import RevertReport
from bot.records.documents.bisect_report import BisectReport
from bot.records.documents.rollback_report import RollbackReport
from bot.records.documents.spec_report import SpecReport

REPORTS = (
    RevertReport,
    BisectReport,
    RollbackReport,
    ShadowDiffReport,
    RampReport,
    SpecReport,
)


def published_schemas() -> dict[str, dict[str, Any]]:
    """Describe every artifact in JSON Schema, by the name its `schema` field carries."""
    return {
        model.model_fields["schema_"].default: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **model.model_json_schema(mode="serialization"),
        }
        for model in REPORTS
    }
