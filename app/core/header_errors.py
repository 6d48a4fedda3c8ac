"""Why the headers of a request are refused; `app.core.errors` shows the whole tree."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.errors import RequestError


class MediaTypeError(RequestError, code="unsupported-media-type"):
    def __init__(self, media_type: str, accepted: Sequence[str], advice: str) -> None:
        self.media_type, self.accepted = media_type, tuple(accepted)
        verb = "is" if len(accepted) == 1 else "are"
        super().__init__(
            f"A body with the Content-Type {media_type!r} is not accepted; "
            f"{', '.join(accepted)} {verb}. {advice}"
        )


class ContentCodingError(RequestError, code="unsupported-encoding"):
    def __init__(self, coding: str, accepted: Sequence[str]) -> None:
        self.coding, self.accepted = coding, tuple(accepted)
        super().__init__(
            f"A body with the Content-Encoding {coding!r} is not accepted. Send it without one, or "
            f"with {' or '.join(accepted)}. Tiles are compressed already."
        )


class RequestIdError(RequestError, code="invalid-request-id"):
    def __init__(self, n_ids: int, pattern: str) -> None:
        self.pattern = pattern
        wrong = "does not match" if n_ids == 1 else f"came {n_ids} times; send one that matches"
        super().__init__(
            f"The header X-Request-ID {wrong} {pattern} (1 to 128 printable ASCII characters)."
        )


class OriginDeniedError(RequestError, code="origin-denied"):
    def __init__(self) -> None:
        super().__init__(
            "Pages of this origin may not use the service; OSTEO_CORS_ORIGINS lists those that may."
        )
