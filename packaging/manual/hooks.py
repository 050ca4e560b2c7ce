"""What MkDocs does besides: pages made from the code, and a site that any server may show.

The site is served under the cockpit's content security policy, which allows neither scripts inside
a page nor pictures inside a stylesheet. So both become files of their own.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

HERE = Path(__file__).resolve().parent

_INLINE = re.compile(r"<script>(.+?)</script>", re.DOTALL)
_PICTURE = re.compile(r"""url\((["'])data:image/svg\+xml;charset=utf-8,(.+?)\1\)""", re.DOTALL)
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+[A-Za-z][^)]*\)")
"""A link to a file of the repository that is no document."""

_NOT_NEEDED = ("*.map", "*.gz", "assets/javascripts/lunr", "sitemap.xml")
_scripts: dict[str, str] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    from mkdocs.structure.files import File

    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    from reference import pages

    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Name files that are not part of the site without a link."""
    here = Path(config.docs_dir, page.file.src_uri).parent
    docs = Path(config.docs_dir).resolve()

    def unlinked(found: re.Match[str]) -> str:
        target = (here / found[0].rpartition("(")[2].rstrip(")").partition("#")[0]).resolve()
        return found[0] if target.is_relative_to(docs) else found[1]

    return _OUTSIDE.sub(unlinked, markdown)


def on_post_page(output: str, *, page: Page, **_: object) -> str:
    """Move each script inside the page to a file."""

    def moved(found: re.Match[str]) -> str:
        name = f"assets/inline/{hashlib.sha256(found[1].encode()).hexdigest()[:12]}.js"
        _scripts[name] = found[1]
        depth = page.url.count("/") if page.url != "./" else 0
        return f'<script src="{"../" * depth}{name}"></script>'

    return _INLINE.sub(moved, output)


def on_post_build(config: MkDocsConfig) -> None:
    """Write those scripts, take pictures out of stylesheets, leave out what nobody asks for."""
    site = Path(config.site_dir)
    for name, text in _scripts.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")
    for sheet in site.rglob("*.css"):
        sheet.write_text(_PICTURE.sub(_into_file(sheet.parent), sheet.read_text("utf-8")), "utf-8")
    (site / "404.html").unlink(missing_ok=True)
    for each in (found for pattern in _NOT_NEEDED for found in [*site.rglob(pattern)]):
        shutil.rmtree(each) if each.is_dir() else each.unlink()


def _into_file(folder: Path) -> Callable[[re.Match[str]], str]:
    def moved(found: re.Match[str]) -> str:
        picture = unquote(found[2]).replace("\\'", "'")
        name = f"icons/{hashlib.sha256(picture.encode()).hexdigest()[:12]}.svg"
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(picture, encoding="utf-8")
        return f"url({name})"

    return moved
