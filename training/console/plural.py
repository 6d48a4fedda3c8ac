"""Counts that agree with their nouns."""

from __future__ import annotations


def plural(n: int, noun: str) -> str:
    """`1 fold`, `3 folds`, `0 tiles`: for nouns that take an s."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
