"""The page at `/`: a person types a task and sees the candidates, their scores and verdicts side by side.

The page, its style and its two scripts come from this server; it asks nothing of any other. Candidates are untrusted
text: they only ever become text nodes, and the content security policy lets no inline script run and no text become
markup, as in the report, whose highlighter and element builder it shares.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rewardranker.execution.languages import LANGUAGES
from rewardranker.report.packing import grammar

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response

FOLDER = Path(__file__).parent
REPORT = Path(__file__).parents[2] / "report" / "web"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def mount(api: FastAPI) -> None:
    """Add the page and its files to the server's routes."""
    for path, (kind, text) in files().items():
        api.add_api_route(path, _route(kind, text), methods=["GET"], include_in_schema=False)


def files() -> dict[str, tuple[str, str]]:
    """Media type and text of everything the page consists of, by path."""
    grammars = sorted({grammar(language.name) for language in LANGUAGES})
    highlighter = [REPORT / "vendor" / "highlight" / f"{name}.js" for name in ("core", *grammars)]
    own = [REPORT / "elements.js", REPORT / "source.js", FOLDER / "page.js"]
    return {
        "/": ("text/html", _page()),
        "/page/style.css": ("text/css", (FOLDER / "style.css").read_text(encoding="utf-8")),
        "/page/highlight.js": ("text/javascript", _joined(path for path in highlighter if path.is_file())),
        "/page/page.js": ("text/javascript", _joined(own)),
        "/favicon.ico": ("image/svg+xml", (FOLDER / "icon.svg").read_text(encoding="utf-8")),
    }


def _page() -> str:
    """The page with the languages that the judge knows, each with the name of its highlighting."""
    options = "".join(
        f'<option value="{html.escape(one.name)}" data-grammar="{html.escape(grammar(one.name))}">'
        f"{html.escape(one.title)}</option>"
        for one in LANGUAGES
    )
    return (FOLDER / "page.html").read_text(encoding="utf-8").replace("{{ languages }}", options)


def _joined(paths: Iterable[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _route(kind: str, text: str) -> Callable[[], Awaitable[Response]]:
    from starlette.responses import Response  # FastAPI stands on it, so it is there whenever a server is

    async def answer() -> Response:
        return Response(text, media_type=kind, headers=HEADERS)

    return answer
