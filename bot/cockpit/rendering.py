"""From a template and values to a page, and the headers that keep a page from doing harm."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from bot.cockpit import measures, text, words
from bot.playbooks.stored_steps import label_of

ROOT = "/ui"
"""Every address of the cockpit is below this one."""

_HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Forms of ours must say where they come from; nobody else gets to know.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Static:
    """The few files that every page needs, read once; their address changes with their bytes."""

    def __init__(self) -> None:
        """Read them."""
        files = sorted((_HERE / "static").iterdir())
        self._files = {each.name: each.read_bytes() for each in files if each.suffix in _TYPES}

    def address(self, name: str) -> str:
        """Where a page finds the file."""
        digest = hashlib.sha256(self._files[name]).hexdigest()[:12]
        return f"{ROOT}/static/{name}?v={digest}"

    def response(self, name: str) -> web.Response | None:
        """The file; None if there is none of this name."""
        content = self._files.get(name)
        if content is None:
            return None
        headers = HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}
        kind = _TYPES[Path(name).suffix]
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)


class Templates:
    """The pages' templates. A name a template does not get is an error, never an empty place."""

    def __init__(self) -> None:
        """Prepare; nothing is read before it is needed."""
        self.static = Static()

    @cached_property
    def _environment(self) -> jinja2.Environment:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        environment.filters |= {
            "say": text.say,
            "plain": text.plain,
            "html": text.html_of,
            "inline": text.inline_of,
            "duration": text.duration,
            "metric_name": measures.name_of,
            "percent": text.percent,
            "number": text.number,
        }
        environment.globals |= {
            "static": self.static.address,
            "root": ROOT,
            "against": measures.against,
            "chain_said": words.chain_said,
            "clock": text.clock,
            "difference": measures.difference,
            "doing": words.doing,
            "metric_value": measures.value,
            "proof": measures.share,
            "ref_said": words.ref_said,
            "sign_of_harm": measures.sign_of_harm,
            "stage_names": words.STAGES,
            "stage_of": words.stage_of,
            "step_label": label_of,
            "undo_said": words.undo_said,
            "waits_for": words.waits_for,
        }
        return environment

    def render(self, name: str, values: dict[str, Any]) -> str:
        """Fill the template of this name."""
        return self._environment.get_template(name).render(values)
