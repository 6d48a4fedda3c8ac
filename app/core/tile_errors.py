"""Why an uploaded tile cannot be classified; `app.core.errors` shows the whole tree."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.errors import TileError, counted


class EmptyTileError(TileError, code="empty-tile"):
    def __init__(self) -> None:
        super().__init__("The tile is empty: 0 bytes were received.")


class TextTileError(TileError, code="text-instead-of-file"):
    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(
            f"The form field {field!r} contains text and has no file name. Did you forget the @? "
            f"(curl -F {field}=@tile.jpg)"
        )


class TileTooLargeError(TileError, code="tile-too-large"):
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"The tile is larger than {limit_bytes} bytes.")


class TooManyPixelsError(TileError, code="too-many-pixels"):
    def __init__(self, limit_pixels: int) -> None:
        self.limit_pixels = limit_pixels
        super().__init__(
            f"The image has more than {limit_pixels} pixels. Send one tile, not a whole slide."
        )


class TileTooSmallError(TileError, code="tile-too-small"):
    def __init__(self, width_px: int, height_px: int, limit_px: int) -> None:
        self.width_px, self.height_px, self.limit_px = width_px, height_px, limit_px
        super().__init__(
            f"The image is {width_px} x {height_px} px; each side must be at least {limit_px} px."
        )


class TooManyFramesError(TileError, code="too-many-frames"):
    def __init__(self, limit_frames: int, content: str = "an animation") -> None:
        self.limit_frames, self.content = limit_frames, content
        super().__init__(
            f"The file holds {content}, but a tile is {counted(limit_frames, 'image')}. Save the "
            "image to be classified as a file of its own. From a slide, cut tiles."
        )


class TileFormatError(TileError, code="unsupported-format"):
    def __init__(self, formats: Sequence[str]) -> None:
        self.formats = tuple(formats)
        super().__init__(
            f"The content is not an image in a supported format ({', '.join(self.formats)})."
        )


class PixelFormatError(TileError, code="unsupported-pixels"):
    def __init__(self, what: str) -> None:
        self.mode = what
        super().__init__(
            f"Images of this kind are not supported: {what}. Save the image as an ordinary JPEG, "
            "PNG or TIFF of 8 or 16 bits per channel."
        )


class TooManyScansError(TileError, code="too-many-scans"):
    def __init__(self, limit_scans: int) -> None:
        self.limit_scans = limit_scans
        super().__init__(
            f"The JPEG has more than {counted(limit_scans, 'scan')}, and each scan is a pass over "
            "the image. Save it again as an ordinary JPEG."
        )


class TooManySegmentsError(TileError, code="too-many-segments"):
    def __init__(self, format_: str, limit_segments: int) -> None:
        self.format, self.limit_segments = format_, limit_segments
        super().__init__(
            f"The {format_} is made of more than {limit_segments} pieces. Save it again as an "
            "ordinary JPEG or PNG."
        )


class DecodeBudgetError(TileError, code="decode-budget"):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"The image costs too much to decode: {reason}. Save it again as an ordinary JPEG or "
            "PNG."
        )


class CorruptTileError(TileError, code="corrupt-tile"):
    def __init__(self, format_: str | None = None) -> None:
        self.format = format_
        what = f"{format_} image" if format_ else "image"
        super().__init__(f"The {what} is damaged or incomplete and cannot be decoded.")
