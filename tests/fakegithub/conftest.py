"""Who acts on the demo GitHub under test besides people."""

from __future__ import annotations

import pytest

from demo.person import Person
from fakegithub.world.model import FakeInstallation
from tests.people import People


@pytest.fixture
def bot(people: People, installation: FakeInstallation) -> Person:
    """The App itself, acting with an installation token."""
    return people.installed(installation)
