"""Read settings from variables and secret files; errors name the setting."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError as UnreadableSettingError

from app.core.errors import SettingsError
from app.core.violations import describe_violation
from app.settings.fields import PREFIX, Settings
from app.settings.paths import holds_content
from app.settings.variables import known_variables

SECRETS_DIR: Final = Path("/run/secrets")
"""A setting may be a file here, such as `osteo_admin_token`; a variable takes precedence."""

# A Kubernetes Service named "osteo" makes the cluster set OSTEO_PORT=tcp://ADDRESS and more.
_SERVICE_LINK_HINT: Final = (
    " It looks like a Kubernetes service link: set enableServiceLinks: false on the pod."
)


def read_settings(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Read the settings and reject unknown `OSTEO_*` variables.

    Args:
        environ: searched for misspelt names; values always come from the process environment.
        overrides: settings given on the command line; they take precedence.

    Raises:
        SettingsError: a variable is misspelt or a value is invalid; the sentence names it.
    """
    known = known_variables()
    secrets_dir = SECRETS_DIR if SECRETS_DIR.is_dir() else None
    files = {file.name: "" for file in secrets_dir.iterdir()} if secrets_dir else {}
    environ = {**files, **environ}
    for variable in sorted(environ):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            raise SettingsError(_describe_unknown(variable, environ[variable], known))
    try:
        return Settings(_secrets_dir=secrets_dir, **overrides)
    except UnreadableSettingError as error:
        raise SettingsError(f"{error}: {error.__cause__}.") from error
    except ValidationError as error:
        raise SettingsError(" ".join(map(_describe_invalid, error.errors()))) from error


def _describe_unknown(variable: str, value: str, known: frozenset[str]) -> str:
    hint = _SERVICE_LINK_HINT if "tcp://" in value or variable.startswith("OSTEO_SERVICE_") else ""
    close = difflib.get_close_matches(variable.upper(), known, n=1)
    guess = f" Did you mean {close[0]}?" if close and not hint else ""
    return f"{variable} is not a setting.{guess}{hint} docs/settings.md lists all settings."


def _describe_invalid(problem: ErrorDetails) -> str:
    if not problem["loc"]:  # spans several settings, which the sentence names
        return f"{describe_violation(problem, '')}."
    field = str(problem["loc"][0])
    given = problem["input"]
    is_secret = SecretStr in get_args(Settings.model_fields[field].annotation)
    got = "" if is_secret or holds_content(str(given)) else f" (got {given!r})"
    hint = _SERVICE_LINK_HINT if str(given).startswith("tcp://") else ""
    return f"{describe_violation(problem, PREFIX + field.upper())}{got}.{hint}"
