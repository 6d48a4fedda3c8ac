"""Write docs/configuration.md from the model: `python -m tests.contract.configuration_page`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tests.conftest import REPOSITORY
from training.config import TrainingConfig
from training.data.label_set import LabelSet, TrainedLabel

PATH: Final = REPOSITORY / "docs" / "configuration.md"
_HEAD: Final = """# Configuration keys

Every key of a training configuration (TOML), generated from the model. A key that is left out has
its default; a key that does not exist is rejected by name. [training.md](training.md) shows
configurations, and `training/configs/osteo-mobilenetv2.toml` is the released one.
"""
_BOUNDS: Final = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_sections(TrainingConfig, "", None)])


def _sections(model: type[BaseModel], section: str, left_out: BaseModel | None) -> Iterator[str]:
    """`left_out` holds the values that apply if the section is left out."""
    if issubclass(model, LabelSet):
        yield from _labels()
        return
    plain: dict[str, FieldInfo] = {}
    below: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        nested = isinstance(field.default, BaseModel)
        (below if nested else plain)[name] = field
    yield f"## `[{section}]`\n" if section else "## Top level\n"
    if model.__doc__ and section:
        yield model.__doc__.partition("\n\n")[0].replace("\n    ", " ") + "\n"
    yield "| key | default | values | what it does |\n| --- | --- | --- | --- |"
    for name, field in plain.items():
        cells = (f"`{name}`", _default(name, field, left_out), _values(field), field.description)
        yield f"| {' | '.join(map(str, cells))} |"
    yield ""
    for name, field in below.items():
        yield from _sections(type(field.default), f"{section}.{name}".lstrip("."), field.default)


def _labels() -> Iterator[str]:
    """A table of tables: its keys are the ids of the labels."""
    yield "## `[labels]`\n"
    yield (
        "One key for each label, in the order of the classes: the label's id, with a table of the "
        "keys below. Without the section, the labels are those of the collection.\n"
    )
    yield "| key | default | values | what it does |\n| --- | --- | --- | --- |"
    for name, field in TrainedLabel.model_fields.items():
        if name != "id":
            cells = (f"`{name}`", _default(name, field, None), _values(field), field.description)
            yield f"| {' | '.join(map(str, cells))} |"
    yield ""


def _default(name: str, field: FieldInfo, left_out: BaseModel | None) -> str:
    if field.is_required():
        value = getattr(left_out, name, None)
        return "required" if value is None else f"required; `{value}` without the section"
    return "not set" if field.default is None else f"`{_toml(field.default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _values(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{_toml(choice)}`" for choice in get_args(field.annotation))
    if get_origin(field.annotation) is tuple:
        return "list of texts"
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind]
    kind = {int: "integer", float: "number", bool: "`true`, `false`", str: "text"}
    parts = [kind.get(kinds[0], getattr(kinds[0], "__name__", str(kinds[0])))]
    for bound in field.metadata:
        for attribute, words in _BOUNDS.items():
            if isinstance(bound, getattr(annotated_types, attribute.capitalize())):
                parts.append(f"{words} {getattr(bound, attribute):g}")
        if pattern := getattr(bound, "pattern", None):
            parts.append(f"`{pattern}`")
    return ", ".join(parts)


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
