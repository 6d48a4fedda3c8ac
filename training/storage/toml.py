"""Read configurations from TOML into frozen models, with errors that name the key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from training.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, kind: type[Model]) -> Model:
    """Read a TOML file as a model.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or a key is wrong, unknown or missing.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), "", f"{error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"it is not valid TOML: {error}.") from error
    return parse_document(document, kind, str(path))


def parse_document(document: dict[str, Any], kind: type[Model], where: str) -> Model:
    """Validate a document as a model; `where` is the file's name in errors.

    Raises:
        ConfigError: a key is wrong, unknown or missing.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        # A misspelt required key is also missing; the reader can fix its spelling.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        known = first["type"] != "extra_forbidden"
        reason = first["msg"] if known else "there is no such key (is it misspelt?)"
        reason = reason.removeprefix("Value error, ")
        raise ConfigError(where, key, f"{reason}.") from error
