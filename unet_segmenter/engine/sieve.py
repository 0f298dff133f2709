# SPDX-License-Identifier: GPL-2.0-or-later
"""Merges components that are too small into their surroundings, strip by strip, yet exactly.

What a component becomes depends on all of it, and it may cross many strips. So each strip is seen
three times: first sizes are counted; then small components that touch a large one are decided, and
of the others their common borders are kept; last the classes are written. In between, the small
components among small ones are decided from the outside in, each of them once. The result is that
of one pass over the whole raster.
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
Whole = NDArray[np.integer[Any]]

Sizes = Callable[[int, int], NDArray[np.float64]]
"""Size of each pixel of the rows `[start, stop)`, shape (rows, W) or (rows, 1)."""

_UNDECIDED = -1
_ROUNDING = 1e-9


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
    layers = _RowsInMemory(IN=labels, OUT=result)
    sieve_rows(layers, "IN", "OUT", labels.shape, min_pixels, lambda: None, rows=rows)
    return result


def sieve_rows(
    layers: Rows,
    source: str,
    target: str,
    shape: tuple[int, ...],
    min_size: float,
    step: Callable[[], None],
    *,
    sizes: Sizes | None = None,
    rows: int | None = None,
) -> SieveCount:
    """Sieve a raster of any size, as `sieve` does an array.

    Parameters
    ----------
    layers : Rows
        Where both layers are.
    source, target : str
        Layer to read, and layer to write; they must not be the same.
    shape : tuple of int
        Height and width in px.
    min_size : float
        Smaller components are merged: in px, or in the unit of `sizes`.
    step : callable
        Is called before every strip; it may raise, to stop.
    sizes : callable, optional
        Sizes of pixels; each is 1 if not given.
    rows : int, optional
        Height of a strip.
    """
    sieving = _Sieving(layers, source, strips_of(shape[0], shape[1], rows), step)
    sieving.measure(sizes, min_size * (1 - _ROUNDING))
    sieving.collect()
    sieving.settle()
    return sieving.write(target)


class _Sieving:
    """The state of a sieve: which components are small, and what becomes of them.

    A piece of a component is known by its number in its strip, plus the numbers of all strips
    before; a component that crosses strips by the lowest of its pieces' numbers.
    """

    def __init__(
        self, layers: Rows, source: str, strips: list[Strip], step: Callable[[], None]
    ) -> None:
        self._layers = layers
        self._source = source
        self._strips = strips
        self._step = step
        self._bases: list[int] = []
        self._borders: list[_Borders] = []
        self._edges: list[_Edges] = []

    def measure(self, sizes: Sizes | None, min_size: float) -> None:
        """Find the components that are too small."""
        seams, inside, at_seams = Seams(), [np.zeros(0, bool)], [np.zeros(0)]
        for strip, labels, pieces, count in self._read():
            weights = None
            if sizes is not None:
                weights = np.broadcast_to(sizes(strip.start, strip.stop), labels.shape).ravel()
            found = np.bincount(pieces.ravel(), weights, count + 1)
            base, crossing = seams.add(labels, pieces, count)
            self._bases.append(base)
            at_seams.append(found[crossing].astype(np.float64))
            inside.append(found < min_size)
            inside[-1][0] = False  # nodata
        self._crossing, component = seams.solve()
        first = np.full(int(component.max(initial=-1)) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, component, self._crossing)
        self._roots = first[component]
        self._small = np.concatenate(inside)
        whole = np.bincount(component, np.concatenate(at_seams))
        self._small[self._crossing] = (whole < min_size)[component]
        self._becomes = np.full(len(self._small), _UNDECIDED, np.int16)

    def collect(self) -> None:
        """Decide what touches a large component; keep what cannot be decided in one strip."""
        below: tuple[Ids, ByteArray] | None = None
        for strip, labels, pieces, count in self._read():
            base = self._bases[strip.index]
            own = np.zeros(count + 1, np.int64)
            own[pieces.ravel()] = labels.ravel()
            small = self._small[base : base + count + 1]
            found = _Edges.between(pieces, own, small).moved(base)
            crosses = self._is_crossing(found.piece)
            decided = self._borders_of(found.chosen(~crosses)).decide()
            self._becomes[decided[0]] = decided[1]
            self._keep(found)
            rows = [(self._numbers(base, pieces[k]), labels[k]) for k in (0, -1)]
            if below is not None:
                self._keep(_Edges.across(*below, *rows[0]))
            below = rows[1]

    def settle(self) -> None:
        """Decide the other components, from those that touch decided ones on."""
        nodes, values = _Borders.joined(self._borders).decide()
        self._becomes[nodes] = values
        edges = _Edges.joined(self._edges)
        self._edges.clear()
        edges = edges.chosen(self._becomes[edges.piece] == _UNDECIDED)
        edges = edges.chosen(np.argsort(edges.neighbour, kind="stable"))
        count = np.bincount(edges.neighbour, minlength=len(self._becomes))
        starts = np.cumsum(count) - count
        reached = edges.chosen(self._becomes[edges.neighbour] != _UNDECIDED)
        while True:
            open_ = reached.chosen(self._becomes[reached.piece] == _UNDECIDED)
            nodes, values = open_.borders(self._becomes[open_.neighbour]).decide()
            if not nodes.size:
                return
            self._becomes[nodes] = values
            reached = edges.chosen(_ranges(starts[nodes], count[nodes]))

    def write(self, target: str) -> SieveCount:
        """Write the class values, and count."""
        changed = kept = 0
        for strip, labels, pieces, count in self._read():
            numbers = self._bases[strip.index] + np.arange(count + 1)
            becomes = self._becomes[self._nodes(numbers)][pieces]
            small = self._small[numbers][pieces]
            values = np.where(becomes == _UNDECIDED, labels, becomes).astype(np.uint8)
            changed += int(np.count_nonzero(values != labels))
            kept += int(np.count_nonzero(small & (becomes == _UNDECIDED)))
            self._layers.write_rows(target, strip.start, values)
        return SieveCount(changed, kept)

    def _read(self) -> Iterator[tuple[Strip, ByteArray, Pieces, int]]:
        for strip in self._strips:
            self._step()
            labels = self._layers.read_rows(self._source, 0, strip.start, strip.stop)
            yield strip, labels, *label_components(labels, labels != NODATA_VALUE)

    def _keep(self, edges: _Edges) -> None:
        """Keep borders that decide a component which crosses strips, or none yet."""
        crosses = self._is_crossing(edges.piece)
        borders = self._borders_of(edges.chosen(crosses))
        self._borders.append(borders.of(self._nodes(borders.piece)))
        waiting = self._small[edges.piece] & self._small[edges.neighbour]
        waiting &= self._becomes[edges.piece] == _UNDECIDED
        kept = edges.chosen(waiting)
        kept = kept.of(self._nodes(kept.piece), self._nodes(kept.neighbour))
        self._edges.append(kept.in_few_bytes())

    def _borders_of(self, edges: _Edges) -> _Borders:
        """Borders of small components with large ones."""
        chosen = edges.chosen(self._small[edges.piece] & ~self._small[edges.neighbour])
        return chosen.borders(chosen.value)

    def _is_crossing(self, pieces: Ids) -> NDArray[np.bool_]:
        return self._find_crossing(pieces)[0]

    def _nodes(self, pieces: Ids) -> Ids:
        """The number of the component of each piece."""
        crosses, place = self._find_crossing(pieces)
        nodes = pieces.copy()
        nodes[crosses] = self._roots[place[crosses]]
        return nodes

    def _find_crossing(self, pieces: Ids) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Which pieces touch the edge of a strip, and their place among those that do."""
        if not self._crossing.size:
            return np.zeros(pieces.shape, bool), np.zeros(pieces.shape, np.intp)
        place = np.searchsorted(self._crossing, pieces)
        place = np.minimum(place, self._crossing.size - 1)
        return self._crossing[place] == pieces, place

    def _numbers(self, base: int, pieces: Pieces) -> Ids:
        return np.where(pieces > 0, self._nodes(pieces + np.int64(base)), 0)


@dataclass(frozen=True)
class _Edges:
    """Common borders of neighbouring components, each seen from both sides.

    Parameters
    ----------
    piece, neighbour, own, value, length : ndarray of int, shape (N,)
        Two components, their classes, and the length of the border in edges of pixels.
    """

    piece: Ids
    neighbour: Ids
    own: Whole
    value: Whole
    length: Whole

    @classmethod
    def between(cls, pieces: Pieces, values: Ids, small: NDArray[np.bool_]) -> _Edges:
        """Those of small components in an array, whose classes are given by their number."""
        found, width = [], len(values)
        for one, other in ((pieces[:, :-1], pieces[:, 1:]), (pieces[:-1], pieces[1:])):
            there = (one != other) & (one > 0) & (other > 0)
            first, second = one[there], other[there]
            there = small[first] | small[second]
            low, high = np.minimum(first, second)[there], np.maximum(first, second)[there]
            found.append(low * np.int64(width) + high)
        keys, length = np.unique(np.concatenate(found), return_counts=True)
        low, high = keys // width, keys % width
        return cls(low, high, values[low], values[high], length).both_ways()

    @classmethod
    def across(cls, upper: Ids, above: ByteArray, lower: Ids, below: ByteArray) -> _Edges:
        """Those between two rows of components with their classes; equal ones are not joined."""
        there = (upper != lower) & (upper > 0) & (lower > 0)
        classes = (row[there].astype(np.int64) for row in (above, below))
        length = np.ones(int(there.sum()), np.int64)
        own, value = classes
        return cls(upper[there], lower[there], own, value, length).both_ways()

    def both_ways(self) -> _Edges:
        """The same, and each seen from the other side."""
        return _Edges(
            np.append(self.piece, self.neighbour),
            np.append(self.neighbour, self.piece),
            np.append(self.own, self.value),
            np.append(self.value, self.own),
            np.append(self.length, self.length),
        )

    @classmethod
    def joined(cls, parts: list[_Edges]) -> _Edges:
        """All of several."""
        columns = zip(*(part._columns() for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def moved(self, base: int) -> _Edges:
        """The same with other numbers of the components."""
        return self.of(self.piece + base, self.neighbour + base)

    def of(self, pieces: Ids, neighbours: Ids) -> _Edges:
        """The same of other components."""
        return _Edges(pieces, neighbours, self.own, self.value, self.length)

    def in_few_bytes(self) -> _Edges:
        """The same in types of the size that the values need: there may be many."""
        own, value = self.own.astype(np.uint8), self.value.astype(np.uint8)
        return _Edges(self.piece, self.neighbour, own, value, self.length.astype(np.int32))

    def chosen(self, which: NDArray[np.bool_] | Ids) -> _Edges:
        """Some of them."""
        return _Edges(*(column[which] for column in self._columns()))

    def borders(self, values: Whole) -> _Borders:
        """Lengths of the borders of the components, by the values that their neighbours have."""
        return _Borders.counted(self.piece, values.astype(np.int64), self.length, self.own)

    def _columns(self) -> tuple[Any, ...]:
        return self.piece, self.neighbour, self.own, self.value, self.length


@dataclass(frozen=True)
class _Borders:
    """How long the borders of components with classes are.

    Parameters
    ----------
    piece, value, length, own : ndarray of int64, shape (N,)
        A component, a class next to it, their common border in edges of pixels, and the
        component's own class.
    """

    piece: Ids
    value: Ids
    length: Ids
    own: Ids

    @classmethod
    def counted(cls, piece: Ids, value: Ids, length: Whole, own: Whole) -> _Borders:
        """With one entry a component and class."""
        keys, first, places = np.unique(piece << 8 | value, return_index=True, return_inverse=True)
        lengths = np.bincount(places, weights=length, minlength=keys.size).astype(np.int64)
        return cls(keys >> 8, keys & 0xFF, lengths, own[first].astype(np.int64))

    @classmethod
    def joined(cls, parts: list[_Borders]) -> _Borders:
        """All of several, with one entry a component and class."""
        columns = zip(*((b.piece, b.value, b.length, b.own) for b in parts), strict=True)
        return cls.counted(*(np.concatenate([np.zeros(0, np.int64), *c]) for c in columns))

    def of(self, pieces: Ids) -> _Borders:
        """The same of other components."""
        return _Borders(pieces, self.value, self.length, self.own)

    def decide(self) -> tuple[Ids, Ids]:
        """Each component that has a border, and the class that it takes."""
        # What touches its own class is part of something settled, and keeps its class.
        length = np.where(self.value == self.own, np.iinfo(np.int64).max, self.length)
        order = np.lexsort((self.value, -length, self.piece))
        pieces, first = np.unique(self.piece[order], return_index=True)
        return pieces, self.value[order][first]


def _ranges(starts: Ids, counts: Ids) -> Ids:
    """The numbers from each start on, as many as its count, one range after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))
