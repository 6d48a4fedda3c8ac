from __future__ import annotations

import pytest

from app.core.slide_errors import SlideResolutionError
from app.core.slide_limits import DEFAULT_SLIDE_LIMITS
from app.slides.reading.resolution import number, ome_resolution, resolve


def _ome(attributes: str) -> str:
    return f'<OME><Image Name="Doe"><Pixels SizeX="9" {attributes} SizeC="3"><Channel/></Pixels>'


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('PhysicalSizeX="0.5" PhysicalSizeY="0.25"', (0.5, 0.25)),  # um unless stated
        ('PhysicalSizeXUnit="nm" PhysicalSizeX="250" PhysicalSizeY="0.25"', (0.25, 0.25)),
        (
            'PhysicalSizeX="0.5" PhysicalSizeXUnit="µm" PhysicalSizeY="0.5" '
            'PhysicalSizeYUnit="&#181;m"',
            (0.5, 0.5),
        ),
        ('PhysicalSizeX="5e-4" PhysicalSizeXUnit="mm" PhysicalSizeY="0.5"', (0.5, 0.5)),
        ('PhysicalSizeX="0.5"', None),
        ('PhysicalSizeX="0.5" PhysicalSizeY="-1"', None),
        ('PhysicalSizeX="0.5" PhysicalSizeY="nan"', None),
        ('PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1"', None),
        ("", None),
    ],
)
def test_ome_states_micrometres(attributes: str, expected: tuple[float, float] | None) -> None:
    found = ome_resolution(_ome(attributes))
    assert found == (None if expected is None else pytest.approx(expected))


def test_ome_without_pixels_states_nothing() -> None:
    assert ome_resolution('<OME PhysicalSizeX="1" PhysicalSizeY="1"/>') is None


@pytest.mark.parametrize("text", [None, "", "0", "-0.5", "inf", "nan", "0,5", "Doe"])
def test_number_is_positive_and_finite(text: str | None) -> None:
    assert number(text) is None


def test_resolution_is_the_mean_of_both_axes() -> None:
    found = resolve((0.5, 0.52), None, DEFAULT_SLIDE_LIMITS)
    assert found.mpp == pytest.approx(0.51)
    assert found.source == "file"


def test_resolution_of_the_caller_wins_over_an_implausible_one() -> None:
    found = resolve((352.8, 1.0), 0.5, DEFAULT_SLIDE_LIMITS)
    assert (found.mpp, found.source) == (0.5, "caller")


def test_axes_that_differ_by_more_than_a_twentieth_are_refused() -> None:
    resolve((0.5, 0.524), None, DEFAULT_SLIDE_LIMITS)
    with pytest.raises(SlideResolutionError, match=r"0\.5 um per pixel across and 0\.526 down"):
        resolve((0.5, 0.526), None, DEFAULT_SLIDE_LIMITS)
