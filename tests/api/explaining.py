"""A tile, a picture that is not tissue, and a request to explain one."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from training.data.drawn_tiles import draw_tile, encode_tile

DRAWN = draw_tile("viable_tumor", 512, 0)


TISSUE = encode_tile(DRAWN)


PHOTOGRAPH = encode_tile(DRAWN[..., (1, 0, 2)])  # colours that the stain does not have


def explain(assessed: TestClient, content: bytes = TISSUE, **query: Any) -> Any:
    return assessed.post("/v1/explain", content=content, params=query)


def explain_grid(assessed: TestClient, content: bytes = TISSUE, **query: Any) -> Any:
    return assessed.post("/v1/explain/grid", content=content, params=query)
