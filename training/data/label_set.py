"""The labels that a model learns: ids, names, colours, and which of them are tumour.

They come from `[labels]` in the TOML file, in the order of the file, which is the order of the
logits. The index and every run record them.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from typing import Any, Self

from pydantic import ConfigDict, Field, RootModel, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.core.label_id import LabelId
from app.core.manifest import Label
from training.storage.frozen_model import FrozenModel

_MAX_LABELS = 1000
"""A manifest holds no more."""
_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff]")
_SPACES = re.compile(r"\s+")
_DASHES = re.compile("[\u2010-\u2015\u2212]")


class TrainedLabel(FrozenModel):
    """One label, as `[labels]` describes it."""

    id: LabelId = Field(description="Key of the table; part of every answer.")
    name: str = Field(
        default="", max_length=200, description="Name that people read. [default: from the id]"
    )
    tumor: bool = Field(description="Whether the label counts as tumour.")
    colour: str | None = Field(
        default=None, pattern=r"^#[0-9a-fA-F]{6}$", description="Colour in plots and reports."
    )
    aliases: tuple[str, ...] = Field(
        default=(), description="What tables and folders call the label; id and name always count."
    )

    @model_validator(mode="before")
    @classmethod
    def _has_a_name(cls, document: Any) -> Any:
        if not isinstance(document, dict) or document.get("name") or "id" not in document:
            return document
        return document | {"name": str(document["id"]).replace("_", " ").capitalize()}

    @property
    def for_manifest(self) -> Label:
        """The label as a manifest lists it."""
        return Label(id=self.id, name=self.name, is_tumor=self.tumor, colour=self.colour)


class LabelSet(RootModel[tuple[TrainedLabel, ...]]):
    """At least two labels, in the order of the logits."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _from_tables(cls, document: Any) -> Any:
        """Accept `[labels]` of a TOML file; records hold a list."""
        if not isinstance(document, dict):
            return document
        entries, errors = [], []
        for label_id, table in document.items():
            try:
                named = table | {"id": label_id} if isinstance(table, dict) else table
                entries.append(TrainedLabel.model_validate(named))
            except ValidationError as error:
                errors += [_at(label_id, first) for first in error.errors()]
        if errors:
            raise ValidationError.from_exception_data("LabelSet", errors)
        return entries

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if len(self.root) < 2:
            raise ValueError(f"a model needs at least two labels, not {len(self.root)}")
        if len(self.root) > _MAX_LABELS:
            raise ValueError(f"a model has at most {_MAX_LABELS} labels, not {len(self.root)}")
        seen: dict[str, str] = {}
        for label in self.root:
            for word in (label.id, label.name, *label.aliases):
                other = seen.setdefault(comparable(word), label.id)
                if other != label.id:
                    raise ValueError(f"{word!r} means both {other} and {label.id}")
        return self

    def __len__(self) -> int:
        return len(self.root)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids in the order of the logits."""
        return tuple(label.id for label in self.root)

    @property
    def names(self) -> tuple[str, ...]:
        """Names that people read, in the order of the logits."""
        return tuple(label.name for label in self.root)

    @property
    def colours(self) -> tuple[str | None, ...]:
        """Colours, in the order of the logits; None where none was chosen."""
        return tuple(label.colour for label in self.root)

    @property
    def tumor_classes(self) -> tuple[int, ...]:
        """Positions of the tumour labels."""
        return tuple(i for i, label in enumerate(self.root) if label.tumor)

    @property
    def for_manifest(self) -> tuple[Label, ...]:
        """The labels as a manifest lists them."""
        return tuple(label.for_manifest for label in self.root)

    def find(self, word: str) -> str | None:
        """Id of the label with this id, name or alias in any case; None if there is none."""
        return self._id_by_word.get(comparable(word))

    @cached_property
    def _id_by_word(self) -> dict[str, str]:
        return {
            comparable(word): label.id
            for label in self.root
            for word in (label.id, label.name, *label.aliases)
        }


def comparable(word: str) -> str:
    """A word without differences of case, composition, and kinds of spaces and dashes."""
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFC", _DASHES.sub("-", word)))
    return _SPACES.sub(" ", visible).strip().casefold()


def _at(label_id: str, error: Any) -> InitErrorDetails:
    """An error of one label, with the label's key in its place."""
    kind = PydanticCustomError(error["type"], "{reason}", {"reason": error["msg"]})
    place = tuple(part for part in error["loc"] if part != "id")
    return InitErrorDetails(type=kind, loc=(label_id, *place), input=error["input"])
