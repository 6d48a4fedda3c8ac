"""Why a slide cannot be read or classified; `app.core.errors` shows the whole tree."""

from __future__ import annotations

from app.core.errors import OsteoError, UnavailableError


class SlideError(OsteoError):
    """The slide cannot be used."""


class SlideFormatError(SlideError, code="unsupported-slide"):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The file cannot be used as a slide: {reason}")


class CorruptSlideError(SlideError, code="corrupt-slide"):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The slide is damaged or incomplete: {reason}")


class SlideTooLargeError(SlideError, code="slide-too-large"):
    def __init__(self, found: int, limit: int, unit: str) -> None:
        self.found, self.limit, self.unit = found, limit, unit
        super().__init__(f"The slide has {found:,} {unit}; at most {limit:,} are accepted.")


class SlideResolutionError(SlideError, code="slide-resolution"):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"The resolution of the slide is unknown: {reason} State it in micrometres per pixel "
            "(`mpp`), as the scanner's settings or its log say."
        )


class SlideChangedError(SlideError, code="slide-changed"):
    def __init__(self) -> None:
        super().__init__("The file of the slide changed while it was being classified.")


class JobsUnavailableError(UnavailableError, code="jobs-unavailable"):
    def __init__(self, reason: str) -> None:
        # The reason may name machines and folders, so it is for the log.
        self.reason, self.retry_after_s = reason, 5
        super().__init__(
            "Jobs cannot be read or stored now, because their database does not answer. "
            f"Try again in {self.retry_after_s} s."
        )


class JobsDiskFullError(JobsUnavailableError):
    """Its code is that of its parent: it is told as a full disk where something is to be stored."""


class SpecimenError(SlideError, code="specimen-mixed"):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The slides cannot be summed: {reason}")


class SlideArchiveError(SlideError, code="slide-archive"):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The slide cannot be fetched from the DICOMweb server: {reason}")


class SeriesNotFoundError(SlideArchiveError, code="series-not-found"):
    def __init__(self) -> None:
        super().__init__("it has no such series of whole slide images.")


class ExtraMissingError(OsteoError, code="extra-missing"):
    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        super().__init__(
            f"{what} needs packages that are not installed: pip install 'osteo-tiles[{extra}]'"
        )
