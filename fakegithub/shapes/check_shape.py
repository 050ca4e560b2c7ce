"""Check-runs as the REST API and webhooks show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakegithub.shapes import apps, suite_shape
from fakegithub.shapes.repositories import api_url, html_url
from fakegithub.world.model import FakeCheckRun, FakeRepository
from fakegithub.world.world import World, node_id, timestamp

_OUTPUT = ("title", "summary", "text")


def present(world: World, repository: FakeRepository, run: FakeCheckRun) -> dict[str, Any]:
    """A check-run as the REST API and webhooks show it.

    Args:
        world: gives the address that links begin with, and the open pull requests.
        repository: the one that has the commit.
        run: the check-run that is shown.
    """
    url = f"{api_url(world, repository)}/check-runs/{run.id}"
    page = f"{html_url(world, repository)}/runs/{run.id}"
    return {
        "id": run.id,
        "name": run.name,
        "node_id": node_id("CheckRun", run.id),
        "head_sha": run.head_sha,
        "external_id": run.external_id,
        "url": url,
        "html_url": page,
        "details_url": run.details_url or page,
        "status": run.status,
        "conclusion": run.conclusion,
        "started_at": timestamp(run.started_at),
        "completed_at": timestamp(run.completed_at) if run.completed_at else None,
        "output": {
            **{field: run.output.get(field) for field in _OUTPUT},
            "annotations_count": len(run.annotations),
            "annotations_url": f"{url}/annotations",
        },
        "check_suite": suite_shape.present_simple(world, repository, run.suite),
        "app": apps.present_app(world, run.app),
        "pull_requests": suite_shape.pulls_at(world, repository, run.head_sha),
    }


def present_annotation(
    world: World, repository: FakeRepository, run: FakeCheckRun, annotation: Mapping[str, Any]
) -> dict[str, Any]:
    """What a check says about some lines of a file.

    Args:
        world: gives the address that links begin with.
        repository: the one that has the file.
        run: the check-run that says it, on its commit.
        annotation: the fields as they were reported; optional ones may be missing.
    """
    path = str(annotation["path"])
    optional = ("start_column", "end_column", "title", "raw_details")
    return {
        "path": path,
        "blob_href": f"{html_url(world, repository)}/blob/{run.head_sha}/{path}",
        "start_line": annotation["start_line"],
        "end_line": annotation["end_line"],
        "annotation_level": annotation["annotation_level"],
        "message": annotation["message"],
        **{field: annotation.get(field) for field in optional},
    }
