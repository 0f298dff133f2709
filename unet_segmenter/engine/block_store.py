# SPDX-License-Identifier: GPL-2.0-or-later
"""The unfinished run on disk: finished blocks, in a hidden folder beside the output.

Each output is one raw band-sequential file into which blocks are written in place; a journal
names the blocks that are in, with a checksum of their pixels. A block is entered only after its
pixels were handed to the operating system, and counts only if they read back as they were
written: neither a killed process nor a power cut leaves anything half true, and the same command
goes on. A block that holds nothing takes no room on the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .block_journal import BlockEntry, checksum_of, read_journal
from .errors import OutputError
from .geometry import PixelWindow, Shape2D
from .model_card import NODATA_VALUE
from .unfinished_folder import (
    JOURNAL,
    LOCK,
    SIGNATURE,
    clear_folder,
    make_folder,
    remove_folder,
    unfinished_folder,
)

_NOTHING = {"uint8": NODATA_VALUE, "float32": float("nan")}
# A power cut costs what was written since the last time that the disk was waited for.
_SECONDS_BETWEEN_SYNCS = 10.0
_BYTES_AT_ONCE = 16 << 20


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
        Whether to reuse blocks of an interrupted run.
    pixels : int, optional
        How many pixels of each band the run will write at most; all of them by default.

    Attributes
    ----------
    finished : set of int
        Numbers of the finished blocks.
    inputs : dict
        The signature's "files": the state, when the run began, of what it reads.

    Raises
    ------
    OutputError
        If the folder is not writable or not ours, the disk too full, or another run writes
        there.
    """

    def __init__(
        self,
        output: Path,
        shape: Shape2D,
        layers: Mapping[str, Layer],
        signature: dict[str, Any],
        *,
        resume: bool = True,
        pixels: int | None = None,
    ) -> None:
        self.folder = unfinished_folder(output)
        self.shape = shape
        self.layers = dict(layers)
        self.inputs: Mapping[str, Sequence[int]] = signature.get("files", {})
        self.finished: set[int] = set()
        self._windows: dict[int, PixelWindow] = {}  # of finished blocks that hold something
        self._files: dict[str, IO[bytes]] = {}
        self._synced = time.monotonic()
        with os_errors_told(self.folder):
            existed = make_folder(self.folder)
            self._lock = _locked(self.folder / LOCK)
            if not (resume and self._is_of(signature)):
                clear_folder(self.folder, keep=(LOCK,))
            entries = read_journal(self.folder / JOURNAL, shape)
            if not existed or not entries:
                self._refuse_full_disk(shape.height * shape.width if pixels is None else pixels)
            for name in self.layers:
                path = self.raw_path(name)
                self._files[name] = path.open("r+b" if path.exists() else "w+b")
                os.truncate(path, self.layers[name].size(shape))
            for entry in entries:
                if self._reads_back(entry):
                    self._take(entry)
            (self.folder / SIGNATURE).write_text(json.dumps(signature), encoding="utf-8")
            self._journal = (self.folder / JOURNAL).open("ab", buffering=0)

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
        named = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
        layers = sum(1 << bit for bit, name in enumerate(sorted(self.layers)) if name in named)
        entry = BlockEntry(index, window, layers, checksum_of(named.values()))
        with os_errors_told(self.folder):
            for name, array in named.items():
                self._write_window(name, window, array)
            self._enter(entry)

    def skip(self, index: int, window: PixelWindow) -> None:
        """Enter a block that holds nothing: its pixels read as nodata, and take no room."""
        with os_errors_told(self.folder):
            self._enter(BlockEntry(index, window, 0, 0))

    def read_rows(self, name: str, band: int, start: int, stop: int) -> NDArray[Any]:
        """Rows of one band (from 0), shape (rows, W); nodata in blocks that hold nothing."""
        rows = PixelWindow(start, 0, stop - start, self.shape.width)
        if self.is_full:
            return self._read_whole_rows(name, band, rows)
        found = np.full(rows.shape, _NOTHING[self.layers[name].dtype], self.layers[name].dtype)
        for window in self._windows.values():
            part = window.intersect(rows)
            if part is not None:
                place = part.relative_to(rows).slices
                found[place] = self._mapped(name)[(band, *part.slices)]
        return found

    def parts(self, name: str, band: int) -> Iterator[tuple[PixelWindow, NDArray[Any]]]:
        """The pixels of one band (from 0) in parts of a few megabytes, and where each lies.

        Blocks that hold nothing are in no part.
        """
        if not self.is_full:
            for window in self._windows.values():
                yield window, np.array(self._mapped(name)[(band, *window.slices)])
            return
        height, width = self.shape
        step = max(1, _BYTES_AT_ONCE // (width * 8))
        for start in range(0, height, step):
            rows = PixelWindow(start, 0, min(step, height - start), width)
            yield rows, self._read_whole_rows(name, band, rows)

    @property
    def is_full(self) -> bool:
        """Whether every finished block holds something."""
        return len(self._windows) == len(self.finished)

    def windows(self) -> tuple[PixelWindow, ...]:
        """Where the finished blocks lie that hold something."""
        return tuple(self._windows.values())

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
        remove_folder(self.folder)

    def _take(self, entry: BlockEntry) -> None:
        self.finished.add(entry.index)
        if entry.layers:
            self._windows[entry.index] = entry.window

    def _enter(self, entry: BlockEntry) -> None:
        """Enter a block in the journal; now and then wait until all of it is on the disk."""
        self._journal.write(entry.to_bytes())
        self._take(entry)
        if time.monotonic() - self._synced > _SECONDS_BETWEEN_SYNCS:
            for file in (*self._files.values(), self._journal):
                os.fsync(file.fileno())
            self._synced = time.monotonic()

    def _reads_back(self, entry: BlockEntry) -> bool:
        """Whether the pixels on the disk are those that were entered."""
        names = [name for bit, name in enumerate(sorted(self.layers)) if entry.layers >> bit & 1]
        pixels = (self._mapped(name)[(slice(None), *entry.window.slices)] for name in names)
        return checksum_of(pixels) == entry.checksum

    def _mapped(self, name: str) -> NDArray[Any]:
        """A layer's raw file as an array (bands, H, W) that is read where it is indexed."""
        layer = self.layers[name]
        shape = (layer.bands, *self.shape)
        return np.memmap(self._files[name], np.dtype(layer.dtype), "r", shape=shape)

    def _read_whole_rows(self, name: str, band: int, rows: PixelWindow) -> NDArray[Any]:
        dtype = np.dtype(self.layers[name].dtype)
        height, width = self.shape
        file = self._files[name]
        file.seek((band * height + rows.row) * width * dtype.itemsize)
        data = file.read(rows.pixels * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(rows.shape)

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
            kept = json.loads((self.folder / SIGNATURE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(kept == json.loads(json.dumps(signature)))

    def _refuse_full_disk(self, pixels: int) -> None:
        one = Shape2D(1, pixels)
        needed = 2 * sum(layer.size(one) for layer in self.layers.values())
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            self._lock.close()
            remove_folder(self.folder)
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
