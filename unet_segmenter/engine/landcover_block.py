# SPDX-License-Identifier: GPL-2.0-or-later
"""All that happens to one block of a land-cover map between reading and writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .crf_settings import CrfSettings
from .fuse_block import FuseBlock
from .fuse_methods import exclusive, fuse, merged, renormalised, unknown_probability
from .geometry import PixelWindow
from .landcover_plan import LandcoverPlan, Network, Reading
from .majority import majority_filter
from .model_card import NODATA_VALUE, UNKNOWN_VALUE
from .refine import refine, refine_block, unary_from_labels
from .refine_blocks import BEFORE
from .segment_block import BlockPixels, SegmentBlock
from .shares import FloatArray, rounded_shares
from .staged_network import StagedNetwork
from .tiling import Block

ByteArray = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Pixels:
    """A window as it was read; it may reach past the raster."""

    window: PixelWindow
    values: NDArray[np.generic]
    valid: Mask

    def part(self, window: PixelWindow) -> tuple[NDArray[np.generic], Mask]:
        """Values (H, W, C) and validity (H, W) of a part of it."""
        there = window.relative_to(self.window).slices
        return self.values[there], self.valid[there]


@dataclass(frozen=True)
class LandcoverPixels:
    """What a block needs.

    Parameters
    ----------
    field : PixelWindow
        The pixels to fuse.
    write : PixelWindow
        Those of them to write.
    wanted : ndarray of bool, shape of the field
        Which pixels have data for all networks and lie in the area of interest.
    valid : ndarray of bool, shape of the field
        Which have data, wherever they lie: they lend context to the refinement.
    read : dict
        Pixels by what networks read.
    """

    field: PixelWindow
    write: PixelWindow
    wanted: Mask
    valid: Mask
    read: Mapping[Reading, Pixels]


@dataclass(frozen=True)
class Refinement:
    """What happens to the fused classes.

    Parameters
    ----------
    crf : CrfSettings, optional
        A dense CRF, or none.
    unknown : str
        What becomes of the unknown where the CRF starts from classes; see `RefineJob`.
    majority_radius : int
        Radius in px of the majority filter; 0 for none.
    stop : callable
        Called before each step of the CRF; may raise.
    """

    crf: CrfSettings | None
    unknown: str
    majority_radius: int
    stop: Callable[[], None]

    @property
    def changes(self) -> bool:
        """Whether anything happens."""
        return self.crf is not None or self.majority_radius > 0


class LandcoverReader:
    """Reads what blocks need; called by one thread only.

    Parameters
    ----------
    plan : LandcoverPlan
        What is settled.
    read : callable
        Reads a window as a network does.
    staged : sequence of StagedNetwork
        Networks in parts, which read ahead for themselves.
    """

    def __init__(
        self,
        plan: LandcoverPlan,
        read: Callable[[tuple[Reading, PixelWindow]], tuple[NDArray[np.generic], Mask]],
        staged: Sequence[StagedNetwork],
    ) -> None:
        self._plan, self._read, self._staged = plan, read, staged

    def __call__(self, block: Block) -> LandcoverPixels:
        """Pixels of a block, each band set read once."""
        plan, field = self._plan, self._plan.field(block)
        wanted = plan.aoi.mask(field) if plan.aoi else np.ones(field.shape, bool)
        write = plan.written(block)
        windows: dict[Reading, PixelWindow] = {}
        for network in plan.networks:
            windows.setdefault(network.reading, field)
            for tile in () if network.in_parts else plan.tiles(network, field):
                known = windows[network.reading]
                windows[network.reading] = _around(known, tile.read)
        read = {
            reading: Pixels(window, *self._read((reading, window)))
            for reading, window in windows.items()
        }
        valid = np.logical_and.reduce([pixels.part(field)[1] for pixels in read.values()])
        for staged in self._staged:
            staged.read_ahead(field)
        return LandcoverPixels(field, write, wanted & valid, valid, read)


@dataclass(frozen=True)
class LandcoverBlock:
    """Predict by all networks, fuse, refine and crop.

    Parameters
    ----------
    plan : LandcoverPlan
        What is settled.
    runs : tuple of SegmentBlock
        Each network made ready.
    fuse : FuseBlock
        Classes, rules and the layers wanted.
    refinement : Refinement
        What happens to the fused classes.
    """

    plan: LandcoverPlan
    runs: tuple[SegmentBlock, ...]
    fuse: FuseBlock
    refinement: Refinement

    def __call__(self, block: LandcoverPixels) -> dict[str, NDArray[Any]]:
        """Layers of the written window, each of shape (bands, H, W)."""
        crop = block.write.relative_to(block.field)
        if not block.wanted[crop.slices].any():
            nothing = np.zeros((*crop.shape, len(self.plan.channels)), np.float32)
            made = self.fuse(nothing, np.zeros(crop.shape, bool))
            return {**made, BEFORE: made["OUTPUT"]} if self.refinement.changes else made
        probabilities = self._probabilities(block)
        made = self.fuse(probabilities[crop.slices], block.wanted[crop.slices])
        if self.refinement.changes:
            refined = self._refined(block, merged(probabilities, self.fuse.fusion.groups))
            made |= {"OUTPUT": refined[np.newaxis], BEFORE: made["OUTPUT"]}
        return made

    def _probabilities(self, block: LandcoverPixels) -> FloatArray:
        """Probabilities (H, W, C) of the field, as `segment` would have written them."""
        by_network = [
            self._predicted(network, run, block)
            for network, run in zip(self.plan.networks, self.runs)
        ]
        if self.plan.channels == tuple((0, k) for k in range(len(by_network[0]))):
            planes = by_network[0]  # as they are: no copy
        else:
            planes = np.stack([by_network[n][k] for n, k in self.plan.channels])
        return np.moveaxis(self._as_written(planes, block.valid), 0, -1)

    def _predicted(self, network: Network, run: SegmentBlock, block: LandcoverPixels) -> FloatArray:
        """Probabilities (K, H, W) of the field by one network."""
        if isinstance(run.run, StagedNetwork):
            return run.run.probabilities(block.field, network.classes)
        pixels = block.read[network.reading]
        planes = np.zeros((len(network.classes), *block.field.shape), np.float32)
        for tile in self.plan.tiles(network, block.field):
            values, valid = pixels.part(tile.read)
            there = tile.write.relative_to(block.field).slices
            given = BlockPixels(values, valid, block.wanted[there], tile.crop)
            (found,) = run.probabilities([given])
            planes[(slice(None), *there)] = np.moveaxis(found, -1, 0)
        return planes

    def _as_written(self, planes: FloatArray, valid: Mask) -> FloatArray:
        """Shares as a raster of the type of the probabilities gives them back."""
        return planes if self.fuse.share_type == "float32" else rounded_shares(planes, valid)

    def _refined(self, block: LandcoverPixels, probabilities: FloatArray) -> ByteArray:
        """Classes of the written window, after CRF and majority filter.

        Pixels outside of the area of interest take part, and are left out at the end: an area of
        interest changes no class.
        """
        radius = self.refinement.majority_radius
        near = block.write.pad(radius).intersect(block.field)
        assert near is not None
        core = near.relative_to(block.field)
        classes = fuse(probabilities, self.fuse.fusion.rules, block.valid)
        if self.refinement.crf:
            classes = self._by_crf(block, probabilities, classes, core, self.refinement.crf)
        else:
            classes = classes[core.slices]
        if radius:
            classes = majority_filter(classes, radius, block.valid[core.slices])
        written = classes[block.write.relative_to(near).slices]
        wanted = block.wanted[block.write.relative_to(block.field).slices]
        return np.where(wanted, written, np.uint8(NODATA_VALUE))

    def _by_crf(
        self,
        block: LandcoverPixels,
        probabilities: FloatArray,
        classes: ByteArray,
        core: PixelWindow,
        settings: CrfSettings,
    ) -> ByteArray:
        """Classes of the core: from probabilities where they decide, else from the classes."""
        reading = self.plan.networks[0].reading
        image, _ = block.read[reading].part(block.field)
        place = block.field.relative_to(self.plan.region)
        origin = (place.row, place.col)
        fusion = self.fuse.fusion
        if len(fusion.classes) == 1:
            settings = replace(settings, unknown_threshold=fusion.rules.limits[0])
        if fusion.rules.method == "argmax":
            apart = exclusive(probabilities, fusion.rules)
            shares = renormalised(apart, unknown_probability(probabilities, fusion.rules))
            planes = self._as_written(np.moveaxis(shares, -1, 0), block.valid)
            return refine_block(
                image,
                np.moveaxis(planes, 0, -1),
                block.valid,
                settings,
                values=fusion.band_values(),
                value_range=reading.value_range,
                core=core,
                origin=origin,
                stop=self.refinement.stop,
            )
        keep = self.refinement.unknown == "keep"
        values = [v for look in fusion.looks() if (v := look.value) != UNKNOWN_VALUE or keep]
        unary = unary_from_labels(classes, values, settings.gt_prob)
        marginals = refine(
            *(image, unary, block.valid, settings),
            value_range=reading.value_range,
            core=core,
            origin=origin,
            stop=self.refinement.stop,
        )
        refined: ByteArray = np.array(values, np.uint8)[marginals[core.slices].argmax(axis=-1)]
        refined[~block.valid[core.slices]] = NODATA_VALUE
        return refined


def _around(first: PixelWindow, second: PixelWindow) -> PixelWindow:
    """The smallest window that holds both."""
    row, col = min(first.row, second.row), min(first.col, second.col)
    height = max(first.row_stop, second.row_stop) - row
    width = max(first.col_stop, second.col_stop) - col
    return PixelWindow(row, col, height, width)
