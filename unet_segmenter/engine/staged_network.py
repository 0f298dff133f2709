# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a network part by part over a raster, and keeps the features between the parts.

A block asks for its pixels; the tiles that it needs of each part are computed unless they are
there, from the tiles of the parts before. Tiles lie on grids of their own, so their features do
not depend on the order of the blocks, and neighbouring blocks share them. One thread reads ahead
and hands the image's tiles to the network; the threads that compute blocks do the rest.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .enlarge import probabilities_of
from .errors import ModelError
from .geometry import PixelWindow, ceil_to, floor_to
from .model_card import ModelCard, ModelClass
from .predict import FloatArray, scale
from .stage_tiles import PartTiles
from .stages import Cuts
from .tiling import Block, BlockGrid

FEATURE_BYTES = 600 << 20
"""Features that a run may keep; strips of blocks are made so narrow that this is enough. With the
rest of a run this comes to about 1 GB, and strips wide enough that little is computed twice."""

_USUAL_BLOCK = 1024  # px: the side of a block

Array = NDArray[Any]
Reader = Callable[[PixelWindow], tuple[NDArray[np.generic], NDArray[np.bool_]]]
Tile = tuple[int, int]  # part, index of the tile in its grid


class PartRequest(Protocol):
    """Memory for one window of one part, and the computing of it.

    `inputs` are to be filled before `infer`, and `outputs` hold what it gave until the next:
    the image as planes (C, H, W) float32, features as (H, W, C).
    """

    inputs: Sequence[Array]
    outputs: Sequence[Array]

    def infer(self) -> None:
        """Compute the outputs; other threads run meanwhile."""
        ...


class Parts(Protocol):
    """The parts of a network, made ready for the windows of their tiles.

    `streams` windows at once are computed fastest. Features are of the type `dtype`.
    """

    runtime: str
    precision: str
    streams: int
    dtype: np.dtype[Any]

    def take(self, part: int) -> PartRequest:
        """A request that no other thread uses; it waits for one."""
        ...

    def give(self, part: int, request: PartRequest) -> None:
        """Let others use a request again."""
        ...


@dataclass(frozen=True)
class Features:
    """What a part gave for a tile.

    Parameters
    ----------
    window : PixelWindow
        The pixels that they cover, on the raster's grid.
    arrays : dict
        Features (H, W, C) by name.
    """

    window: PixelWindow
    arrays: dict[str, Array]


class StagedNetwork:
    """A network in parts, ready for the blocks of one run.

    Parameters
    ----------
    card : ModelCard
        The model; it has cuts.
    parts : Parts
        Its parts on a runtime.
    tiles : tuple of PartTiles
        Windows of each part.
    read : callable
        Pixels (H, W, C) and validity (H, W) of a window; called by several threads.
    """

    def __init__(
        self, card: ModelCard, parts: Parts, tiles: tuple[PartTiles, ...], read: Reader
    ) -> None:
        assert card.cuts is not None
        self._card, self._cuts, self._parts, self._tiles = card, card.cuts, parts, tiles
        self._read = read
        self.runtime, self.precision = parts.runtime, parts.precision
        # One thread more than the network has streams: one decides while the others wait for it.
        self.concurrency = parts.streams + 1
        self._pool = ThreadPoolExecutor(parts.streams, "network")
        # Pixels wait for the network: a few tiles, not all that a block needs.
        self._room = threading.BoundedSemaphore(2 * parts.streams)
        self._lock = threading.Lock()
        self._known: dict[Tile, Future[Features]] = {}
        self._recent: deque[PixelWindow] = deque(maxlen=2 * self.concurrency + 2)
        self._reach = _reaches(self._cuts, tiles)
        self._strip = self._strip_width()
        self._closed = False

    def __enter__(self) -> StagedNetwork:
        """Nothing more."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop what is still computed."""
        self.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def stop(self) -> None:
        """Read nothing more ahead."""
        self._closed = True

    def columns(self, grid: BlockGrid) -> int:
        """How many columns of blocks fit into a strip whose features can be kept."""
        widest = max(span.write_stop - span.write_start for span in grid.cols)
        return max(1, min(self._strip // widest, len(grid.cols)))

    @property
    def kept_bytes(self) -> int:
        """Size of the features that are kept."""
        with self._lock:
            done = [f.result() for f in self._known.values() if f.done() and not f.exception()]
        return sum(array.nbytes for features in done for array in features.arrays.values())

    def read_ahead(self, window: PixelWindow) -> None:
        """Read what the network has not seen yet of what a block's pixels need.

        Blocks must be read ahead, and computed, strip by strip; see `BlockGrid.walk`.
        """
        self._forget(window)
        for tile in self._missing(window)[0]:
            if self._closed:
                return
            self._feature(0, tile, {})

    def probabilities(self, window: PixelWindow, classes: Sequence[ModelClass]) -> FloatArray:
        """Calibrated probabilities (K, H, W) of the classes, in a window of the raster."""
        kept: dict[Tile, Future[Features]] = {}
        for place, missing in enumerate(self._missing(window, kept)):
            for tile in missing:
                kept[place, tile.index] = self._feature(place, tile, kept)
        last = len(self._tiles) - 1
        tiles = self._tiles[last].meeting(self._cells_around(window))
        logits = [kept[last, tile.index].result() for tile in tiles]
        return self._pixels(logits, window, classes)

    def _missing(
        self, window: PixelWindow, kept: dict[Tile, Future[Features]] | None = None
    ) -> list[list[Block]]:
        """Tiles of each part that must be computed to know a window; others go to `kept`."""
        kept = {} if kept is None else kept
        missing: list[list[Block]] = [[] for _ in self._tiles]
        wanted: list[dict[int, Block]] = [{} for _ in self._tiles]
        last = len(self._tiles) - 1
        wanted[last] = {t.index: t for t in self._tiles[last].meeting(self._cells_around(window))}
        for place in range(last, -1, -1):
            for index, tile in sorted(wanted[place].items()):
                with self._lock:
                    known = self._known.get((place, index))
                if known is not None:
                    kept[place, index] = known
                    continue
                missing[place].append(tile)
                for producer in self._producers(place):
                    needed = self._tiles[producer].meeting(tile.read)
                    wanted[producer].update({t.index: t for t in needed})
        return missing

    def _producers(self, place: int) -> list[int]:
        producers = {self._cuts.producer(name) for name in self._cuts.parts[place].inputs}
        return sorted(p for p in producers if p is not None)

    def _feature(
        self, place: int, tile: Block, kept: Mapping[Tile, Future[Features]]
    ) -> Future[Features]:
        """Features of a tile, which this thread or another has the network compute.

        Whoever is the first waits for the features that the tile is computed from. It waits for
        parts before it only, and never in the network's own threads.
        """
        key = (place, tile.index)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                return known
            mine: Future[Features] = Future()
            self._known[key] = mine
        try:
            given = [
                kept[producer, t.index]
                for producer in self._producers(place)
                for t in self._tiles[producer].meeting(tile.read)
            ]
            wait(given)
            ready = [future.result() for future in given]
            if place == 0:
                self._room.acquire()
                pixels, valid = self._read(tile.read)
                job = self._pool.submit(self._shallow, tile, pixels, valid)
                job.add_done_callback(lambda _: self._room.release())
            else:
                job = self._pool.submit(self._deeper, place, tile, ready)
            job.add_done_callback(lambda done: self._hand_on(key, done, mine))
        except BaseException as error:
            self._fail(key, mine, error)
            raise
        return mine

    def _hand_on(self, key: Tile, done: Future[Features], mine: Future[Features]) -> None:
        if done.cancelled():
            mine.cancel()
        elif error := done.exception():
            self._fail(key, mine, error)
        else:
            mine.set_result(done.result())

    def _fail(self, key: Tile, mine: Future[Features], error: BaseException) -> None:
        with self._lock:
            self._known.pop(key, None)
        mine.set_exception(error)

    def _shallow(
        self, tile: Block, pixels: NDArray[np.generic], valid: NDArray[np.bool_]
    ) -> Features:
        """Features of the first part, from pixels."""
        request = self._parts.take(0)
        try:
            stride = self._cuts.image.stride
            request.inputs[0][...] = averaged(pixels, valid, self._card, stride)
            return self._inferred(0, tile, request)
        finally:
            self._parts.give(0, request)

    def _deeper(self, place: int, tile: Block, given: list[Features]) -> Features:
        """Features of a later part, from those of the parts before."""
        request = self._parts.take(place)
        try:
            for name, target in zip(self._cuts.parts[place].inputs, request.inputs, strict=True):
                stride = self._cuts.feature(name).stride
                gather(target, tile.read, [f for f in given if name in f.arrays], name, stride)
            return self._inferred(place, tile, request)
        finally:
            self._parts.give(place, request)

    def _inferred(self, place: int, tile: Block, request: PartRequest) -> Features:
        """What the part gives for the tile, without its halo."""
        request.infer()
        arrays = {}
        for feature, output in zip(self._cuts.parts[place].outputs, request.outputs, strict=True):
            arrays[feature.name] = output[_cells(tile.crop, feature.stride)].copy()
        return Features(tile.write, arrays)

    def _cells_around(self, window: PixelWindow) -> PixelWindow:
        """The window in whole cells of the logits, with one around, as far as there are any."""
        stride = self._cuts.logits.stride
        row, col = (floor_to(at, stride) - stride for at in (window.row, window.col))
        height = ceil_to(window.row_stop, stride) + stride - row
        around = PixelWindow(row, col, height, ceil_to(window.col_stop, stride) + stride - col)
        there = around.intersect(self._tiles[-1].region)
        assert there is not None
        return there

    def _pixels(
        self, logits: list[Features], window: PixelWindow, classes: Sequence[ModelClass]
    ) -> FloatArray:
        """Probabilities (K, H, W) of a window from logits around it."""
        feature, there = self._cuts.logits, self._cells_around(window)
        stride = feature.stride
        shape = (there.height // stride, there.width // stride, feature.channels)
        cells = np.empty(shape, np.float32)
        gather(cells, there, logits, feature.name, stride)
        # Beyond the raster the cells at its edge are repeated.
        row, col = floor_to(window.row, stride), floor_to(window.col, stride)
        height, width = (
            ceil_to(stop, stride) - start
            for stop, start in ((window.row_stop, row), (window.col_stop, col))
        )
        around = PixelWindow(row - stride, col - stride, height + 2 * stride, width + 2 * stride)
        pads = (
            ((there.row - around.row) // stride, (around.row_stop - there.row_stop) // stride),
            ((there.col - around.col) // stride, (around.col_stop - there.col_stop) // stride),
        )
        if not np.isfinite(cells).all():
            raise ModelError(
                f"The model {self._card.name} gives values that are no numbers at {self.precision}"
                ". Choose precision f32, or get the model again."
            )
        planes = np.pad(np.moveaxis(cells, -1, 0), ((0, 0), *pads), mode="edge")
        found = probabilities_of(planes, self._cuts.doublings, self._card.activation, classes)
        inside = window.relative_to(PixelWindow(row, col, height, width))
        return found[(slice(None), *inside.slices)]

    def _forget(self, window: PixelWindow) -> None:
        """Drop features that no block from this one on needs, nor one that is being computed."""
        new_strip = bool(self._recent) and window.row < self._recent[-1].row
        self._recent.append(window)
        first = min(w.row for w in self._recent)
        with self._lock:
            for (place, index), future in list(self._known.items()):
                reach = self._reach[place]
                if not future.done():
                    continue
                tile = self._tiles[place].written(index)
                passed = tile.row_stop <= first - reach
                if passed or (new_strip and not self._is_near(tile, reach)):
                    del self._known[place, index]

    def _is_near(self, tile: PixelWindow, reach: int) -> bool:
        """Whether blocks that are being computed may need a tile of the strip before."""
        return any(w.pad(reach).intersect(tile) for w in self._recent)

    def _strip_width(self) -> int:
        """Width in px of a strip of blocks whose features fit into `FEATURE_BYTES`.

        Before a block, each part has been run as far as a tile of the next part needs it, which
        reaches a halo and most of a tile further, to the sides as well as down.
        """
        ahead = [0] * len(self._tiles)
        bytes_a_column = fixed_bytes = 0.0
        for place in range(len(self._tiles) - 1, -1, -1):
            part, window = self._cuts.parts[place], self._tiles[place].window
            side = window.height - 2 * part.halo
            after = [ahead[k] + self._cuts.parts[k].halo for k in self._cuts.consumers(place)]
            ahead[place] = side + max(after, default=0)
            rows = ahead[place] + self._reach[place] + _USUAL_BLOCK
            values = sum(f.channels / f.stride**2 for f in part.outputs)
            bytes_across = values * self._parts.dtype.itemsize * rows
            bytes_a_column += bytes_across
            fixed_bytes += bytes_across * (ahead[place] + self._reach[place])
        return int((FEATURE_BYTES - fixed_bytes) / bytes_a_column)


def averaged(
    pixels: NDArray[np.generic], valid: NDArray[np.bool_], card: ModelCard, stride: int
) -> FloatArray:
    """Scaled pixels, averaged over squares of stride x stride px.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, C)
        Raster values; H and W are multiples of the stride.
    valid : ndarray of bool, shape (H, W)
        False where a pixel is nodata: it counts as the mean.
    card : ModelCard
        Scaling and range of values.
    stride : int
        Side of the squares in px.

    Returns
    -------
    ndarray of float32, shape (C, H / stride, W / stride)
    """
    low, high = card.input.value_range
    planes = np.moveaxis(pixels, -1, 0)
    if pixels.dtype == np.uint8 and low <= 0 and high >= 255 and valid.all():
        total = np.zeros(planes[:, ::stride, ::stride].shape, np.uint16)
        for row in range(stride):
            for col in range(stride):
                total += planes[:, row::stride, col::stride].astype(np.uint16)
        mean = np.asarray(card.input.mean, np.float32)[:, None, None]
        stddev = np.asarray(card.input.stddev, np.float32)[:, None, None]
        squares = total.astype(np.float32)
        squares *= 1 / (stride**2 * stddev)
        squares -= mean / stddev
        return squares
    scaled = np.moveaxis(scale(pixels, valid, card.input), -1, 0)
    channels, height, width = scaled.shape
    squares = scaled.reshape(channels, height // stride, stride, width // stride, stride)
    mean_of_squares: FloatArray = squares.mean(axis=(2, 4), dtype=np.float32)
    return mean_of_squares


def gather(
    target: Array, window: PixelWindow, features: Sequence[Features], name: str, stride: int
) -> None:
    """Fill an array (H, W, C) with a feature's cells in a window, of the tiles that hold them."""
    for tile in features:
        common = tile.window.intersect(window)
        if common is not None:
            source = tile.arrays[name][_cells(common.relative_to(tile.window), stride)]
            target[_cells(common.relative_to(window), stride)] = source


def _cells(window: PixelWindow, stride: int) -> tuple[slice, slice]:
    rows, cols = window.slices
    return (
        slice(rows.start // stride, rows.stop // stride),
        slice(cols.start // stride, cols.stop // stride),
    )


def _reaches(cuts: Cuts, tiles: tuple[PartTiles, ...]) -> list[int]:
    """How many px above a block each part's features may still be wanted."""
    reaches = [cuts.logits.stride] * len(tiles)
    for place in range(len(tiles) - 2, -1, -1):
        after = [reaches[k] + cuts.parts[k].halo for k in cuts.consumers(place)]
        reaches[place] = max(after)
    return reaches
