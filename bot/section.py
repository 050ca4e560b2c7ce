"""What every section of the configuration is: immutable, and strict about unknown keys."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


def _inside_repository(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value or "\0" in value:
        raise ValueError("must be a path inside the repository, without '..'")
    return str(path).strip("/")


RepositoryPath = Annotated[str, AfterValidator(_inside_repository)]


class Section(BaseModel):
    """One section of `.github/playbooks.yml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
