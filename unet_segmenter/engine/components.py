# SPDX-License-Identifier: GPL-2.0-or-later
"""Components: connected pixels of one class, in one array and across the strips of a raster.

The only module of the engine that imports scikit-image. Pixels are connected over their four
edges, not over corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pieces = NDArray[np.int32]
Ids = NDArray[np.int64]

# Pixels of a strip: about 50 MB with all that is computed of them.
_STRIP_PIXELS = 2 << 20


def label_components(labels: NDArray[np.uint8], counted: NDArray[np.bool_]) -> tuple[Pieces, int]:
    """Number the components of an array.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        Class values.
    counted : ndarray of bool, shape (H, W)
        Pixels that belong to a component; the others belong to none.

    Returns
    -------
    pieces : ndarray of int32, shape (H, W)
        Number of each pixel's component, from 1; 0 for none.
    count : int
        The highest number.
    """
    import skimage.measure

    found, count = skimage.measure.label(
        np.where(counted, labels + np.uint16(1), np.uint16(0)),
        background=0,
        connectivity=1,
        return_num=True,
    )
    pieces: Pieces = found.astype(np.int32, copy=False)
    return pieces, int(count)


@dataclass(frozen=True)
class Strip:
    """Rows of a raster, `[start, stop)`, over its whole width."""

    index: int
    start: int
    stop: int


def strips_of(height: int, width: int, rows: int | None = None) -> list[Strip]:
    """Cut a raster into strips of `rows` rows, or of about two million pixels."""
    rows = rows or min(max(_STRIP_PIXELS // width, 16), height)
    starts = range(0, height, rows)
    return [Strip(k, start, min(start + rows, height)) for k, start in enumerate(starts)]


class Seams:
    """Joins the pieces of components that were numbered strip by strip.

    Pieces are known by their number in the strip plus a base, so that no two are equal. Only
    those at strips' edges are kept.
    """

    def __init__(self) -> None:
        self._base = 0
        self._bottom: tuple[NDArray[np.uint8], Ids] | None = None
        self._joined: dict[int, int] = {}
        self._crossing: list[Ids] = []

    def add(self, labels: NDArray[np.uint8], pieces: Pieces, count: int) -> tuple[int, Ids]:
        """Take up the next strip.

        Parameters
        ----------
        labels : ndarray of uint8, shape (H, W)
            Class values.
        pieces : ndarray of int32, shape (H, W)
            Their components.
        count : int
            The highest number of `pieces`.

        Returns
        -------
        base : int
            What is added to the numbers of this strip's pieces.
        crossing : ndarray of int64
            Numbers in this strip of the pieces that touch its first or last row.
        """
        base, self._base = self._base, self._base + count + 1
        if self._bottom is not None:
            above, ids = self._bottom
            joined = (ids > 0) & (pieces[0] > 0) & (above == labels[0])
            pairs = np.stack([ids[joined], pieces[0][joined] + np.int64(base)], axis=1)
            for upper, lower in np.unique(pairs, axis=0).tolist():
                self._join(upper, lower)
        last = pieces[-1].astype(np.int64)
        self._bottom = labels[-1].copy(), np.where(last > 0, last + base, 0)
        edges = np.unique(np.concatenate([pieces[0], pieces[-1]]))
        crossing = edges[edges > 0].astype(np.int64)
        self._crossing.append(crossing + base)
        return base, crossing

    def gap(self) -> None:
        """Tell that the next strip does not follow on the last one."""
        self._bottom = None

    def component(self, piece: int) -> int:
        """The number of the component that a piece belongs to, as far as it is known yet."""
        root = piece
        while (above := self._joined.get(root, root)) != root:
            root = above
        while piece != root:  # the next one finds it in one step
            piece, self._joined[piece] = self._joined[piece], root
        return root

    def forget_closed(self) -> set[int]:
        """Keep only the components that the next strip may join, and tell their numbers.

        For those who follow the strips once: `solve` knows nothing of what is forgotten.
        """
        assert self._bottom is not None
        labels, ids = self._bottom
        found, places = np.unique(ids, return_inverse=True)
        roots = np.array([self.component(piece) for piece in found.tolist()], np.int64)
        self._bottom = labels, roots[places]
        self._joined, self._crossing = {}, []
        return set(roots[roots > 0].tolist())

    def solve(self) -> tuple[Ids, NDArray[np.intp]]:
        """Tell which of all pieces at strips' edges are one component.

        Returns
        -------
        ids : ndarray of int64
            The pieces, ascending.
        component : ndarray of int
            For each piece the number of its component, from 0.
        """
        ids = np.concatenate([np.zeros(0, np.int64), *self._crossing])
        roots = np.array([self.component(piece) for piece in ids.tolist()], np.int64)
        return ids, np.unique(roots, return_inverse=True)[1]

    def _join(self, one: int, other: int) -> None:
        low, high = sorted((self.component(one), self.component(other)))
        self._joined[high] = low
