"""Objects compared with the schemas of Kubernetes."""

from __future__ import annotations

import json
from typing import Any

from tests.deploy.forked import run_forked

_VALIDATE = """
import json, sys
import kubernetes_validate
for each in json.loads(sys.argv[1]):
    try:
        kubernetes_validate.validate(each, "1.37", strict=True)
    except kubernetes_validate.ValidationError as error:
        sys.exit(str(error))
"""


def require_valid(*objects: dict[str, Any]) -> None:
    """Compare objects with their schemas; unknown fields are refused.

    Raises:
        ValueError: one is not valid, with the path and the reason.
    """
    done = run_forked(_VALIDATE, json.dumps(objects))
    if done.returncode:
        raise ValueError(done.stderr)
