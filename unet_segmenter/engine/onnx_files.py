# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of the files in which an ONNX graph keeps weights outside of its own file.

Runtimes read them without a word, so a model is its file and all of these. The protocol buffer
is walked as it lies on disk: neither QGIS's Python nor the engine's has the package `onnx`.

References
----------
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto for the numbers of the fields,
https://protobuf.dev/programming-guides/encoding for their encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from .errors import ModelError

_GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION, _TRAINING, _ENTRY = range(8)

# Of each message that can lead to a tensor: number of a field -> the message in it.
_INSIDE: dict[int, dict[int, int]] = {
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _TENSOR: {13: _ENTRY},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
}
_MODEL = {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION}
_DEEPEST = 64


def external_files(path: Path) -> tuple[str, ...]:
    """Files beside an ONNX file that hold some of its weights, as the graph names them.

    Parameters
    ----------
    path : Path
        The ONNX file.

    Returns
    -------
    tuple of str
        Paths relative to the file's folder, sorted, each once.

    Raises
    ------
    ModelError
        If the file cannot be read, or is no ONNX file.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return tuple(sorted(set(_locations(data, 0, len(data), _MODEL, 0))))
    except (OSError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not an ONNX model that can be read: {error}.") from error


def _locations(
    data: mmap.mmap, start: int, stop: int, inside: dict[int, int], depth: int
) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("its graphs are nested too deeply")
    for number, first, last in _fields(data, start, stop):
        message = inside.get(number)
        if message == _ENTRY:
            entry = {key: data[a:b] for key, a, b in _fields(data, first, last)}
            if entry.get(1) == b"location":
                yield entry.get(2, b"").decode()
        elif message is not None:
            yield from _locations(data, first, last, _INSIDE[message], depth + 1)


def _fields(data: mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Number, first and last byte (exclusive) of each field whose length is written."""
    place = start
    while place < stop:
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _, place = _varint(data, place)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        elif kind == 2:
            length, place = _varint(data, place)
            yield number, place, place + length
            place += length
        else:
            raise ValueError(f"there is no kind {kind} of field")
        if place > stop:
            raise ValueError("it ends within a field")


def _varint(data: mmap.mmap, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("a number in it is too long")
