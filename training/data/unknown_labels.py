"""Say which labels of a table or folder are unknown, and what to write into the configuration."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from training.console.plural import plural
from training.data.label_set import LabelSet
from training.data.labels import COLLECTION_LABELS
from training.data.tile_rules import Rule, TileProblem

_MOST: Final = 50
_UNFIT: Final = re.compile(r"[^a-z0-9]+")


def describe_unknown(
    problems: Sequence[TileProblem], labels: LabelSet, used: Collection[str]
) -> str:
    """The unknown labels among some problems with their counts, and the TOML; empty if none.

    Args:
        problems: of the tiles.
        labels: those of the configuration.
        used: ids of the labels that other tiles have.
    """
    counts: dict[str, int] = {}
    for problem in problems:
        if problem.rule is Rule.LABEL and problem.raw_label:
            counts[problem.raw_label] = counts.get(problem.raw_label, 0) + 1
    if not counts:
        return ""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} ({plural(n, 'tile')})" for name, n in ordered[:_MOST])
    return f"Unknown labels: {shown}. {labels_to_write(dict(ordered), labels, used)}"


def labels_to_write(words: Iterable[str], labels: LabelSet, used: Collection[str] = ()) -> str:
    """The lines of `[labels]` that make some words labels.

    Args:
        words: labels that the configuration lacks.
        labels: those of the configuration.
        used: ids of the labels that other tiles have.
    """
    is_default = labels == COLLECTION_LABELS
    kept = [label for label in labels.root if label.id in used] if is_default else []
    taken = {label.id for label in kept} if is_default else set(labels.ids)
    lines = [
        f"{label.id} = {{name = {_quoted(label.name)}, tumor = {str(label.tumor).lower()}, "
        f"aliases = [{', '.join(map(_quoted, label.aliases))}]}}"
        for label in kept
    ]
    for word in list(words)[:_MOST]:
        label_id = _id_of(word, taken)
        taken.add(label_id)
        lines.append(f"{label_id} = {{name = {_quoted(word)}, tumor = false}}")
    table = "\n".join(["[labels]", *lines])
    how = (
        "To train on them, write into the configuration (--config)"
        if is_default
        else "To train on them, add to [labels] of the configuration, or make them aliases"
    )
    return f"{how}, with tumor = true where it is so:\n{table}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a basic string of TOML, too


def _id_of(word: str, taken: set[str]) -> str:
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()
    slug = _UNFIT.sub("_", plain).strip("_")[:50]
    if not slug or not slug[0].isalpha():
        slug = f"label_{slug}".rstrip("_")
    number, found = 2, slug
    while found in taken:
        number, found = number + 1, f"{slug}_{number}"
    return found
