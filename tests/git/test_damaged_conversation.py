"""People are told nothing of a damaged mirror: it is mended, and the revert goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bot.git.integrity import loose_objects
from fakegithub.world.world import Event
from tests.shop import GOOD, Shop


def cut(file: Path, left: int) -> None:
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:left])


def cut_packs(path: Path) -> None:
    for file in list(path.glob("objects/pack/*.pack")):
        cut(file, 40)


def zero_packs(path: Path) -> None:
    for file in list(path.glob("objects/pack/*.pack")):
        size = file.stat().st_size
        cut(file, size // 2)
        file.write_bytes(file.read_bytes() + bytes(size - size // 2))


def lose_packs(path: Path) -> None:
    for file in list(path.glob("objects/pack/pack-*")):
        file.unlink(missing_ok=True)


def empty_loose_objects(path: Path) -> None:
    for file in list(loose_objects(path)):
        cut(file, 0)


def lose_refs(path: Path) -> None:
    (path / "packed-refs").unlink(missing_ok=True)


@pytest.mark.sampled("cut_packs")
@pytest.mark.parametrize(
    "damage", [cut_packs, zero_packs, lose_packs, empty_loose_objects, lose_refs]
)
async def test_a_revert_ends_well_though_its_mirror_is_damaged_again_and_again(
    shop: Shop, damage: Callable[[Path], None]
) -> None:
    broken = await shop.broken()
    path = shop.bot.settings.playbooks_data / "mirrors" / f"{shop.repository.id}.git"
    damaged: list[str] = []

    def strike(event: Event) -> None:
        # At each piece of news of the conversation; git may be at work just then.
        if event.repository is shop.repository and path.is_dir():
            damage(path)
            damaged.append(event.name)

    shop.github.world.listen(strike)
    try:
        answer = await shop.says(broken, "/revert")
        assert await answer.reaction() == "+1"
    finally:
        shop.github.world.listeners.remove(strike)
    assert len(damaged) > 5
    assert await shop.alice.file("shop.py") == GOOD
    [hotfix] = await shop.hotfixes()
    assert (await shop.alice.pull_request(hotfix["number"]))["merged"]
    [incident] = await shop.incidents()
    said = [*await shop.from_bot(broken), *await shop.from_bot(incident["number"])]
    assert not [body for body in said if "could not go on" in body or "damaged" in body]
