# SPDX-License-Identifier: GPL-2.0-or-later
"""What a land-cover run settles before its first block: networks, windows, blocks, classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .checks import check_resolution, check_values, choose_bands
from .errors import JobError
from .fuse_classes import ClassSource, Fusion, plan_fusion
from .geometry import PixelWindow, Shape2D, ceil_to
from .landcover_job import LandcoverJob
from .model_card import ModelCard, ModelClass
from .model_library import ModelLibrary
from .open_model import open_model
from .predictor import runs_in_parts
from .rasters.grid import RasterGrid
from .rasters.image import ImageSource
from .rasters.polygons import AreaOfInterest
from .region import wanted_area, wanted_region
from .tiling import Block, BlockGrid

DEFAULT_BLOCK_SIZE = 1024


@dataclass(frozen=True)
class Reading:
    """What a network reads: bands, and the values that are data. Equal ones are read once."""

    bands: tuple[int, ...]
    value_range: tuple[float, float]


@dataclass(frozen=True)
class Network:
    """One network that is run over each block, for one model or for several with its weights.

    Parameters
    ----------
    card : ModelCard
        Of the first of these models.
    reading : Reading
        What it is given.
    classes : tuple of ModelClass
        Channels wanted of it, those of all models.
    halo : int
        Context in px.
    in_parts : bool
        Whether it is run in parts, each with its own context, and reads what it needs itself.
    """

    card: ModelCard
    reading: Reading
    classes: tuple[ModelClass, ...]
    halo: int
    in_parts: bool = False

    def window(self, shape: Shape2D, most: Shape2D) -> Shape2D:
        """Shape of its windows, such that one covers a field of `most` px wherever it lies."""
        if self.card.fixed_size is not None:
            return Shape2D(self.card.fixed_size, self.card.fixed_size)
        divisor = self.card.divisor
        around = 2 * ceil_to(self.halo, divisor)
        sides = (
            min(ceil_to(field + divisor - 1, divisor) + around, ceil_to(length, divisor))
            for field, length in zip(most, shape)
        )
        return Shape2D(*sides)

    def tiles(self, shape: Shape2D, window: Shape2D, field: PixelWindow) -> list[Block]:
        """Windows that it is run on to know a field: one, or several of a fixed size."""
        return list(BlockGrid.of_windows(shape, window, self.halo, self.card.divisor, field))

    def has_weights_of(self, card: ModelCard) -> bool:
        """Whether the model's file is the same, and is fed in the same way."""
        hashes = [tuple(sorted(f.sha256 for f in c.files)) for c in (self.card, card)]
        same_feed = (self.card.input, self.card.divisor, self.card.fixed_size) == (
            card.input, card.divisor, card.fixed_size,
        )  # fmt: skip
        return hashes[0] == hashes[1] and same_feed


@dataclass(frozen=True)
class LandcoverPlan:
    """Everything that is settled before the first block.

    Parameters
    ----------
    cards : tuple of ModelCard
        The models, as named.
    networks : tuple of Network
        What is run.
    runs : tuple of (ModelCard, int)
        Each model of which classes are taken, and the place of the network that runs it.
    channels : tuple of tuple of int
        Network, and place among its classes, of each source of the fusion.
    fusion : Fusion
        Classes and rules.
    grid : RasterGrid
        Of the input.
    region : PixelWindow
        What is mapped.
    aoi : AreaOfInterest, optional
        What is wanted of it.
    blocks : BlockGrid
        What is fused and what is written block by block, counted from the region's first pixel:
        as a raster of the region alone would be refined.
    crf : bool
        Whether a CRF refines what was fused.
    warnings : tuple of str
        What the reader of the map should know.
    """

    cards: tuple[ModelCard, ...]
    networks: tuple[Network, ...]
    runs: tuple[tuple[ModelCard, int], ...]
    channels: tuple[tuple[int, int], ...]
    fusion: Fusion
    grid: RasterGrid
    region: PixelWindow
    aoi: AreaOfInterest | None
    blocks: BlockGrid
    crf: bool
    warnings: tuple[str, ...]

    def field(self, block: Block) -> PixelWindow:
        """The pixels that are fused for a block: it, and what its refinement looks at."""
        return self._on_grid(block.read)

    def written(self, block: Block) -> PixelWindow:
        """The pixels of a block."""
        return self._on_grid(block.write)

    def wants(self, block: Block) -> bool:
        """Whether any pixel of a block lies in the area of interest."""
        return self.aoi is None or self.aoi.meets(self.written(block))

    def wanted_pixels(self) -> int:
        """At most so many pixels are written."""
        aoi = self.aoi
        return sum(
            block.write.pixels
            for block in self.blocks
            if aoi is None or aoi.may_meet(self.written(block))
        )

    def window(self, network: Network) -> Shape2D:
        """Shape of a network's windows."""
        return network.window(self.grid.shape, self.blocks.read_shape)

    def tiles(self, network: Network, field: PixelWindow) -> list[Block]:
        """Windows on which a network is run to know a field."""
        return network.tiles(self.grid.shape, self.window(network), field)

    def _on_grid(self, window: PixelWindow) -> PixelWindow:
        row, col = window.row + self.region.row, window.col + self.region.col
        return PixelWindow(row, col, window.height, window.width)


def plan_landcover(job: LandcoverJob, source: ImageSource, library: ModelLibrary) -> LandcoverPlan:
    """Settle a run.

    Raises
    ------
    SegmenterError
        If a model is unknown, the raster does not suit one, or the parameters do not.
    """
    cards = tuple(open_model(name, library) for name in job.models)
    region = wanted_region(source, job.extent)
    networks: list[Network] = []
    runs: list[tuple[ModelCard, int]] = []
    channels: list[tuple[int, int]] = []
    told: list[ClassSource] = []
    warnings: list[str] = []
    for card, bands, classes in zip(cards, job.band_lists(), _classes(job, cards)):
        if not classes:
            continue
        reading = Reading(choose_bands(source, card, bands), card.input.value_range)
        halo = card.halo if job.halo is None else job.halo
        in_parts = runs_in_parts(card, job.runtime, source.grid.shape, halo=job.halo, flips=job.tta)
        place = _joined(networks, Network(card, reading, classes, halo, in_parts))
        runs.append((card, place))
        first = len(networks[place].classes) - len(classes)
        channels += [(place, first + k) for k in range(len(classes))]
        told += [ClassSource(c.name, c.value, c.color, c.threshold, c.part_of) for c in classes]
        warnings += check_resolution(source, card)
        warnings += check_values(source, card, reading.bands, region)
    if job.crf == "models":
        gains = all(_gains_by_crf(card) for card in cards)
        job = replace(job, crf="default" if gains else "no")
    crf = job.crf_settings()
    margin = job.majority_radius + (crf.halo if crf else 0)
    fusion = plan_fusion(told, job)
    values = len(fusion.looks())
    if crf and fusion.rules.method != "argmax" and crf.gt_prob * values <= 1:
        raise JobError(
            f"GT_PROB must be above 1/{values}, as the map has {values} classes: with "
            f"{crf.gt_prob:g} each label would count against its own class."
        )
    return LandcoverPlan(
        cards=cards,
        networks=tuple(networks),
        runs=tuple(runs),
        channels=tuple(channels),
        fusion=fusion,
        grid=source.grid,
        region=region,
        aoi=wanted_area(job.aoi, source, region),
        blocks=BlockGrid.cover(region.shape, job.block_size or DEFAULT_BLOCK_SIZE, margin, 1),
        crf=crf is not None,
        warnings=tuple(dict.fromkeys([*warnings, *fusion.warnings])),
    )


def _gains_by_crf(card: ModelCard) -> bool:
    """Whether a CRF was measured to raise the mean IoU of the model's maps."""
    return card.details.get("refinement", {}).get("crf") is True


def _joined(networks: list[Network], new: Network) -> int:
    """Place of the network that runs the new one's weights; it is added, or its classes are."""
    for place, known in enumerate(networks):
        if known.has_weights_of(new.card) and known.reading == new.reading:
            networks[place] = replace(
                known, classes=known.classes + new.classes, halo=max(known.halo, new.halo)
            )
            return place
    networks.append(new)
    return len(networks) - 1


def _classes(job: LandcoverJob, cards: tuple[ModelCard, ...]) -> Iterator[tuple[ModelClass, ...]]:
    """The classes wanted of each model."""
    known = {c.name for card in cards for c in card.classes}
    unknown = [name for name in job.classes if name not in known]
    if unknown:
        raise JobError(
            f"None of the models has a class {', '.join(map(repr, unknown))}; they have "
            f"{', '.join(sorted(known))}."
        )
    for card in cards:
        yield tuple(c for c in card.classes if not job.classes or c.name in job.classes)
