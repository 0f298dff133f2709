# SPDX-License-Identifier: GPL-2.0-or-later
"""The journal of an unfinished run: which blocks are on disk, and a checksum of their pixels.

After a power cut the journal may be on disk and pixels that it names not, or the other way
round: the operating system writes in the order that it likes. So an entry holds a checksum, and
a block counts as finished only if its pixels read back with it. Unwritten pixels read as zeros,
which have another one.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .geometry import PixelWindow, Shape2D

_ENTRY = struct.Struct("<QIIIIII")
ENTRY_BYTES = _ENTRY.size


@dataclass(frozen=True)
class BlockEntry:
    """One finished block.

    Parameters
    ----------
    index : int
        The block's number.
    window : PixelWindow
        Its place in the output.
    layers : int
        A bit for each layer that was written, in the order of their names; 0 for a block that
        holds nothing, of which no pixel is on disk.
    checksum : int
        Of the pixels of these layers, from `checksum_of`.
    """

    index: int
    window: PixelWindow
    layers: int
    checksum: int

    def to_bytes(self) -> bytes:
        """The entry as it stands in the journal."""
        w = self.window
        return _ENTRY.pack(self.index, w.row, w.col, w.height, w.width, self.layers, self.checksum)


def read_journal(path: Path, shape: Shape2D) -> list[BlockEntry]:
    """The whole entries of a journal, the oldest first; a torn one at its end is cut off.

    Parameters
    ----------
    path : Path
        The journal; none gives no entry.
    shape : Shape2D
        Of the output in px: an entry beyond it was never written.
    """
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = len(data) // ENTRY_BYTES * ENTRY_BYTES
    if whole != len(data):
        os.truncate(path, whole)
    found = []
    for index, row, col, height, width, layers, checksum in _ENTRY.iter_unpack(data[:whole]):
        fits = row + height <= shape.height and col + width <= shape.width
        if height and width and fits:
            found.append(BlockEntry(index, PixelWindow(row, col, height, width), layers, checksum))
    return found


def checksum_of(arrays: Iterable[NDArray[Any]]) -> int:
    """CRC-32 of the bytes of arrays, one after the other."""
    found = 0
    for array in arrays:
        found = zlib.crc32(np.ascontiguousarray(array).data.cast("B"), found)
    return found
