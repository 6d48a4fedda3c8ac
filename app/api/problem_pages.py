"""The pages that the `type` of a problem points to; their text is `docs/problems.md`.

`problems.md` beside this module links to it, and a wheel contains the text itself.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from app.api.content_policy import policy_of_page
from app.api.problems import TYPE_PREFIX

_HEADING: Final = re.compile(r"^## `([a-z0-9-]+)` \(\d{3}\)$", re.MULTILINE)
_PAGE_LINK: Final = re.compile(r"\[([\w.-]+\.md)\]\([^)]*\)")  # to a page that is not served
_HTML: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ max-width: 42em; margin: 2em auto; padding: 0 1em; font-family: sans-serif }}</style>
{body}<p><a href="/docs">All routes</a></p>
</html>
"""


@functools.cache
def problem_pages() -> dict[str, str]:
    """The section of `docs/problems.md` about each problem, as Markdown, by the problem's code."""
    text = resources.files("app.api").joinpath("problems.md").read_text("utf-8")
    text = _PAGE_LINK.sub(r"`docs/\1`", text)
    _, *parts = _HEADING.split(text)
    headings = _HEADING.finditer(text)
    codes_and_sections = zip(headings, parts[1::2], strict=True)
    return {found[1]: f"{found[0]}{section.rstrip()}\n" for found, section in codes_and_sections}


def build_router() -> APIRouter:
    """The route of the pages; people open it, so the OpenAPI document does not list it."""
    router = APIRouter(include_in_schema=False)

    @router.get(TYPE_PREFIX + "{code}")
    async def problem_page(request: Request, code: str) -> Response:
        """HTML for browsers, else Markdown."""
        page = problem_pages().get(code)
        if page is None:
            raise HTTPException(404)
        if "text/html" in request.headers.get("accept", ""):
            html = _as_html(code, page)
            policy = {"Content-Security-Policy": policy_of_page(html)}
            response: Response = HTMLResponse(html, headers=policy)
        else:
            response = Response(page, media_type="text/markdown")
        response.headers.add_vary_header("Accept")
        return response

    return router


def _as_html(code: str, page: str) -> str:
    from markdown_it import MarkdownIt

    return _HTML.format(title=code, body=MarkdownIt("commonmark", {"html": False}).render(page))
