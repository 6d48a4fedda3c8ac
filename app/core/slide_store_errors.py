"""Why a slide cannot be stored, found or worked on; `app.core.errors` shows the whole tree."""

from __future__ import annotations

from app.core.errors import OsteoError, RequestError, UnavailableError


class SlideStoreError(OsteoError):
    """The slides on disk do not allow what was asked."""


class SlidesFullError(SlideStoreError, code="slides-full"):
    def __init__(self, n_bytes: int, limit_bytes: int) -> None:
        self.n_bytes, self.limit_bytes = n_bytes, limit_bytes
        super().__init__(
            f"There is no room for {n_bytes:,} more bytes: slides and their results may use "
            f"{limit_bytes:,} bytes. Delete slides that are no longer needed, or raise "
            "OSTEO_SLIDES_QUOTA_BYTES."
        )


class DiskFullError(SlideStoreError, code="disk-full"):
    def __init__(self) -> None:
        super().__init__(
            "The disk on which slides are kept is full, and nothing was stored. Delete slides that "
            "are no longer needed, or give OSTEO_STATE_DIR a larger disk."
        )


class SlideStoreUnavailableError(UnavailableError, code="slide-store-unavailable"):
    def __init__(self) -> None:
        self.retry_after_s = 30
        super().__init__(
            "The folder of slides cannot be used now. An operator finds the reason in the log; "
            "OSTEO_STATE_DIR must be a folder that the service may write to."
        )


class UploadNotFoundError(SlideStoreError, code="upload-not-found"):
    def __init__(self) -> None:
        super().__init__(
            "There is no such upload: it has expired, was deleted, or has become a slide. Begin "
            "a new one with POST /v1/uploads; GET /v1/slides lists the slides."
        )


class UploadBusyError(SlideStoreError, code="upload-busy"):
    def __init__(self) -> None:
        super().__init__(
            "Another request is using the upload. Ask for its offset with HEAD, and try again."
        )


class UploadOffsetError(SlideStoreError, code="upload-offset"):
    def __init__(self, offset: int, expected: int) -> None:
        self.offset, self.expected = offset, expected
        super().__init__(
            f"The data begins at offset {offset}, but the upload has {expected} bytes. Continue at "
            f"offset {expected}."
        )


class UploadTooLongError(SlideStoreError, code="upload-too-long"):
    def __init__(self, length: int) -> None:
        self.length = length
        super().__init__(
            f"More bytes were sent than the upload's length of {length} announces; they were not "
            "stored."
        )


class UploadChecksumError(SlideStoreError, code="upload-checksum"):
    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        super().__init__(
            f"The {algorithm} of the data differs from Upload-Checksum, so the data was dropped. "
            "Send it again."
        )


class UploadIncompleteError(SlideStoreError, code="upload-incomplete"):
    def __init__(self, offset: int, length: int) -> None:
        self.offset, self.length = offset, length
        super().__init__(
            f"The upload has {offset} of {length} bytes. Send the rest with PATCH first."
        )


class TooManyUploadsError(UnavailableError, code="too-many-uploads"):
    def __init__(self, limit_uploads: int) -> None:
        self.limit_uploads, self.retry_after_s = limit_uploads, 60
        super().__init__(
            f"There are {limit_uploads} uploads that have not become slides. Delete some, or try "
            f"again in {self.retry_after_s} s."
        )


class InvalidUploadError(RequestError, code="invalid-upload"):
    """The headers of an upload are missing or wrong."""


class TusVersionError(RequestError, code="tus-version"):
    def __init__(self, supported: str) -> None:
        self.supported = supported
        super().__init__(f"The service speaks version {supported} of the tus protocol.")


class SlidePathError(RequestError, code="slide-path"):
    """A mount or a path beneath it is wrong."""


class SlideNotFoundError(SlideStoreError, code="slide-not-found"):
    def __init__(self) -> None:
        super().__init__(
            "There is no such slide: it was deleted, has expired, or never was. "
            "GET /v1/slides lists the slides."
        )


class SlideInUseError(SlideStoreError, code="slide-in-use"):
    def __init__(self, jobs: list[str]) -> None:
        self.jobs = jobs
        super().__init__(
            "A job is working on the slide, or waits for it. Cancel it with DELETE /v1/jobs/{id}, "
            "or wait until it is over."
        )


class SlideExistsError(SlideStoreError, code="slide-exists"):
    def __init__(self, slide_id: str, mpp: float) -> None:
        self.slide_id, self.mpp = slide_id, mpp
        super().__init__(
            f"The service has this slide already, with {mpp:g} micrometres per pixel, and keeps "
            "that for all callers. Give another mpp with the job (POST "
            f"/v1/slides/{slide_id}/jobs), or delete the slide first."
        )


class SlideReaderError(SlideStoreError, code="slide-reader"):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The process that was reading the slide {reason}. Try again.")


class JobNotFoundError(SlideStoreError, code="job-not-found"):
    def __init__(self) -> None:
        super().__init__("There is no such job: it was deleted, has expired, or never was.")


class TooManyJobsError(UnavailableError, code="too-many-jobs"):
    def __init__(self, limit_jobs: int) -> None:
        self.limit_jobs, self.retry_after_s = limit_jobs, 60
        super().__init__(
            f"{limit_jobs} jobs wait already. Cancel some with DELETE /v1/jobs/{{id}}, or try "
            f"again in {self.retry_after_s} s."
        )


class JobStateError(SlideStoreError, code="job-state"):
    def __init__(self, state: str, wanted: str) -> None:
        self.state = state
        super().__init__(f"The job is {state}; {wanted}")


class ResultNotFoundError(SlideStoreError, code="result-not-found"):
    def __init__(self, results: list[str]) -> None:
        self.results = results
        super().__init__(
            "The job has no such result. "
            + (f"It has {', '.join(results)}." if results else "Its results were deleted.")
        )


class ZoomTileNotFoundError(SlideStoreError, code="zoom-tile-not-found"):
    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"The picture has no {what}. {advice}")


class ReadersBusyError(UnavailableError, code="slide-readers-busy"):
    def __init__(self, limit_requests: int) -> None:
        self.limit_requests, self.retry_after_s = limit_requests, 1
        super().__init__(
            f"{limit_requests} requests wait for pixels of slides already. "
            f"Try again in {self.retry_after_s} s."
        )


class TooManyStreamsError(UnavailableError, code="too-many-streams"):
    def __init__(self, limit_streams: int) -> None:
        self.limit_streams, self.retry_after_s = limit_streams, 10
        super().__init__(
            f"{limit_streams} streams of events are open already. Ask for the job with GET, or try "
            f"again in {self.retry_after_s} s."
        )
