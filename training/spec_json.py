# SPDX-License-Identifier: GPL-2.0-or-later
"""Specs, which are flat dataclasses, from JSON: keys and types are looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from unet_segmenter.engine.errors import JobError

Spec = TypeVar("Spec")

_TYPES = {"str": str, "int": int, "float": (int, float), "bool": bool}
_WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}


def spec_of(kind: type[Spec], found: Mapping[str, Any] | str) -> Spec:
    """Return the spec of a mapping with the attributes' names, or of a JSON text.

    Lists become tuples.

    Raises
    ------
    JobError
        If it is no JSON object, or has a key that is unknown or a value of another type.
    """
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError as error:
            raise JobError(f"the spec is no JSON: {error}") from error
    if not isinstance(found, Mapping):
        raise JobError("the spec is no JSON object")
    types = {field.name: str(field.type) for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(found.keys() - types.keys()):
        raise JobError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(types))}")
    for name, value in found.items():
        if not _fits(value, types[name]):
            raise JobError(f"{name} {value!r}: {_in_words(types[name])} is wanted")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise JobError(f"the spec does not fit: {error}") from error


def _fits(value: object, kind: str) -> bool:
    """Return whether a value is of the type that an annotation tells."""
    if kind.endswith(" | None"):
        return value is None or _fits(value, kind.removesuffix(" | None"))
    if kind.startswith("tuple["):
        one = kind.removeprefix("tuple[").removesuffix(", ...]")
        return isinstance(value, (list, tuple)) and all(_fits(each, one) for each in value)
    return isinstance(value, _TYPES[kind]) and isinstance(value, bool) == (kind == "bool")


def _in_words(kind: str) -> str:
    kind = kind.removesuffix(" | None")
    if kind.startswith("tuple["):
        return f"a list of {_WORDS[kind.removeprefix('tuple[').removesuffix(', ...]')]}s"
    return _WORDS[kind] if kind == "bool" else f"a {_WORDS[kind]}"
