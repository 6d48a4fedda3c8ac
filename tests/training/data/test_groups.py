from __future__ import annotations

from training.data.groups import Groups
from training.data.index import Index


def test_groups_number_slides_and_cases_in_the_order_of_the_index(drawn_index: Index) -> None:
    groups = Groups.of(drawn_index)
    for numbers, names in (
        (groups.slides, [tile.slide for tile in drawn_index.tiles]),
        (groups.cases, [tile.case for tile in drawn_index.tiles]),
    ):
        assert sorted(set(numbers.tolist())) == list(range(len(set(names))))
        assert len(set(zip(numbers.tolist(), names, strict=True))) == len(set(names))
