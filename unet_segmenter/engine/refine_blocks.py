# SPDX-License-Identifier: GPL-2.0-or-later
"""What a refinement reads, on the grid of the image, and what it makes of a block."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .block_job import Arrays
from .class_looks import RasterLegend
from .crf_settings import CrfSettings
from .errors import InputError, JobError
from .fuse import places_of_wholes
from .fuse_classes import DEFAULT_THRESHOLD, ClassSource
from .fuse_methods import FusionRules, exclusive
from .geometry import PixelWindow
from .legend import UNKNOWN_COLOR, ClassLook
from .model_card import NODATA_VALUE, UNKNOWN_VALUE
from .probability_source import ProbabilitySource, check_told, told_classes
from .rasters.source import RasterSource
from .reference import PALETTE, check_class_band, read_classes
from .refine import refine, unary_from_labels, unary_from_probabilities
from .refine_job import RefineJob
from .tiling import Block
from .warp_hint import how_to_align

FloatArray = NDArray[np.float32]
Mask = NDArray[np.bool_]
Read = Callable[[PixelWindow], tuple[NDArray[np.generic], Mask]]
Unary = Callable[[NDArray[np.generic]], FloatArray]

# Layer of the classes as they were, in the unfinished run: never written.
BEFORE = "BEFORE"
_UNKNOWN_LOOK = ClassLook(UNKNOWN_VALUE, "unknown", UNKNOWN_COLOR)


@dataclass(frozen=True)
class MapSource:
    """The map to refine.

    Parameters
    ----------
    source : RasterSource
        Its raster, on the grid of the image.
    read : callable
        Probabilities (H, W, K) or labels (H, W) of a window, and where there are any.
    unary : callable
        From what `read` gives to a distribution over the classes, (H, W, len(values)).
    values : tuple of int
        Value of each class of the distribution in the map.
    looks : tuple of ClassLook
        Names and colours, by value.
    """

    source: RasterSource
    read: Read
    unary: Unary
    values: tuple[int, ...]
    looks: tuple[ClassLook, ...]


@dataclass(frozen=True)
class BlockImage:
    """A block as it was read, with its halo."""

    image: NDArray[np.generic]
    given: NDArray[np.generic]
    valid: Mask
    core: PixelWindow
    origin: tuple[int, int]


@dataclass(frozen=True)
class RefineBlock:
    """Infer, decide and crop; also tells what was before.

    Parameters
    ----------
    map : MapSource
        Classes.
    settings : CrfSettings
        The model.
    value_range : tuple of float
        Of the image.
    stop : callable
        Called before each step of the inference; may raise.
    """

    map: MapSource
    settings: CrfSettings
    value_range: tuple[float, float]
    stop: Callable[[], None]

    def __call__(self, block: BlockImage) -> Arrays:
        """Arrays (1, H, W) of the written window by layer."""
        inside = block.core.slices
        valid = block.valid[inside]
        if not valid.any():
            empty = np.full((1, *valid.shape), NODATA_VALUE, np.uint8)
            return {"OUTPUT": empty, BEFORE: empty}
        unary = self.map.unary(block.given)
        marginals = refine(
            *(block.image, unary, block.valid, self.settings),
            value_range=self.value_range,
            core=block.core,
            origin=block.origin,
            stop=self.stop,
        )
        before = self._labels(unary[inside], valid)
        after = self._labels(marginals[inside], valid)
        if block.given.ndim == 2:  # an unsure pixel had no class before
            before = np.where(valid, block.given[inside], NODATA_VALUE).astype(np.uint8)
        else:  # nothing speaks for any class, so the class stays unknown
            nothing = valid & ~block.given[inside].any(axis=-1)
            before[nothing] = after[nothing] = UNKNOWN_VALUE
        return {"OUTPUT": after[np.newaxis], BEFORE: before[np.newaxis]}

    def _labels(self, distribution: FloatArray, valid: Mask) -> NDArray[np.uint8]:
        table = np.array(self.map.values, np.uint8)
        labels: NDArray[np.uint8] = table[distribution.argmax(axis=-1)]
        labels[~valid] = NODATA_VALUE
        return labels


def read_block(
    image: RasterSource,
    bands: tuple[int, ...],
    value_range: tuple[float, float],
    map_source: MapSource,
    block: Block,
) -> BlockImage:
    """Image and map of a block; nodata where one has it."""
    given, known = map_source.read(block.read)
    if known[block.crop.slices].any():
        pixels, valid = image.read(block.read, bands, value_range)
    else:
        pixels, valid = np.zeros((*known.shape, len(bands)), np.uint8), known
    return BlockImage(pixels, given, valid & known, block.crop, (block.read.row, block.read.col))


def open_map(job: RefineJob, image: RasterSource, stack: ExitStack) -> MapSource:
    """The job's map on the grid of the image; the stack closes it.

    Raises
    ------
    InputError
        If it cannot be used, or lies on another grid and the job does not align it.
    """
    source = stack.enter_context(RasterSource(job.map))
    told = told_classes(source) if job.probability else {}
    if job.probability:
        check_told(source, told)
    legend = None
    if job.labels:
        check_class_band(source, job.label_band)
        legend = RasterLegend.of(source, job.label_band)
    differences = image.grid.differences(source.grid)
    if differences:
        if not job.align:
            hint = how_to_align(image, [source], "bilinear" if job.probability else "near")
            raise InputError(
                f"{source.path} lies on another grid than {image.path}: they differ in "
                f"{' and '.join(differences)}. {hint}"
            )
        method = "bilinear" if job.probability else "nearest"
        source = stack.enter_context(RasterSource.aligned(job.map, image.grid, method))
    if legend is not None:
        return _label_map(job, source, legend)
    unnamed = [band for band in source.data_bands if band not in told]  # the unknown's own band
    bands = (*told, *unnamed)
    values = [one.value for one in told.values() if one.value is not None]
    if len(set(values)) != len(told) or UNKNOWN_VALUE in values:
        values = list(range(1, len(told) + 1))
    looks = [
        ClassLook(value, one.name, one.color or PALETTE[value % len(PALETTE)])
        for value, one in zip(values, told.values(), strict=True)
    ]
    threshold = job.unknown_threshold
    rules = _rules_of_parts(tuple(told.values()), tuple(values))
    if len(bands) == 1:
        only = looks[0]
        values = [1, UNKNOWN_VALUE]
        looks = [ClassLook(1, only.name, only.color),
                 ClassLook(0, f"not {only.name}", UNKNOWN_COLOR)]  # fmt: skip
        threshold = threshold or next(iter(told.values())).threshold
    else:
        if rules is not None and len(rules.independent) == 1:
            threshold = threshold or rules.least
        looks.append(_UNKNOWN_LOOK)  # where nothing speaks for any class, if nowhere else
        if unnamed or threshold is not None:
            values.append(UNKNOWN_VALUE)
            threshold = None if unnamed else threshold
    return MapSource(
        source,
        ProbabilitySource(source, bands).read,
        lambda shares: unary_from_probabilities(_apart(shares, rules), threshold),
        tuple(values),
        tuple(sorted(looks, key=lambda look: look.value)),
    )


def _rules_of_parts(
    classes: tuple[ClassSource, ...], values: tuple[int, ...]
) -> FusionRules | None:
    """How classes that contain others are told apart; None where no class contains another."""
    wholes = places_of_wholes({one.name: one.part_of for one in classes})
    if all(whole is None for whole in wholes):
        return None
    limits = (DEFAULT_THRESHOLD if c.threshold is None else c.threshold for c in classes)
    return FusionRules("argmax", values, tuple(limits), wholes=wholes)


def _apart(shares: NDArray[np.generic], rules: FusionRules | None) -> FloatArray:
    """Probabilities of which the highest is the class that a pixel has."""
    p = shares.astype(np.float32, copy=False)
    return p if rules is None else exclusive(p, rules)


def _label_map(job: RefineJob, source: RasterSource, legend: RasterLegend) -> MapSource:
    def read(window: PixelWindow) -> tuple[NDArray[np.generic], Mask]:
        return read_classes(source, job.label_band, window)

    found = _values_of(source, read)
    if not found - {UNKNOWN_VALUE} and (job.unknown == "fill" or not found):
        raise InputError(f"{source.path} holds no class: all of its pixels are 0 or nodata.")
    # With those that the raster names but has not, a part of it is refined as the whole would be.
    named = {value for value in legend.names if value < NODATA_VALUE}
    values = [v for v in sorted(found | named) if v != UNKNOWN_VALUE or job.unknown == "keep"]
    looks = legend.looks(found)
    if len(values) == 1:
        # The CRF tells classes apart. Beside a single one, 0 is what is not it, as in a mask.
        looks = _with_the_rest(values[0], looks, legend)
        values.append(UNKNOWN_VALUE if values[0] != UNKNOWN_VALUE else 1)
    if job.gt_prob * len(values) <= 1:
        raise JobError(
            f"GT_PROB must be above 1/{len(values)}, as {job.map} has {len(values)} classes: with "
            f"{job.gt_prob:g} each label would count against its own class."
        )
    return MapSource(
        source,
        read,
        lambda labels: unary_from_labels(labels.astype(np.uint8), values, job.gt_prob),
        tuple(values),
        looks,
    )


def _with_the_rest(
    value: int, looks: tuple[ClassLook, ...], legend: RasterLegend
) -> tuple[ClassLook, ...]:
    """Names of a class and of what is not it, where the raster has no name for 0."""
    if value == UNKNOWN_VALUE or UNKNOWN_VALUE in legend.names:
        return looks
    rest = ClassLook(UNKNOWN_VALUE, f"not {legend.look(value).name}", UNKNOWN_COLOR)
    return (rest, *(look for look in looks if look.value != UNKNOWN_VALUE))


def _values_of(source: RasterSource, read: Read) -> set[int]:
    """The classes that occur."""
    height, width = source.grid.shape
    rows = max(1, (1 << 22) // width)
    found: set[int] = set()
    for row in range(0, height, rows):
        labels, valid = read(PixelWindow(row, 0, min(rows, height - row), width))
        found |= {int(value) for value in np.unique(labels[valid])}
    return found


def choose_image_bands(job: RefineJob, image: RasterSource) -> tuple[int, ...]:
    """Bands of the image, from 1.

    Raises
    ------
    JobError
        If it has no such band.
    """
    for band in job.bands:
        if band > image.count:
            raise JobError(f"{image.path} has {image.count} bands; there is no band {band}.")
    return job.bands or image.data_bands


def choose_value_range(
    job: RefineJob, image: RasterSource, bands: tuple[int, ...]
) -> tuple[float, float]:
    """Values of the image that stand for black and white."""
    if job.value_range:
        low, high = job.value_range
        return low, high
    if image.dtype == "uint8":
        return 0.0, 255.0
    everything = PixelWindow.of_shape(image.grid.shape)
    values = image.sample(bands, (-np.inf, np.inf), everything)
    if not values.size:
        return 0.0, 255.0
    low, high = (float(v) for v in np.percentile(values.astype(np.float64), (0.5, 99.5)))
    return (low, high) if high > low else (low, low + 1)
