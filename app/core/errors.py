"""Every error this project raises on purpose.

OsteoError
├── TileError                    the uploaded tile cannot be classified (in `tile_errors`)
│   ├── EmptyTileError           no bytes at all
│   ├── TileTooLargeError        more bytes than `limit_bytes`
│   ├── TooManyPixelsError       more pixels than `limit_pixels`; nothing was decoded
│   ├── TileTooSmallError        a side shorter than `limit_px`
│   ├── TooManyFramesError       an animation, a pyramid or a multi-page file (`content`)
│   ├── TileFormatError          not one of `formats`
│   ├── TooManySegmentsError     more than `limit_segments` chunks, segments, strips or tiles
│   ├── DecodeBudgetError        decoding takes more time or memory than the settings allow
│   ├── TooManyScansError        a progressive JPEG crafted to take minutes to decode
│   ├── PixelFormatError         a kind of pixels (`mode`) that is not read
│   ├── TextTileError            a form field with text where a file belongs
│   └── CorruptTileError         damaged or incomplete image data
├── RequestError                 the request around the tiles is wrong (some in `header_errors`)
│   ├── MalformedRequestError    the body cannot be parsed
│   ├── MissingTileError         no tile in the expected `field`; `fields` are those that came
│   ├── MediaTypeError           the body is announced as `media_type`, not as one of `accepted`
│   ├── ContentCodingError       the body is compressed with `coding`, not with one of `accepted`
│   ├── RequestIdError           the request's id does not match `pattern`
│   ├── OriginDeniedError        a page of this origin may not use the service
│   ├── TooManyTilesError        more tiles than `limit_tiles`
│   ├── BodyTooLargeError        more bytes than `limit_bytes`
│   ├── UnknownLabelError        the model has no such label; `labels` are those it has
│   ├── InvalidUploadError       headers of a slide's upload are wrong (in `slide_store_errors`)
│   ├── TusVersionError          the client speaks another version of tus (the same)
│   ├── SlidePathError           no slide at a path beneath a mount (the same)
│   └── UploadTimeoutError       the body did not arrive within `limit_s`
│       └── SlowUploadError      it arrived more slowly than `min_bytes_per_s` for `limit_s`
├── UnavailableError             the service cannot answer now
│   ├── NotReadyError            no model is loaded, or the service is draining
│   ├── QueueFullError           `limit_tiles` tiles or `limit_s` of work are in flight
│   ├── UploadsFullError         uploads hold `limit_bytes` of memory
│   ├── DeadlineError            not classified within `limit_s`
│   ├── RateLimitedError         the caller has used up a `limit` (in `access_errors`)
│   ├── IdentityProviderError    the key of a token cannot be fetched (in `access_errors`)
│   ├── AuditUnavailableError    the answer cannot be recorded (in `access_errors`)
│   ├── JobsUnavailableError     the database of jobs does not answer (in `slide_errors`)
│   │   └── JobsDiskFullError    because its disk is full
│   ├── TooManyJobsError         `limit_jobs` jobs wait (in `slide_store_errors`)
│   ├── SlideStoreUnavailableError  the folder of slides cannot be used (the same)
│   ├── TooManyUploadsError      `limit_uploads` slides are being uploaded (in
│   │                            `slide_store_errors`)
│   ├── TooManyStreamsError      `limit_streams` streams of events are open (the same)
│   ├── ReadersBusyError         `limit_requests` wait for pixels of slides (the same)
│   └── OutOfMemoryError         the service has too little memory for the tile
├── AccessError                  the caller is refused (in `access_errors`)
│   ├── UnauthenticatedError     it is not known who calls, for a `reason`
│   │   ├── CredentialsMissingError  no key, token or certificate
│   │   └── CredentialsInvalidError  a wrong one
│   └── ScopeMissingError        the caller does not have the `scope`
├── SlideError                   a whole slide cannot be used (in `slide_errors`)
│   ├── SlideFormatError         not a slide, or a kind that is not read (`reason`)
│   ├── CorruptSlideError        damaged or incomplete (`reason`)
│   ├── SlideTooLargeError       more than `limit` of a `unit`
│   ├── SlideResolutionError     no micrometres per pixel, or no plausible ones
│   ├── SlideChangedError        the file changed during the work
│   ├── SpecimenError            slides that cannot be summed (`reason`)
│   └── SlideArchiveError        the DICOMweb server cannot deliver it (`reason`)
│       └── SeriesNotFoundError  the server does not have the series
├── SlideStoreError              a slide cannot be stored, found or worked on (in
│   │                            `slide_store_errors`)
│   ├── SlidesFullError          the quota of `limit_bytes` does not have the room
│   ├── DiskFullError            the disk does not have it
│   ├── UploadNotFoundError      no such upload
│   ├── UploadBusyError          another request uses the upload
│   ├── UploadOffsetError        data begins at `offset`, not at the `expected` one
│   ├── UploadTooLongError       more data than the upload's `length` announces
│   ├── UploadChecksumError      data differs from its checksum
│   ├── UploadIncompleteError    an upload has `offset` of `length` bytes
│   ├── SlideNotFoundError       no such slide
│   ├── SlideInUseError          `jobs` work on the slide
│   ├── SlideExistsError         the slide is stored with another `mpp`
│   ├── SlideReaderError         the process that reads slides died or took too long
│   ├── ZoomTileNotFoundError    a deep zoom picture has no such tile
│   ├── JobNotFoundError         no such job
│   ├── JobStateError            the job is in another `state`
│   └── ResultNotFoundError      the job has only these `results`
├── ExtraMissingError            an optional package is not installed (`extra`; in `slide_errors`)
├── ExplanationUnavailableError  the evidence map of this tile shows nothing
├── ModelNotFoundError           no such model or version
│   └── NoPreviousVersionError   there is no version to roll back to
├── ActivationError              a version was not activated; the previous one keeps serving
├── InferenceError               the model returned NaN or infinity, or failed
├── BundleError                  a model bundle failed verification (in `bundle_errors`)
│   ├── BundleNotFoundError      no bundle at the expected path
│   ├── UntrustedBundleError     not the pinned bundle, or not signed with the public key
│   ├── ManifestError            manifest.json or golden/expected.json is wrong
│   ├── ChecksumError            a file differs from the released one
│   └── GoldenTileError          the model's answers to its golden tiles differ from the release
├── RuntimeUnavailableError      the requested runtime is not installed or has no device
├── SettingsError                a setting is misspelt or out of range
└── TrainingError                training input or configuration is wrong (see `training`)

Errors carry a stable `code` and data, so that callers need not parse the message. Nothing here
knows HTTP: `app.api.problems` maps codes to statuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self


class OsteoError(Exception):
    """Root of all errors raised on purpose; `str()` of one is safe to show to a client.

    Attributes:
        code: identifies the kind of error in answers, logs and metrics. Errors that a request
            should never cause keep the default.
    """

    code: ClassVar[str] = "internal-error"

    def __init_subclass__(cls, *, code: str | None = None) -> None:
        super().__init_subclass__()
        if code is not None:
            cls.code = code

    def detached(self) -> Self:
        """The error without its traceback, whose frames hold the decoder and its pixels."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle text and data: the constructors take other arguments than the text."""
        return _rebuild, (type(self), str(self), vars(self))


def _rebuild(cls: type[OsteoError], text: str, data: dict[str, object]) -> OsteoError:
    error = cls.__new__(cls, text)
    error.args = (text,)
    vars(error).update(data)
    return error


class TileError(OsteoError):
    """The uploaded tile cannot be classified."""


class RequestError(OsteoError):
    """The request around the tiles is wrong."""


class MalformedRequestError(RequestError, code="malformed-request"):
    """The body cannot be parsed."""


class MissingTileError(RequestError, code="missing-tile"):
    def __init__(self, field: str, fields: Sequence[str] = ()) -> None:
        self.field, self.fields = field, tuple(fields)
        noun = "field" if len(fields) == 1 else "fields"
        came = f" The form has the {noun} {', '.join(map(repr, fields))}." if fields else ""
        super().__init__(
            f"No tile was sent.{came} Send one as multipart field {field!r} "
            f"(curl -F {field}=@tile.jpg)."
        )


class TooManyTilesError(RequestError, code="too-many-tiles"):
    def __init__(self, limit_tiles: int) -> None:
        self.limit_tiles = limit_tiles
        super().__init__(f"The request holds more than {counted(limit_tiles, 'tile')}.")


class BodyTooLargeError(RequestError, code="body-too-large"):
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"The request body is larger than {limit_bytes} bytes.")


class UnknownLabelError(RequestError, code="unknown-label"):
    def __init__(self, label: str, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        super().__init__(
            f"The model has no label {label!r}; its labels are {', '.join(self.labels)}."
        )


class UploadTimeoutError(RequestError, code="upload-timeout"):
    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(f"The request body did not arrive within {limit_s:g} s.")


class SlowUploadError(UploadTimeoutError):
    def __init__(self, min_bytes_per_s: int, limit_s: float) -> None:
        super().__init__(limit_s)
        self.min_bytes_per_s = min_bytes_per_s
        self.args = (
            f"The request body arrived more slowly than {min_bytes_per_s} bytes per second for "
            f"{limit_s:g} s.",
        )


class UnavailableError(OsteoError):
    """The service cannot answer now; the same request may succeed later."""


class NotReadyError(UnavailableError, code="not-ready"):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The service is not ready: {reason.rstrip('.')}.")


class QueueFullError(UnavailableError, code="queue-full"):
    def __init__(self, limit_tiles: int, limit_s: float, retry_after_s: int) -> None:
        self.limit_tiles, self.limit_s, self.retry_after_s = limit_tiles, limit_s, retry_after_s
        super().__init__(
            f"The queue is full: at most {counted(limit_tiles, 'tile')} may be in flight, and "
            f"{limit_s:g} s of work. Try again in {retry_after_s} s."
        )


class UploadsFullError(UnavailableError, code="uploads-full"):
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.retry_after_s = limit_bytes, 1
        super().__init__(
            f"Uploads in progress may hold at most {limit_bytes} bytes. "
            f"Try again in {self.retry_after_s} s."
        )


class DeadlineError(UnavailableError, code="deadline-exceeded"):
    def __init__(self, limit_s: float) -> None:
        self.limit_s, self.retry_after_s = limit_s, 1
        super().__init__(
            f"The request could not be answered within {limit_s:g} s and was cancelled."
        )


class OutOfMemoryError(UnavailableError, code="out-of-memory"):
    def __init__(self) -> None:
        self.retry_after_s = 1
        super().__init__(
            "The service has too little free memory to process the tile. "
            f"Try again in {self.retry_after_s} s."
        )


class ExplanationUnavailableError(OsteoError, code="explanation-unavailable"):
    def __init__(self, label: str, reason: str) -> None:
        self.label, self.reason = label, reason
        super().__init__(f"There is no explanation to draw: {reason}.")


class ActivationError(OsteoError, code="activation-refused"):
    def __init__(self, model_version: str, reason: str) -> None:
        self.model_version, self.reason = model_version, reason
        super().__init__(f"Version {model_version} was not activated: {reason}")


class ModelNotFoundError(OsteoError, code="model-not-found"):
    def __init__(
        self, model_name: str, model_version: str | None = None, message: str | None = None
    ) -> None:
        self.model_name, self.model_version = model_name, model_version
        version = f" version {model_version!r}" if model_version is not None else ""
        super().__init__(message or f"Model {model_name!r}{version} was not found.")


class NoPreviousVersionError(ModelNotFoundError):
    def __init__(self, model_name: str) -> None:
        super().__init__(model_name, message="No previous version to roll back to.")


class InferenceError(OsteoError, code="inference-failed"):
    """The model returned NaN or infinity, or failed."""


class RuntimeUnavailableError(OsteoError):
    def __init__(self, runtime: str, reason: str) -> None:
        self.runtime = runtime
        super().__init__(f"Runtime {runtime!r} cannot be used: {reason}")


class SettingsError(OsteoError):
    """A setting is misspelt or out of range."""


class TrainingError(OsteoError):
    """Training input or configuration is wrong; raised before hours are spent."""


def counted(number: int, noun: str) -> str:
    """A number and its noun, such as 1 scan or 3 scans."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
