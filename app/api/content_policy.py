"""Content Security Policies (CSP level 3): what a browser may load and run in an answer."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

NOTHING: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""For answers to programs."""
_INLINE: Final = {
    "script-src": re.compile(r"<script>(.*?)</script>", re.DOTALL),
    "style-src": re.compile(r"<style>(.*?)</style>", re.DOTALL),
}


def policy_of_page(html: str, **sources: str) -> str:
    """A policy that allows the inline scripts and styles of a page, by their hash.

    Args:
        html: the page.
        sources: further sources by directive, such as `connect_src="'self'"`.
    """
    allowed = {name.replace("_", "-"): [value] for name, value in sources.items()}
    for directive, pattern in _INLINE.items():
        for content in pattern.findall(html):
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            if "'unsafe-inline'" not in " ".join(allowed.get(directive, ())):
                allowed.setdefault(directive, []).append(f"'sha256-{digest}'")
    return "; ".join([NOTHING, *(f"{name} {' '.join(found)}" for name, found in allowed.items())])
