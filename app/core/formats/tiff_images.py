"""How many images a TIFF holds, and what the further ones are: a pyramid, a thumbnail, pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.core.formats import tiff_tags as t
from app.core.formats.ifd import Tags, first_directory, read_directory
from app.core.formats.tiff_samples import one
from app.core.tile_errors import TooManyFramesError

MAX_IMAGES: Final = 100
"""Counted, not read. A file with more is refused all the same."""
_MAX_SUB_IFDS: Final = 1024
_WANTED: Final = frozenset({
    *(t.WIDTH, t.HEIGHT, t.NEW_SUBFILE_TYPE, t.SUBFILE_TYPE, t.SUB_IFDS),
})  # fmt: skip
_REDUCED_BIT, _MASK_BIT = 1, 4
_OLD_REDUCED: Final = 2
_ASPECT_TOLERANCE: Final = 0.03
"""Levels of a pyramid are rounded to whole pixels, and some writers pad them to whole tiles."""

PYRAMID: Final = "a pyramid"
PREVIEW: Final = (
    "a picture with a smaller copy of it, such as a thumbnail or the level of a pyramid"
)
MASK: Final = "a picture and a mask of it"
PREVIEW_FIRST: Final = "a preview, and behind it the picture itself"
PAGES: Final = "a multi-page file"


@dataclass(frozen=True, slots=True)
class _Image:
    width_px: int
    height_px: int
    is_reduced: bool
    is_mask: bool

    def is_copy_of(self, other: _Image) -> bool:
        """Whether it is marked as a smaller copy, or has the shape of one."""
        scale = self.width_px / other.width_px
        difference_px = abs(self.height_px - other.height_px * scale)
        has_its_shape = difference_px <= 2 + _ASPECT_TOLERANCE * self.height_px
        return self.is_reduced or (self.width_px < other.width_px and has_its_shape)


def require_one_image(tiff: bytes) -> None:
    """Refuse a file that holds several images.

    Args:
        tiff: begins with a TIFF header.

    Raises:
        TooManyFramesError: it says how many images there are, and what they look like.
        ValueError: a directory is damaged.
        CorruptTileError: an image has no width or height.
    """
    images = _read_images(tiff)
    if len(images) > 1:
        raise TooManyFramesError(1, _found(images))


def _read_images(tiff: bytes) -> list[_Image]:
    """The images of the chain of directories, and those below them (SubIFDs)."""
    images: list[_Image] = []
    places = [first_directory(tiff)]
    seen: set[int] = set()
    while places and len(images) <= MAX_IMAGES:
        place = places.pop(0)
        if place in seen:
            continue
        seen.add(place)
        tags, next_place = read_directory(tiff, _WANTED, _MAX_SUB_IFDS, place)
        images.append(_image(tags))
        places += [at for at in (next_place, *tags.get(t.SUB_IFDS, ())) if at]
    return images


def _image(tags: Tags) -> _Image:
    kind = one(tags, t.NEW_SUBFILE_TYPE, 0)
    is_reduced = bool(kind & _REDUCED_BIT) or one(tags, t.SUBFILE_TYPE, 0) == _OLD_REDUCED
    return _Image(
        max(1, one(tags, t.WIDTH)), max(1, one(tags, t.HEIGHT)), is_reduced, bool(kind & _MASK_BIT)
    )


def _found(images: list[_Image]) -> str:
    first, *others = images
    n_images = f"{len(images)} images" if len(images) <= MAX_IMAGES else f"over {MAX_IMAGES} images"
    copies = [image for image in others if image.is_copy_of(first)]
    if first.is_reduced:
        kind = PREVIEW_FIRST
    elif any(image.is_mask for image in others):
        kind = MASK
    elif len(copies) > 1:
        kind = PYRAMID
    elif copies and len(others) == 1:
        kind = PREVIEW
    else:
        kind = PAGES
    return f"{n_images}: {kind}"
