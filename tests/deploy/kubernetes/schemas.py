"""Objects compared with the schemas of Kubernetes."""

from __future__ import annotations

from typing import Any

_VERSION = "1.37"


def require_valid(found: dict[str, Any]) -> None:
    """Compare an object with its schema; unknown fields are refused.

    The package takes seconds to import, so not every process that collects the tests does.

    Raises:
        ValueError: it is not valid, with the path and the reason.
    """
    import kubernetes_validate  # type: ignore[import-untyped] # it has no types

    try:
        kubernetes_validate.validate(found, _VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise ValueError(str(error)) from error
