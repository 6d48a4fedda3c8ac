"""Whatever bytes of a slide are changed: it is read, or refused with an error of the project.

In a process of its own, since a fault in OpenSlide's library would end it.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import tifffile

from tests.forking import ForkedProcess
from tests.slides.drawn_slides import Drawing, draw_slide

SMALL: Final = Drawing(columns=1, rows=1, mpp=2.0, tissue=1.0, non_tumor=0.0, quality=40)
_MODULES: Final = ("hypothesis", "hypothesis.strategies", "app.slides.opening")
_PROGRAM: Final = """
import sys
from contextlib import closing
from pathlib import Path
from hypothesis import given, settings, strategies as st
from app.core.errors import OsteoError
from app.slides.opening import open_slide

path, n_examples, *ranges = sys.argv[1:]
content = Path(path).read_bytes()
changed = Path(path).with_suffix(".changed")
begins = [range(*map(int, part.split("-"))) for part in ranges]
place = st.one_of(*map(st.sampled_from, begins), st.integers(0, len(content) - 1))
n_opened = 0

@settings(max_examples=int(n_examples), deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=4))
def read(flips):
    global n_opened
    data = bytearray(content)
    for at, byte in flips:
        data[at] = byte
    changed.write_bytes(data)
    try:
        with closing(open_slide(changed, allow_companions=False)) as source:
            n_opened += 1
            for location in ((0, 0), (300, 350)):
                try:
                    source.read_square(location, 256, 112)
                except OsteoError:
                    pass
            source.read_overview(64)
    except OsteoError:
        pass

read()
print(n_opened)
"""


@pytest.mark.parametrize("n_examples", [50, pytest.param(200, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    "drawing",
    [
        pytest.param(SMALL, id="generic"),
        pytest.param(replace(SMALL, kind="svs"), id="svs"),
        pytest.param(replace(SMALL, kind="ome"), id="ome"),
        pytest.param(replace(SMALL, compression="deflate"), id="deflate"),
    ],
)
def test_changed_bytes_are_read_or_refused(
    drawing: Drawing, n_examples: int, tmp_path: Path
) -> None:
    path = draw_slide(tmp_path / "slide.tif", drawing).path
    n_bytes = path.stat().st_size
    with tifffile.TiffFile(path) as file:
        directories = [0, *(page.offset for page in file.pages)]
    ranges = [f"{at}-{min(at + 300, n_bytes)}" for at in directories]
    pipe = subprocess.PIPE
    arguments = [str(path), str(n_examples), *ranges]
    process = ForkedProcess(arguments, modules=_MODULES, code=_PROGRAM, stdout=pipe, stderr=pipe)
    n_opened, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    assert 0 < int(n_opened) < n_examples
