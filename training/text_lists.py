# SPDX-License-Identifier: GPL-2.0-or-later
"""Small text files: lists of names, and csv tables with columns that must be there."""

from __future__ import annotations

import csv
from pathlib import Path

from .errors import DatasetError


def read_names(path: Path | str) -> list[str]:
    """Return the names in a file, one a line; blank lines are skipped.

    Raises
    ------
    DatasetError
        If there is no such file, or it names none, or one twice.
    """
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise DatasetError(f"{path}: the list is empty")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"{path}: names {twice!r} twice")
    return names


def read_columns(path: Path | str, wanted: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a csv file, with the columns ``wanted`` at least.

    Raises
    ------
    DatasetError
        If there is no such file, or a column is missing.
    """
    lines = read_text(path).splitlines()
    rows = csv.DictReader(lines, skipinitialspace=True)
    found = [name.strip().lower() for name in rows.fieldnames or ()]
    rows.fieldnames = found
    if missing := [name for name in wanted if name not in found]:
        raise DatasetError(
            f"{path}: has no column {missing[0]!r}; the first line must name "
            f"{', '.join(wanted)}, and names {', '.join(found) or 'nothing'}"
        )
    return [{key: (value or "").strip() for key, value in row.items() if key} for row in rows]


def read_groups(path: Path | str) -> dict[str, str]:
    """Return the group of each name, of a csv file with the columns name and group."""
    return {row["name"]: row["group"] for row in read_columns(path, ("name", "group"))}


def read_text(path: Path | str) -> str:
    """Return the text of a file in UTF-8; errors are as for `read_names`."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is no text in UTF-8") from error
