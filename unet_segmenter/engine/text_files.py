# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes text files that exist under their name only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .errors import OutputError


def check_folders(outputs: Mapping[str, str]) -> None:
    """Refuse before the work what cannot be written after it.

    Raises
    ------
    OutputError
        If a file's folder is absent or read-only, or its name is that of a folder.
    """
    for name, path in outputs.items():
        folder = Path(path).absolute().parent
        if not folder.is_dir():
            raise OutputError(f"There is no folder {folder} for {name}; create it first.")
        if Path(path).is_dir():
            raise OutputError(f"{path}, given for {name}, is a folder; give a file's name.")
        if not os.access(folder, os.W_OK):
            raise OutputError(
                f"The folder {folder} for {name} is read-only; choose another, or change its "
                "permissions."
            )


def write_whole(path: Path, text: str) -> None:
    """Write a text file, UTF-8, under another name first.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
