"""Reject an index: tiles that break a rule in strict mode, or no tiles at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from training.console.plural import plural
from training.data.index import Index
from training.data.label_set import LabelSet
from training.data.labels import COLLECTION_LABELS
from training.data.tile_rules import TileProblem
from training.data.unknown_labels import describe_unknown
from training.errors import DataError, TileProblemsError


def require_no_problems(
    problems: Sequence[TileProblem],
    labels: LabelSet = COLLECTION_LABELS,
    used: Collection[str] = (),
) -> None:
    """Strict mode: reject tiles with problems.

    Args:
        problems: the rules that tiles break.
        labels: those of the configuration.
        used: ids of the labels that other tiles have.

    Raises:
        TileProblemsError: there are problems; the message lists them, and unknown labels.
    """
    if problems:
        raise TileProblemsError(problems, describe_unknown(problems, labels, used))


def require_tiles(index: Index, problems: Sequence[TileProblem]) -> None:
    """Reject an index without tiles.

    Raises:
        DataError: no tile is left; the message says why.
    """
    if index.tiles:
        return
    if not problems:
        raise DataError(
            "No tile is left for the index: every tile is mixed, and mixed_tiles is "
            f"{index.mixed_tiles!r}."
        )
    counts = Counter(problem.rule for problem in problems)
    reasons = "".join(
        f"\n  {plural(n, 'tile')}, such as {next(p for p in problems if p.rule is rule)}"
        for rule, n in counts.most_common()
    )
    unknown = describe_unknown(problems, index.label_set, ())
    raise DataError(
        f"No tile is left for the index; every one breaks a rule:{reasons}"
        + (f"\n{unknown}" if unknown else "")
    )
