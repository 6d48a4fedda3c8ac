from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest

from app.cli.report.reasons import REASONS
from app.cli.report.spool import Spool
from app.core.markup import Html, fill, joined
from app.core.review import ReviewReason


def test_fill_escapes_values_unless_they_are_html() -> None:
    value = "<b a='1' b=\"2\">&$x"
    assert fill("$x", x=value) == "&lt;b a=&#x27;1&#x27; b=&quot;2&quot;&gt;&amp;$x"
    assert fill("$x", x=Html(value)) == value
    assert fill("<$x>", x=joined([fill("$y", y="&"), Html("&")])) == "<&amp;&>"


def test_fill_refuses_a_template_with_a_name_that_has_no_value() -> None:
    with pytest.raises(KeyError):
        fill("$x $y", x=1)


def test_every_reason_has_a_sentence_of_its_own() -> None:
    assert set(REASONS) == set(ReviewReason)
    assert len(set(REASONS.values())) == len(ReviewReason)


def test_spool_reads_the_lowest_key_first_and_keeps_the_order_of_equals() -> None:
    spool, output = Spool(io.BytesIO()), io.BytesIO()
    for key, piece in ((-0.2, "c"), (-1.0, "ä"), (-0.2, "d"), (-1.0, "b"), (0.0, "")):
        spool.add(key, piece)
    spool.copy_to(output)
    assert output.getvalue().decode() == "äbcd"


def test_spool_keeps_pieces_on_disk(tmp_path: Path) -> None:
    piece = "x" * 100_000
    with (tmp_path / "spool").open("w+b") as stream, (tmp_path / "page").open("wb") as page:
        spool = Spool(stream)
        tracemalloc.start()
        for number in range(200):
            spool.add(-number, piece)
        spool.copy_to(page)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert page.tell() == 200 * len(piece)
    assert peak < 10 * len(piece)
