# SPDX-License-Identifier: GPL-2.0-or-later
"""What a card.json must hold: every key that is read, and what any value may be.

A card comes from anywhere, and what is wrong in it must be told before a map is computed. All of
its texts end up in rasters' metadata, in XML or in HTML, so all must be texts that these can hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ModelError
from .typed_json import fits, in_words, shown

_DEEPEST = 32
# Control characters but tab and line breaks, halves of surrogate pairs, and what XML excludes.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Closed:
    """An object that has no other keys than those named."""

    keys: Mapping[str, Any]


_SCORE = "float | None"
_SCORES = {
    f"{name}?": _SCORE
    for name in ("iou", "dice", "precision", "recall", "f1", "boundary_f1", "ece")
}
_CLASS = Closed(
    {
        "value": "int",
        "name": "str",
        "color": "str",
        "channel": "int",
        "threshold?": "float",
        "calibration?": Closed({"scale?": "float", "offset?": "float"}),
        "part_of?": "str | None",
    }
)
_FILE = Closed({"name": "str", "format": "str", "dim_order": "str", "sha256": "str", "size": "int"})

_FEATURE = Closed({"name": "str", "stride": "int", "channels": "int"})
_PART = Closed(
    {
        "inputs": "tuple[str, ...]",
        "outputs": [_FEATURE],
        "halo": "int",
        "divisor": "int",
        "width": "float",
    }
)

# Key -> type as an annotation, or what is in the object, or [what is in the list]. A question
# mark ends a key that may be absent; "*" stands for all keys of an object.
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("name", "version", "title", "description", "license", "citation"), "str"),
    "sources?": [dict.fromkeys(("title?", "url?", "license?", "citation?"), "str | None")],
    "input": {
        "bands": "tuple[str, ...]",
        "data_type": "tuple[str, ...]",
        "value_range": "tuple[float, float]",
        "value_scaling": {
            "type": "str",
            "mean": "tuple[float, ...]",
            "stddev": "tuple[float, ...]",
        },
        "gsd_range?": "tuple[float, float] | None",
    },
    "output": {"activation": "str", "classes": [_CLASS]},
    "divisor": "int",
    "halo": "int",
    "theoretical_halo": "int",
    "fixed_size?": "int | None",
    "precision?": {"bf16?": {"largest_difference?": "float", "mask_agreement?": "float"}},
    "files": [_FILE],
    "training?": {},
    "metrics?": {"split?": "str", "mean_iou?": _SCORE, "per_class?": {"*": _SCORES}},
    "refinement?": {"crf?": "bool"},
    "cuts?": Closed({"image": _FEATURE, "parts": [_PART], "doublings": "int"}),
    "tile_versus_whole?": {"mask_agreement?": "float"},
    "calibration?": {},
}


def check_card(content: Mapping[str, Any]) -> None:
    """Refuse the content of a card in which anything is missing or of another kind.

    Parameters
    ----------
    content : mapping
        The content of a card.json.

    Raises
    ------
    ModelError
        With the path in the JSON, such as output.classes[0].value.
    """
    _check_values(content, "", 0)
    _check(content, SCHEMA, "")


def _check(value: Any, wanted: Any, path: str) -> None:
    if isinstance(wanted, str):
        if not fits(value, wanted):
            raise _wrong(path, in_words(wanted), value)
    elif isinstance(wanted, list):
        if not isinstance(value, list):
            raise _wrong(path, "a list", value)
        for place, item in enumerate(value):
            _check(item, wanted[0], f"{path}[{place}]")
    elif not isinstance(value, dict):
        raise _wrong(path, "an object", value)
    else:
        _check_object(value, wanted, path)


def _check_object(value: dict[str, Any], wanted: Any, path: str) -> None:
    keys = wanted.keys if isinstance(wanted, Closed) else wanted
    known = {key.removesuffix("?"): inside for key, inside in keys.items()}
    for key, inside in keys.items():
        name = key.removesuffix("?")
        if name in value:
            _check(value[name], inside, _inside(path, name))
        elif name == key != "*":
            raise ModelError(f"{_inside(path, name)} is missing")
    for name, item in value.items():
        if "*" in known:
            _check(item, known["*"], _inside(path, name))
        elif isinstance(wanted, Closed) and name not in known:
            raise ModelError(
                f"{_inside(path, name)} is an unknown key; known are {', '.join(known)}"
            )


def _check_values(value: Any, path: str, depth: int) -> None:
    """Refuse texts, numbers and nesting that nothing which is written of a card could hold."""
    if depth > _DEEPEST:
        raise ModelError(f"{path[:80]}... is nested more than {_DEEPEST} levels deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_values(key, f"{path} (a key)".strip(), depth)
            _check_values(item, _inside(path, key), depth + 1)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _check_values(item, f"{path}[{place}]", depth + 1)
    elif isinstance(value, str):
        if unfit := _UNFIT.search(value):
            raise ModelError(
                f"{path} holds the character U+{ord(unfit[0]):04X}, which no text may hold"
            )
    elif (
        not isinstance(value, bool) and isinstance(value, (int, float)) and not fits(value, "float")
    ):
        raise ModelError(f"{path} is {shown(value)}, which is no finite number")


def _wrong(path: str, wanted: str, value: Any) -> ModelError:
    return ModelError(f"{path} is of the wrong kind: it must be {wanted}, not {shown(value)}")


def _inside(path: str, key: str) -> str:
    return f"{path}.{key}" if path else str(key)
