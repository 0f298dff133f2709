# SPDX-License-Identifier: GPL-2.0-or-later
"""Merges components that are too small into their surroundings, strip by strip, yet exactly.

What a component becomes depends on all of it, and it may cross many strips. So a strip is looked
at several times, and of what was seen only the numbers of the pieces at strips' edges are kept:
first sizes are counted, then pixels of small components are marked as pending, then rounds settle
those that touch what is settled. The result is that of one pass over the whole raster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .components import Ids, Pieces, Seams, Strip, label_components, strips_of
from .model_card import NODATA_VALUE

ByteArray = NDArray[np.uint8]

_PENDING = 1 << 8
_STATES = ("STATE0", "STATE1")
SCRATCH = dict.fromkeys(_STATES, "uint16")
"""Layers that `sieve_rows` needs beside its input and its output, and their types."""


class Rows(Protocol):
    """Layers of one size that are read and written in whole rows."""

    def read_rows(self, name: str, band: int, start: int, stop: int) -> NDArray[Any]:
        """Rows `[start, stop)` of a layer's band (from 0), shape (rows, W)."""

    def write_rows(self, name: str, start: int, rows: NDArray[Any]) -> None:
        """Write rows of a layer's first band from `start` on."""


class _RowsInMemory:
    """Rows of arrays."""

    def __init__(self, **layers: NDArray[Any]) -> None:
        self._layers = layers

    def read_rows(self, name: str, band: int, start: int, stop: int) -> NDArray[Any]:
        return self._layers[name][start:stop]

    def write_rows(self, name: str, start: int, rows: NDArray[Any]) -> None:
        self._layers[name][start : start + len(rows)] = rows


@dataclass(frozen=True)
class SieveCount:
    """What a sieve did: pixels that changed, and those of small components that had to stay."""

    changed: int
    kept: int


def sieve(labels: ByteArray, min_pixels: int, *, rows: int | None = None) -> ByteArray:
    """Give components of too few pixels the class with which they share the longest border.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        Class values; 255 is nodata, which stays and takes nothing in.
    min_pixels : int
        Components, connected over edges, of fewer pixels are merged.
    rows : int, optional
        Rows looked at at once; the result does not depend on it.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Equally long borders go to the lowest class value. Only components that are large enough,
        or were merged into such, count as neighbours: small ones among small ones wait for
        another round. Where a patch of data, cut off by nodata, has no component that is large
        enough, it stays as it is.

    Examples
    --------
    >>> sieve(np.array([[1, 1, 2, 2], [1, 3, 2, 2], [1, 1, 1, 2]], np.uint8), 2).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 1, 2]]
    """
    result = labels.copy()
    states = {name: np.zeros(labels.shape, dtype) for name, dtype in SCRATCH.items()}
    layers = _RowsInMemory(IN=labels, OUT=result, **states)
    sieve_rows(layers, "IN", "OUT", labels.shape, min_pixels, lambda: None, rows)
    return result


def sieve_rows(
    layers: Rows,
    source: str,
    target: str,
    shape: tuple[int, ...],
    min_pixels: int,
    step: Callable[[], None],
    rows: int | None = None,
) -> SieveCount:
    """Sieve a raster of any size, as `sieve` does an array.

    Parameters
    ----------
    layers : Rows
        Has the layers of `SCRATCH`, too.
    source, target : str
        Layer to read, and layer to write; they must not be the same.
    shape : tuple of int
        Height and width in px.
    min_pixels : int
        Components of fewer pixels are merged.
    step : callable
        Is called before every strip; it may raise, to stop.
    rows : int, optional
        Height of a strip.
    """
    sieving = _Sieving(layers, strips_of(shape[0], shape[1], rows), step)
    sieving.mark_small(source, min_pixels)
    while sieving.settle():
        pass
    return sieving.write(source, target)


class _Sieving:
    """The state of a sieve: class values, and which pixels are pending.

    Each strip lies in one of two layers; a round reads the one and writes the other, so that what
    a round sees does not depend on the order of the strips.
    """

    def __init__(self, layers: Rows, strips: list[Strip], step: Callable[[], None]) -> None:
        self._layers = layers
        self._strips = strips
        self._step = step
        self._lies_in = [0] * len(strips)
        self._pending = [False] * len(strips)

    def mark_small(self, source: str, min_pixels: int) -> None:
        """Take up the source, with the pixels of components that are too small as pending."""
        seams, sizes = Seams(), _Tally()
        for _, labels in self._read(source):
            pieces, count = label_components(labels, labels != NODATA_VALUE)
            base, crossing = seams.add(labels, pieces, count)
            sizes.add(base, crossing, np.bincount(pieces.ravel(), minlength=count + 1))
        ids, component = seams.solve()
        whole = np.bincount(component, weights=sizes.values())
        small_of = dict(zip(ids.tolist(), (whole[component] < min_pixels).tolist(), strict=True))
        for strip, labels in self._read(source):
            pieces, count = label_components(labels, labels != NODATA_VALUE)
            small = np.bincount(pieces.ravel(), minlength=count + 1) < min_pixels
            base, crossing = sizes.pieces[strip.index]
            small[crossing] = [small_of[base + piece] for piece in crossing.tolist()]
            small[0] = False
            marked = small[pieces]
            self._pending[strip.index] = bool(marked.any())
            state = labels + np.where(marked, np.uint16(_PENDING), np.uint16(0))
            self._layers.write_rows(_STATES[0], strip.start, state)

    def settle(self) -> bool:
        """Settle the components that touch settled ones; tell whether there were any."""
        seams, found = Seams(), []
        places: dict[int, tuple[int, Ids]] = {}
        for strip in self._with_pending():
            if strip.index - 1 not in places:
                seams.gap()
            labels, pieces, count, borders = self._borders(strip)
            base, crossing = seams.add(labels, pieces, count)
            places[strip.index] = base, crossing
            found.append(borders.of(crossing).moved(base))
        decided = _of_components(seams, found)
        any_settled = False
        for strip in self._with_pending():
            labels, pieces, count, borders = self._borders(strip)
            base, crossing = places[strip.index]
            becomes = np.full(count + 1, -1, np.int64)
            pieces_settled, values = borders.decide()
            becomes[pieces_settled] = values
            becomes[crossing] = [decided.get(base + piece, -1) for piece in crossing.tolist()]
            any_settled |= self._paint(strip, pieces, becomes)
        for strip in self._with_pending():
            self._lies_in[strip.index] ^= 1
        self._pending = [p and self._has_pending(s) for p, s in zip(self._pending, self._strips)]
        return any_settled

    def write(self, source: str, target: str) -> SieveCount:
        """Write the class values, and count."""
        changed = kept = 0
        for strip, labels in self._read(source):
            state = self._state(strip.start, strip.stop)
            values = (state & 0xFF).astype(np.uint8)
            changed += int(np.count_nonzero(values != labels))
            kept += int(np.count_nonzero(state & _PENDING))
            self._layers.write_rows(target, strip.start, values)
        return SieveCount(changed, kept)

    def _read(self, name: str) -> Iterator[tuple[Strip, ByteArray]]:
        for strip in self._strips:
            self._step()
            yield strip, self._layers.read_rows(name, 0, strip.start, strip.stop)

    def _with_pending(self) -> Iterator[Strip]:
        for strip in self._strips:
            if self._pending[strip.index]:
                self._step()
                yield strip

    def _has_pending(self, strip: Strip) -> bool:
        return bool((self._state(strip.start, strip.stop) & _PENDING).any())

    def _state(self, start: int, stop: int) -> NDArray[np.uint16]:
        """Rows of the state, each strip's from the layer where it lies."""
        parts = []
        for strip in self._strips:
            low, high = max(start, strip.start), min(stop, strip.stop)
            if low < high:
                name = _STATES[self._lies_in[strip.index]]
                parts.append(self._layers.read_rows(name, 0, low, high))
        return np.concatenate(parts)

    def _borders(self, strip: Strip) -> tuple[ByteArray, Pieces, int, _Borders]:
        """Class values, pending pieces and their number, and the pieces' borders."""
        above = min(strip.start, 1)
        below = min(self._strips[-1].stop - strip.stop, 1)
        state = self._state(strip.start - above, strip.stop + below)
        around = np.pad(state, ((1 - above, 1 - below), (1, 1)), constant_values=NODATA_VALUE)
        inner = around[1:-1, 1:-1]
        labels = (inner & 0xFF).astype(np.uint8)
        pieces, count = label_components(labels, inner >= _PENDING)
        return labels, pieces, count, _borders_of(around, pieces)

    def _paint(self, strip: Strip, pieces: Pieces, becomes: Ids) -> bool:
        state = self._state(strip.start, strip.stop)
        values = becomes[pieces]
        settled = values >= 0
        painted = np.where(settled, values, state).astype(np.uint16)
        self._layers.write_rows(_STATES[self._lies_in[strip.index] ^ 1], strip.start, painted)
        return bool(settled.any())


class _Tally:
    """A number for each piece at a strip's edge."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, Ids]] = []
        self._values: list[NDArray[np.int64]] = []

    def add(self, base: int, crossing: Ids, values: NDArray[np.int64]) -> None:
        self.pieces.append((base, crossing))
        self._values.append(values[crossing])

    def values(self) -> NDArray[np.int64]:
        """In the order of `Seams.solve`."""
        return np.concatenate(self._values)


@dataclass(frozen=True)
class _Borders:
    """How long the borders of pieces with settled classes are.

    Parameters
    ----------
    piece, value, length, own : ndarray of int64, shape (N,)
        A piece, a class next to it, their common border in pixel edges, and the piece's class.
    """

    piece: Ids
    value: Ids
    length: Ids
    own: Ids

    def of(self, pieces: Ids) -> _Borders:
        """Those of some pieces."""
        return self._where(np.isin(self.piece, pieces))

    def moved(self, base: int) -> _Borders:
        """The same with other numbers of the pieces."""
        return _Borders(self.piece + base, self.value, self.length, self.own)

    def decide(self) -> tuple[Ids, Ids]:
        """Each piece that has a border, and the class that it takes."""
        # What touches its own class is part of something settled, and keeps its class.
        length = np.where(self.value == self.own, np.iinfo(np.int64).max, self.length)
        order = np.lexsort((self.value, -length, self.piece))
        pieces, first = np.unique(self.piece[order], return_index=True)
        return pieces, self.value[order][first]

    def _where(self, chosen: NDArray[np.bool_]) -> _Borders:
        return _Borders(
            self.piece[chosen], self.value[chosen], self.length[chosen], self.own[chosen]
        )

    @classmethod
    def counted(cls, piece: Ids, value: Ids, length: Ids, own: Ids) -> _Borders:
        """With one entry a piece and class."""
        keys, first, places = np.unique(piece << 8 | value, return_index=True, return_inverse=True)
        lengths = np.bincount(places, weights=length, minlength=keys.size).astype(np.int64)
        return cls(keys >> 8, keys & 0xFF, lengths, own[first])


def _borders_of(around: NDArray[np.uint16], pieces: Pieces) -> _Borders:
    """Borders of pending pieces with settled pixels; `around` has a pixel more on each side."""
    rows, cols = np.nonzero(pieces)
    piece = pieces[rows, cols].astype(np.int64)
    own = (around[rows + 1, cols + 1] & 0xFF).astype(np.int64)
    parts = []
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        beside = around[rows + down, cols + right].astype(np.int64)
        settled = beside < NODATA_VALUE
        parts.append((piece[settled], beside[settled], own[settled]))
    pieces_, values, owns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Borders.counted(pieces_, values, np.ones_like(pieces_), owns)


def _of_components(seams: Seams, found: list[_Borders]) -> dict[int, int]:
    """The class that each piece at strips' edges takes, by its number; none stays out."""
    ids, component = seams.solve()
    if not ids.size:
        return {}
    columns = (np.concatenate([getattr(b, k) for b in found]) for k in ("piece", "value"))
    piece, value = columns
    length = np.concatenate([b.length for b in found])
    own = np.concatenate([b.own for b in found])
    whole = component[np.searchsorted(ids, piece)].astype(np.int64)
    settled, values = _Borders.counted(whole, value, length, own).decide()
    becomes = np.full(int(component.max()) + 1, -1, np.int64)
    becomes[settled] = values
    return {int(p): int(v) for p, v in zip(ids, becomes[component], strict=True) if v >= 0}
