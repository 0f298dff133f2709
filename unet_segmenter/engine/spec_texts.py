# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what people type, in a dialog or on a command line, into the fields of a job."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .errors import JobError
from .name_lists import contains, split_list, split_names


def class_groups(text: str) -> tuple[str, ...]:
    """Classes to learn, each as "name", "name=member,member" or "name#rrggbb=member,...".

    Groups are separated by semicolons or line breaks; where there is neither, and no group has
    members, by commas.

    >>> class_groups("green=grass,tree; road")
    ('green=grass,tree', 'road')
    >>> class_groups("grass, tree")
    ('grass', 'tree')
    """
    return split_list(text, ";\n" if contains(text, ";\n=") else ",")


def words(text: str) -> tuple[str, ...]:
    """Entries separated by commas, semicolons or line breaks; see `name_lists.split_list`."""
    return split_list(text, ",;\n")


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas, semicolons or line breaks, without their quotes."""
    return split_names(text, ",;\n")


def fractions(text: str) -> tuple[float, ...]:
    """Shares of training, validation and perhaps test, as "0.75 0.25" or in percent "50/25/25".

    Raises
    ------
    JobError
        If they are not two or three numbers whose sum is 1 or 100.
    """
    shares = numbers(text, "FRACTIONS")
    total = sum(shares)
    whole = 100.0 if total > 2 else 1.0
    if len(shares) not in (2, 3) or min(shares) < 0 or abs(total - whole) > 1e-6 * whole:
        raise JobError(
            f"FRACTIONS {text!r} must be two or three shares that sum to 1 or 100, such as "
            "75/25 or 50/25/25."
        )
    return tuple(share / whole for share in shares)


def size(text: str) -> tuple[int, ...]:
    """Width and height in px as "960x540"; empty for no text.

    Raises
    ------
    JobError
        If the text is no size.
    """
    if not text.strip():
        return ()
    found = re.fullmatch(r"\s*(\d+)\s*[xX, ]\s*(\d+)\s*", text)
    if not found:
        raise JobError(f"SIZE {text!r} must be a width and a height in px, such as 960x540.")
    return int(found[1]), int(found[2])


def numbers(text: str | Sequence[str], name: str) -> tuple[float, ...]:
    """Numbers separated by spaces, slashes, semicolons or commas.

    Raises
    ------
    JobError
        If a part is no number.
    """
    parts = re.split(r"[\s/;,]+", text.strip()) if isinstance(text, str) else text
    try:
        return tuple(float(part) for part in parts if part)
    except ValueError as error:
        raise JobError(f"{name} {text!r} holds something that is no number.") from error
