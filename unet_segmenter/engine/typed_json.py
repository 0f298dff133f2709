# SPDX-License-Identifier: GPL-2.0-or-later
"""Flat dataclasses from JSON: every key and every type is checked, in one place for all jobs.

Annotations are read as texts, so that this works in every Python that QGIS brings.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import JobError

Value = TypeVar("Value")

_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
}
_SHOWN = 80
_WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}


def from_json(kind: type[Value], found: Mapping[str, Any] | str, what: str = "The job") -> Value:
    """Make a dataclass of a JSON object, or of a JSON text; lists become tuples.

    Parameters
    ----------
    kind : type
        A dataclass whose fields are texts, numbers, booleans, tuples of them, or None.
    found : mapping or str
        Values by the names of the fields.
    what : str
        What the errors call it.

    Raises
    ------
    JobError
        If it is no JSON object, has a key that is unknown, lacks one, or has a value of
        another type. A whole number counts as a number, but 1.0 is no whole number, and
        neither NaN nor an infinity is a number.
    """
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError) as error:
            raise JobError(f"{what} is no JSON: {error}.") from error
    if not isinstance(found, Mapping):
        raise JobError(f"{what} is no JSON object.")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := [str(key) for key in found if key not in fields]:
        raise JobError(
            f"{what} has an unknown key {min(unknown)!r}; known are {', '.join(sorted(fields))}."
        )
    for name, field in fields.items():
        if name in found:
            if not fits(found[name], str(field.type)):
                raise JobError(
                    f"{what} is malformed: {name} must be {in_words(str(field.type))}, not "
                    f"{shown(found[name])}."
                )
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise JobError(f"{what} is incomplete: {name} must be given.")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in found.items()})


def fits(value: object, annotation: str) -> bool:
    """Whether a value is of the type that an annotation names.

    >>> fits([1, 2], "tuple[float, float] | None"), fits(True, "int"), fits(None, "str | None")
    (True, False, True)
    """
    if annotation.endswith(" | None"):
        return value is None or fits(value, annotation.removesuffix(" | None"))
    if annotation.startswith("tuple["):
        kinds = _kinds(annotation)
        if not isinstance(value, (list, tuple)):
            return False
        if kinds[-1] == "...":
            return all(fits(each, kinds[0]) for each in value)
        return len(value) == len(kinds) and all(map(fits, value, kinds))
    if isinstance(value, str) and "\0" in value:  # no path and no name can hold it
        return False
    if isinstance(value, (int, float)) and not abs(value) <= sys.float_info.max:
        return False
    return isinstance(value, _TYPES[annotation]) and isinstance(value, bool) == (
        annotation == "bool"
    )


def shown(value: object) -> str:
    """A value as an error shows it: cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def in_words(annotation: str) -> str:
    """What an annotation wants.

    >>> in_words("tuple[int, ...]"), in_words("tuple[float, float] | None")
    ('a list of whole numbers', 'a list of 2 numbers or null')
    """
    if annotation.endswith(" | None"):
        return f"{in_words(annotation.removesuffix(' | None'))} or null"
    if annotation.startswith("tuple["):
        kinds = _kinds(annotation)
        count = "" if kinds[-1] == "..." else f"{len(kinds)} "
        return f"a list of {count}{_WORDS[kinds[0]]}s"
    return _WORDS[annotation] if annotation == "bool" else f"a {_WORDS[annotation]}"


def _kinds(annotation: str) -> list[str]:
    return annotation.removeprefix("tuple[").removesuffix("]").split(", ")
