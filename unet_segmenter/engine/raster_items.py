# SPDX-License-Identifier: GPL-2.0-or-later
"""Pairs of texts as one item of a raster's metadata, such as "1=road,2=grass"."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

_ESCAPED = {"%": "%25", ",": "%2C", "=": "%3D"}


def pairs_text(pairs: Iterable[tuple[object, object]]) -> str:
    """Write pairs; commas, equals signs and percent signs in them are escaped.

    Examples
    --------
    >>> pairs_text([(1, "road"), (2, "grass, dry")])
    '1=road,2=grass%2C dry'
    """
    return ",".join(f"{_escaped(left)}={_escaped(right)}" for left, right in pairs)


def pairs_of(text: str) -> list[tuple[str, str]]:
    """Read what `pairs_text` wrote.

    Examples
    --------
    >>> pairs_of("1=road,2=grass%2C dry")
    [('1', 'road'), ('2', 'grass, dry')]
    """
    parts = (part.partition("=") for part in text.split(","))
    return [(unquote(left), unquote(right)) for left, equals, right in parts if equals and right]


def _escaped(value: object) -> str:
    return "".join(_ESCAPED.get(sign, sign) for sign in str(value))
