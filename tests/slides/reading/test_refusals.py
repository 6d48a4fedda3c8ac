"""What is no slide is refused before a pixel is read, with a reason, and in little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from app.core.slide_errors import (
    CorruptSlideError,
    ExtraMissingError,
    SlideFormatError,
    SlideResolutionError,
    SlideTooLargeError,
)
from app.core.slide_limits import SlideLimits
from app.slides.opening import open_slide
from app.slides.reading import openslide_library
from app.slides.reading.openslide_library import load_openslide
from tests.conftest import REPOSITORY
from tests.encoders import jpeg
from tests.slides.reading.bad_slides import REFUSED, tiled

_MAX_BYTES: Final = 64 * 1024**2
_PROGRAM: Final = """
import json, resource, sys
from pathlib import Path
from app.core.errors import OsteoError
from app.slides.opening import open_slide

max_bytes, good, *paths = sys.argv[1:]
open_slide(Path(good)).close()
n_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (n_bytes + int(max_bytes),) * 2)
answers = []
for path in paths:
    try:
        open_slide(Path(path), allow_companions=False).close()
        answers.append(("opened", ""))
    except OsteoError as error:
        answers.append((error.code, str(error)))
print(json.dumps(answers))
"""

Answers = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What a process of little memory answers to each file."""
    folder = tmp_path_factory.mktemp("bad")
    paths = []
    for name, (make, _, _) in REFUSED.items():
        paths.append(folder / f"{name}.svs")
        paths[-1].write_bytes(make(folder))
    good = folder / "good.tif"
    good.write_bytes(tiled(512, 512, jpeg(256)))
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(_MAX_BYTES), str(good), *map(str, paths)],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    )
    assert not run.stderr
    return dict(zip(REFUSED, map(tuple, json.loads(run.stdout)), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize("name", REFUSED)
def test_file_is_refused_with_a_reason(name: str, answers: Answers) -> None:
    _, code, reason = REFUSED[name]
    assert answers[name][0] == code
    assert reason in answers[name][1]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_reason_names_no_file(answers: Answers) -> None:
    assert not [reason for _, reason in answers.values() if ".svs" in reason or "/" in reason]


def test_folder_without_slide_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    with pytest.raises(SlideFormatError):
        open_slide(tmp_path)


def test_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_slide(tmp_path / "none.svs")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.svs")
    with pytest.raises(SlideFormatError, match="neither a file nor a folder"):
        open_slide(tmp_path / "pipe.svs")


def test_limit_on_pixels_is_the_callers(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(tiled(512, 512, jpeg(256)))
    open_slide(path, limits=SlideLimits(max_pixels=512 * 512)).close()
    with pytest.raises(SlideTooLargeError, match="262,144 pixels; at most 262,143"):
        open_slide(path, limits=SlideLimits(max_pixels=512 * 512 - 1))


def test_format_of_several_files_is_refused_from_strangers(tmp_path: Path) -> None:
    """A key file of Hamamatsu names the pictures, of which others may be anybody's."""
    path = tmp_path / "slide.vms"
    names = ("ImageFile", "MacroImage", "MapFile", "OptimisationFile")
    lines = ["NoLayers=1", "NoJpegColumns=1", "NoJpegRows=1", *(f"{n}=other" for n in names)]
    path.write_text("\n".join(["[Virtual Microscope Specimen]", *lines]))
    with pytest.raises(SlideFormatError, match="formats of several files"):
        open_slide(path, allow_companions=False)
    with pytest.raises(CorruptSlideError):  # opened, and then the others are missing
        open_slide(path)


def test_old_openslide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_openslide(), "__library_version__", "4.0.0")
    with pytest.raises(ExtraMissingError, match=r"4\.0\.0 has known vulnerabilities.*4\.0\.1"):
        load_openslide()


def test_missing_openslide_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(ExtraMissingError, match=r"^Reading whole slides needs .*\[slides\]"):
        openslide_library.load_openslide()


@pytest.mark.parametrize("mpp", [0.0, -1.0, 0.09, 2.1, 352.8, float("nan"), float("inf")])
def test_implausible_resolution_of_the_caller_is_refused(mpp: float, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(tiled(512, 512, jpeg(256)))
    with pytest.raises(SlideResolutionError, match="were given"):
        open_slide(path, mpp)
