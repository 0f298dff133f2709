# SPDX-License-Identifier: GPL-2.0-or-later
"""Refines labels by a dense conditional random field (CRF): pure functions on arrays.

A pixel is pulled towards the class of pixels that are near and of like colour, so boundaries move
to where the image has them and specks vanish.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from .crf_settings import SOLVERS, CrfSettings
from .errors import RuntimeMissingError
from .geometry import PixelWindow
from .model_card import NODATA_VALUE, UNKNOWN_VALUE
from .remedies import build_reference_solver, set_up

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_MISSING = {
    "lattice": "The package numba is not installed in the engine's environment, and refining "
    f"needs it. {set_up()}",
    "pydensecrf": "The solver pydensecrf is not installed in the engine's environment. Choose the "
    "solver lattice, which gives the same map; or "
    f"{build_reference_solver(sys.executable)}.",
}

# Side in px of the cells by which pixels are found that need no inference.
_CELL = 16


def _never() -> None:
    """Let the inference run to its end."""


def refine(
    image: NDArray[np.generic],
    unary: FloatArray,
    valid: Mask,
    settings: CrfSettings,
    *,
    value_range: tuple[float, float] = (0.0, 255.0),
    core: PixelWindow | None = None,
    origin: tuple[int, int] = (0, 0),
    stop: Callable[[], None] = _never,
) -> FloatArray:
    """Marginal probabilities of the classes under a dense CRF.

    Parameters
    ----------
    image : ndarray, shape (H, W, B)
        Any number of bands of any type.
    unary : ndarray of float32, shape (H, W, K)
        Probabilities of two or more classes that sum to 1, from `unary_from_probabilities` or
        `unary_from_labels`.
    valid : ndarray of bool, shape (H, W)
        False at nodata: such pixels have no influence.
    settings : CrfSettings
        The model.
    value_range : tuple of float
        Values of the image that stand for 0 and 255 in the units of `settings.srgb`.
    core : PixelWindow, optional
        The only pixels whose result counts; others are context. All by default.
    origin : tuple of int
        Row and column of the first pixel in the raster. The filter is anchored there, so that
        all blocks are filtered alike.
    stop : callable
        Called before each step of the inference; what it raises ends it.

    Returns
    -------
    ndarray of float32, shape (H, W, K)
        The unary itself at nodata, and where no other class is near: there the label cannot
        change.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    RuntimeMissingError
        If the solver of the settings is not installed.

    Notes
    -----
    Where the likeliest class of all pixels in reach is one, the pull of both kernels and the
    unary all favour it, and so does every step of the inference. Only pixels with another
    class in reach are inferred, only those in their reach take part, and of the classes only
    those that are the likeliest of one of them.

    References
    ----------
    P. Krähenbühl and V. Koltun, "Efficient inference in fully connected CRFs with Gaussian edge
    potentials", NeurIPS 2011.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.zeros((8, 8, 3), np.uint8)
    >>> image[:, 4:] = 200
    >>> labels = np.where(image[..., 0] > 100, 2, 1).astype(np.uint8)
    >>> labels[4, 2] = 2  # a speck
    >>> valid = np.ones((8, 8), bool)
    >>> unary = unary_from_labels(labels, (1, 2), 0.6)
    >>> refine(image, unary, valid, CrfSettings(sxy=3)).argmax(-1)[4]
    array([0, 0, 0, 0, 1, 1, 1, 1])
    """
    if image.shape[:2] != unary.shape[:2] or valid.shape != unary.shape[:2]:
        raise ValueError(f"shapes differ: {image.shape}, {unary.shape}, {valid.shape}")
    if unary.shape[2] < 2:
        raise ValueError("a single class has no other class to compete with")
    wanted, used = _inferred(unary, valid, settings.halo, core)
    if not wanted.any():
        return unary
    box = _bounding_box(used)
    contending = np.flatnonzero(_contending(unary[box], used[box]))
    distribution = unary[box][..., contending]
    distribution /= distribution.sum(axis=-1, keepdims=True)
    features = _features(image[box], valid[box], value_range)
    found = _solver(settings.solver).mean_field(
        *(features, distribution, wanted[box], used[box], settings),
        origin=(origin[0] + box[0].start, origin[1] + box[1].start),
        stop=stop,
    )
    inferred = np.zeros_like(unary[box])
    inferred[..., contending] = found
    result = unary.copy()
    result[box][wanted[box]] = inferred[wanted[box]]
    return result


def refine_block(
    image: NDArray[np.generic],
    probabilities: FloatArray,
    valid: Mask,
    settings: CrfSettings,
    *,
    values: Sequence[int] | None = None,
    value_range: tuple[float, float] = (0.0, 255.0),
    core: PixelWindow | None = None,
    origin: tuple[int, int] = (0, 0),
    stop: Callable[[], None] = _never,
) -> ByteArray:
    """Labels of a block from one-vs-rest probabilities.

    Parameters
    ----------
    image : ndarray, shape (H, W, B)
        The block with `settings.halo` px around it.
    probabilities : ndarray of float32, shape (H, W, K)
        Probability of each class against the rest, 0-1.
    valid : ndarray of bool, shape (H, W)
        False at nodata.
    settings : CrfSettings
        The model.
    values : sequence of int, optional
        Value of each class in the result; 1, 2 ... by default.
    value_range : tuple of float
        Values of the image that stand for 0 and 255 in the units of `settings.srgb`.
    core : PixelWindow, optional
        The block, counted from the first pixel; everything by default.
    origin : tuple of int
        Row and column of the first pixel in the raster. The filter is anchored there, so that
        all blocks are filtered alike.
    stop : callable
        Called before each step of the inference; what it raises ends it.

    Returns
    -------
    ndarray of uint8, shape of the core
        Values of the classes, 0 for "unknown" or for the rest of a single class, 255 for nodata.
        Where no class has any probability the class stays unknown, whatever is near.
    """
    classes = probabilities.shape[2]
    values = range(1, classes + 1) if values is None else values
    unary = unary_from_probabilities(probabilities, settings.unknown_threshold)
    table = np.array([*values, UNKNOWN_VALUE], np.uint8)
    marginals = refine(
        *(image, unary, valid, settings),
        value_range=value_range,
        core=core,
        origin=origin,
        stop=stop,
    )
    inside = (core or PixelWindow(0, 0, *valid.shape)).slices
    mask: ByteArray = table[marginals[inside].argmax(axis=-1)]
    mask[~probabilities[inside].any(axis=-1)] = UNKNOWN_VALUE
    mask[~valid[inside]] = NODATA_VALUE
    return mask


def unary_from_probabilities(
    probabilities: FloatArray, unknown_threshold: float | None = None
) -> FloatArray:
    """One distribution over the classes from the probability of each against the rest.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, K)
        Probabilities, 0-1; they need not sum to 1.
    unknown_threshold : float, optional
        Probability below which "unknown" is likelier than the best class. Of a single class it
        is the threshold between class and rest, by default 0.5.

    Returns
    -------
    ndarray of float32, shape (H, W, K) or (H, W, K + 1)
        Sums to 1. The last class is "unknown", or the rest of a single class, where there is one.
        Its likeliest class is that of the probabilities, with the threshold.
    """
    weights = np.clip(np.nan_to_num(probabilities), 0, 1).astype(np.float32)
    if weights.shape[2] == 1:
        threshold = np.float32(unknown_threshold or 0.5)
        weights = np.concatenate([weights * (1 - threshold), (1 - weights) * threshold], axis=-1)
    elif unknown_threshold is not None:
        unknown = np.full((*weights.shape[:2], 1), unknown_threshold, np.float32)
        weights = np.concatenate([weights, unknown], axis=-1)
    weights += np.float32(1e-6)  # where no class has any, all have the same
    unary: FloatArray = weights / weights.sum(axis=-1, keepdims=True)
    return unary


def unary_from_labels(
    labels: ByteArray, values: Sequence[int], gt_prob: float, unsure: Mask | None = None
) -> FloatArray:
    """One distribution over the classes from labels.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        Values of the classes.
    values : sequence of int
        The two or more values that are classes.
    gt_prob : float
        Probability that a label is right; the other classes share the rest.
    unsure : ndarray of bool, shape (H, W), optional
        Pixels whose label says nothing. So do those whose label is none of the values.

    Returns
    -------
    ndarray of float32, shape (H, W, K)
        Sums to 1; equal for all classes where the label says nothing.
    """
    count = len(values)
    index = np.full(256, count, np.intp)
    index[list(values)] = np.arange(count)
    rows = np.full((count + 1, count), (1 - gt_prob) / (count - 1), np.float32)
    np.fill_diagonal(rows, gt_prob)
    rows[count] = 1 / count
    places = index[labels]
    if unsure is not None:
        places[unsure] = count
    unary: FloatArray = rows[places]
    return unary


def _solver(name: str) -> ModuleType:
    """The module that infers, imported only now: a compiler stands behind it."""
    try:
        return importlib.import_module(f".{SOLVERS[name]}", __package__)
    except ImportError as error:
        raise RuntimeMissingError(f"{_MISSING[name]} ({error})") from error


def _features(
    image: NDArray[np.generic], valid: Mask, value_range: tuple[float, float]
) -> FloatArray:
    low, high = value_range
    scaled = (image.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    scaled[~valid] = 0
    return scaled


def _inferred(
    unary: FloatArray, valid: Mask, reach: int, core: PixelWindow | None
) -> tuple[Mask, Mask]:
    """Pixels whose label may change, and those that have a say in it; whole cells of both."""
    last = unary.shape[2] - 1
    highest = unary.max(axis=-1, keepdims=True)
    likeliest = unary == highest  # where classes tie, the first and the last of them count
    first = np.where(valid, likeliest.argmax(axis=-1), last)
    final = np.where(valid, last - likeliest[..., ::-1].argmax(axis=-1), 0)
    cells = -(-reach // _CELL)
    lowest = last - _spread(_highest_of_cells(last - first), cells)
    mixed = _spread(_highest_of_cells(final), cells) > lowest
    changing = mixed
    if core is not None:
        inside = np.zeros(valid.shape, bool)
        inside[core.slices] = True
        changing = mixed & _highest_of_cells(inside)
    heard = _spread(changing, cells)
    return _pixels_of(mixed & heard, valid), _pixels_of(heard, valid)


def _contending(unary: FloatArray, used: Mask) -> Mask:
    """The classes that are likeliest somewhere: no other can win a pixel by the others' pull."""
    highest = unary.max(axis=-1)
    return np.array(
        [(used & (unary[..., k] == highest)).any() for k in range(unary.shape[2])], bool
    )


def _highest_of_cells(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Highest value of each cell of pixels."""
    starts = [np.arange(0, side, _CELL) for side in values.shape]
    rows = np.maximum.reduceat(values, starts[0], axis=0)
    cells: NDArray[np.generic] = np.maximum.reduceat(rows, starts[1], axis=1)
    return cells


def _spread(cells: NDArray[np.generic], distance: int) -> NDArray[np.generic]:
    """Highest value of the cells at most so many cells away."""
    for axis in (0, 1):
        around = np.zeros((2, 2), int)
        around[axis] = distance
        padded = np.pad(cells, around, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * distance + 1, axis=axis)
        cells = windows.max(axis=-1)
    return cells


def _pixels_of(cells: NDArray[np.generic], valid: Mask) -> Mask:
    """The valid pixels of the cells that are true."""
    rows, cols = (np.arange(side) // _CELL for side in valid.shape)
    pixels: Mask = cells.astype(bool)[rows[:, np.newaxis], cols] & valid
    return pixels


def _bounding_box(mask: Mask) -> tuple[slice, slice]:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
