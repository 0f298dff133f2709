# SPDX-License-Identifier: GPL-2.0-or-later
"""The unfinished run on disk: finished blocks, in a hidden folder beside the output.

Each output is one raw band-sequential file into which blocks are written in place; a journal
names the blocks that are in. A block is entered only after its pixels were handed to the
operating system, so a killed process leaves nothing half true, and the same command goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import OutputError
from .geometry import PixelWindow, Shape2D

_SIGNATURE = "run.json"
_JOURNAL = "finished_blocks"
_LOCK = "lock"
_ENTRY = struct.Struct("<Q")


@dataclass(frozen=True)
class Layer:
    """One output: its number of bands and its type ("uint8" or "float32")."""

    bands: int
    dtype: str

    def size(self, shape: Shape2D) -> int:
        """Bytes of the raw file."""
        return self.bands * shape.height * shape.width * np.dtype(self.dtype).itemsize


class BlockStore:
    """Finished blocks of one run.

    Parameters
    ----------
    output : Path
        The main output; the folder is named after it.
    shape : Shape2D
        Shape of the output in px.
    layers : dict
        What is written, by name.
    signature : dict
        Everything that decides the pixels; blocks of a run with another one are discarded.
    resume : bool
        Whether to take up blocks of an interrupted run.

    Raises
    ------
    OutputError
        If the folder is not writable, the disk too full, or another run writes there.
    """

    def __init__(
        self,
        output: Path,
        shape: Shape2D,
        layers: Mapping[str, Layer],
        signature: dict[str, Any],
        *,
        resume: bool = True,
    ) -> None:
        self.folder = output.parent / f".{output.name}.unfinished"
        self.shape = shape
        self.layers = dict(layers)
        self._files: dict[str, IO[bytes]] = {}
        with os_errors_told(self.folder):
            existed = self.folder.exists()
            self.folder.mkdir(parents=False, exist_ok=True)
            self._lock = _locked(self.folder / _LOCK)
            if not (resume and self._is_of(signature)):
                self._discard()
            self.finished = self._read_journal()
            if not existed or not self.finished:
                self._refuse_full_disk()
            for name in self.layers:
                path = self.raw_path(name)
                self._files[name] = path.open("r+b" if path.exists() else "w+b")
                os.truncate(path, self.layers[name].size(shape))
            (self.folder / _SIGNATURE).write_text(json.dumps(signature), encoding="utf-8")
            self._journal = (self.folder / _JOURNAL).open("ab", buffering=0)

    def __enter__(self) -> BlockStore:
        """Enter a context that closes the files and keeps them for a later run."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.close()

    def raw_path(self, name: str) -> Path:
        """The raw file of an output."""
        return self.folder / f"{name}.raw"

    def write(self, index: int, window: PixelWindow, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a block and enter it in the journal.

        Parameters
        ----------
        index : int
            The block's number.
        window : PixelWindow
            Its place in the output.
        arrays : dict
            For each layer an array of shape (bands, H, W).
        """
        with os_errors_told(self.folder):
            for name, array in arrays.items():
                self._write_window(name, window, np.ascontiguousarray(array))
            self._journal.write(_ENTRY.pack(index))
        self.finished.add(index)

    def read_rows(self, name: str, band: int, start: int, stop: int) -> NDArray[Any]:
        """Rows of one band (from 0), shape (rows, W)."""
        dtype = np.dtype(self.layers[name].dtype)
        height, width = self.shape
        file = self._files[name]
        file.seek((band * height + start) * width * dtype.itemsize)
        data = file.read((stop - start) * width * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(stop - start, width)

    def write_rows(self, name: str, start: int, rows: NDArray[Any]) -> None:
        """Write rows of the first band from `start` on, shape (rows, W), past the journal.

        For layers that are made from finished blocks, and made anew after an interruption.
        """
        with os_errors_told(self.folder):
            file = self._files[name]
            file.seek(start * rows.shape[1] * rows.itemsize)
            file.write(np.ascontiguousarray(rows).data)
            file.flush()

    def read_shrunk(self, name: str, height: int, width: int) -> NDArray[Any]:
        """First band, shrunk by nearest neighbour to (height, width)."""
        rows = (np.arange(height) + 0.5) * self.shape.height / height
        cols = ((np.arange(width) + 0.5) * self.shape.width / width).astype(int)
        return np.stack(
            [self.read_rows(name, 0, row, row + 1)[0, cols] for row in rows.astype(int)]
        )

    def close(self) -> None:
        """Close the files; what they hold stays for a later run."""
        for file in (*self._files.values(), self._journal, self._lock):
            # On a full disk a file cannot even be flushed; what is lost is in no journal.
            with contextlib.suppress(OSError):
                file.close()

    def remove(self) -> None:
        """Close the files and delete the folder."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_window(self, name: str, window: PixelWindow, array: NDArray[Any]) -> None:
        file, itemsize = self._files[name], array.itemsize
        height, width = self.shape
        for band, image in enumerate(array):
            for row, values in enumerate(image, window.row):
                file.seek(((band * height + row) * width + window.col) * itemsize)
                file.write(values)
        file.flush()

    def _is_of(self, signature: dict[str, Any]) -> bool:
        try:
            kept = json.loads((self.folder / _SIGNATURE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(kept == json.loads(json.dumps(signature)))

    def _discard(self) -> None:
        for path in self.folder.iterdir():
            if path.name == _LOCK:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _read_journal(self) -> set[int]:
        path = self.folder / _JOURNAL
        if not path.exists():
            return set()
        data = path.read_bytes()
        whole = len(data) // _ENTRY.size * _ENTRY.size
        if whole != len(data):
            os.truncate(path, whole)
        return {index for (index,) in _ENTRY.iter_unpack(data[:whole])}

    def _refuse_full_disk(self) -> None:
        needed = 2 * sum(layer.size(self.shape) for layer in self.layers.values())
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            self._lock.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise OutputError(
                f"The disk of {self.folder.parent} has {free / 1e9:.2f} GB free, and this run may "
                f"need up to {needed / 1e9:.2f} GB. Free some space, or write to another disk."
            )


class os_errors_told:  # noqa: N801 - reads as a clause after "with"
    """Turns the operating system's errors into sentences about the output folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, FileNotFoundError):
            raise OutputError(
                f"There is no folder {self._folder.parent} to write to; create it first."
            ) from error
        if isinstance(error, OSError):
            raise OutputError(
                f"Nothing can be written to {self._folder.parent}: {error.strerror}. "
                "Choose another folder, or mend this one; the same command then goes on."
            ) from error


def _locked(path: Path) -> IO[bytes]:
    """The file, locked until this process closes it or ends."""
    file = path.open("ab")
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        output = path.parent.name.removeprefix(".").removesuffix(".unfinished")
        raise OutputError(
            f"Another run is writing {path.parent.parent / output}; wait for it, "
            "or choose another output."
        ) from error
    return file
