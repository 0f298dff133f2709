# SPDX-License-Identifier: GPL-2.0-or-later
"""The hidden folder of an unfinished run: made, taken over, and removed with care.

Its name follows from the output's, so anybody who may write beside the output can plant
something there. A link, or a folder of another user, is refused, and only what a run writes
is ever deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from pathlib import Path

from .errors import OutputError

SIGNATURE = "run.json"
JOURNAL = "finished_blocks"
LOCK = "lock"
QUICKLOOK = "quicklook.png"
SUMMARY = "summary.html"

_FILES = (SIGNATURE, JOURNAL, LOCK, QUICKLOOK, SUMMARY)
# Raw files of layers and their descriptions for GDAL, and the folders of whole rasters.
_LAYER_FILE = re.compile(r"[A-Z][A-Z_0-9]*(\.part[0-9]*)?\.(raw|vrt|tif)")
_LAYER = re.compile(r"[A-Z][A-Z_0-9]*")


def unfinished_folder(output: Path) -> Path:
    """Where the blocks of an output lie until it is written."""
    return output.parent / f".{output.name}.unfinished"


def make_folder(folder: Path) -> bool:
    """Make the folder, or take over the one that is there; whether one was.

    Raises
    ------
    OutputError
        If there is something else of that name, such as a link, or it belongs to another user.
    OSError
        If it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        _check_own(folder)
        return True
    return False


def clear_folder(folder: Path, *, keep: tuple[str, ...] = ()) -> None:
    """Delete what runs write in their folder; anything else stays, and so does what it is in."""
    for path in folder.iterdir():
        if path.name in keep:
            continue
        if path.name in _FILES or _LAYER_FILE.fullmatch(path.name):
            if not _is_folder(path):
                path.unlink()
        elif _LAYER.fullmatch(path.name) and _is_folder(path):
            for file in path.iterdir():
                if not _is_folder(file):
                    file.unlink()
            with contextlib.suppress(OSError):
                path.rmdir()


def remove_folder(folder: Path) -> None:
    """Delete the folder of a run; what no run wrote stays."""
    with contextlib.suppress(OSError):
        clear_folder(folder)
        folder.rmdir()


def _check_own(folder: Path) -> None:
    state = folder.lstat()
    if stat.S_ISLNK(state.st_mode):
        what = "is a link to another place"
    elif not stat.S_ISDIR(state.st_mode):
        what = "is not a folder"
    elif os.name != "nt" and state.st_uid != _owner_here(folder.parent):
        what = "belongs to another user"
    else:
        return
    raise OutputError(
        f"{folder} {what}; this run would keep its finished blocks there. Remove it, or choose "
        "another output."
    )


def _owner_here(folder: Path) -> int:
    """Owner of what this process makes in a folder; a network disk may change it."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_uid


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)
