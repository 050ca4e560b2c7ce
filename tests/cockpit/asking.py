"""Asking for something in the cockpit, plan first, and hearing what became of it."""

from __future__ import annotations

import re

from tests.cockpit.visitor import Page, Visitor
from tests.shop import Shop


async def start(visitor: Visitor, shop: Shop, line: str, because: str = "") -> Page:
    """Ask for a plan."""
    page = await visitor.get(f"/ui/start?repo={shop.name}")
    form = next(each for each in page.forms() if each["action"] == "/ui/plan")
    fields = {k: v for k, v in form.items() if k != "action"}
    return await visitor.post(
        "/ui/plan", fields | {"repo": shop.name, "line": line, "because": because}
    )


async def answered(visitor: Visitor, shop: Shop, page: Page) -> str:
    """Reload until the answer to a request is there; what it says."""

    async def look() -> str | None:
        now = await visitor.get(page.url.path_qs)
        found = re.search(r'id="answer">(.*?)</div>', now.text, re.DOTALL)
        said = re.sub(r"<[^>]+>", " ", found[1]) if found else ""
        is_over = "Done." in said or "not done" in said
        return " ".join(said.split()) if is_over else None

    return str(await shop.eventually(look))
