# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a job: one thread reads ahead, the predictor's threads compute, one thread writes.

Only a bounded number of blocks is in flight, so memory does not grow with the raster.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..version import plugin_version
from .block_flow import one_at_a_time, stop_if
from .block_job import check_outputs, fill, unfinished_map
from .block_store import BlockStore, Layer, os_errors_told
from .checks import check_resolution, check_values, choose_bands
from .errors import JobError
from .finish import FinishedMap, finish
from .geometry import PixelWindow
from .input_state import source_state
from .job import JobResult, JobSpec
from .model_card import ModelCard, ModelClass
from .model_library import ModelLibrary, default_library
from .open_model import open_model
from .predictor import (
    FloatArray,
    Predictor,
    PredictorOptions,
    available_cores,
    open_predictor,
    open_staged,
    resolved,
    runs_in_parts,
)
from .progress import Progress
from .provenance import Ran
from .rasters.gdal import gdal_settings
from .rasters.grid import RasterGrid
from .rasters.image import ImageSource
from .rasters.polygons import AreaOfInterest
from .region import wanted_area, wanted_region
from .segment_block import BlockPixels, BlockResult, SegmentBlock
from .staged_network import Reader, StagedNetwork
from .tiling import Block, BlockGrid

# Side in px of what a block writes. Larger blocks pay less for their halo and more memory:
# `make bench` prints both.
DEFAULT_BLOCK_SIZE = 1024


@dataclass(frozen=True)
class _Plan:
    """Everything that is settled before the first block."""

    job: JobSpec
    card: ModelCard
    classes: tuple[ModelClass, ...]
    bands: tuple[int, ...]
    grid: RasterGrid
    region: PixelWindow
    blocks: BlockGrid
    in_parts: bool
    aoi: AreaOfInterest | None
    warnings: tuple[str, ...]

    def wants(self, block: Block) -> bool:
        """Whether any pixel of a block lies in the area of interest."""
        return self.aoi is None or self.aoi.meets(block.write)

    def wanted_pixels(self) -> int:
        """At most so many pixels are written."""
        aoi, blocks = self.aoi, self.blocks
        return sum(b.write.pixels for b in blocks if aoi is None or aoi.may_meet(b.write))


def run_job(job: JobSpec, progress: Progress, library: ModelLibrary | None = None) -> JobResult:
    """Segment a raster.

    Parameters
    ----------
    job : JobSpec
        What to do.
    progress : Progress
        Is notified of every block, and asked whether to stop.
    library : ModelLibrary, optional
        Where models are looked up by name; the default library if not given.

    Returns
    -------
    JobResult

    Raises
    ------
    SegmenterError
        With what happened, where, and what to do. No output exists then under its name; blocks
        that were finished wait for the same command, unless `job.resume` is False.
    """
    started = time.monotonic()
    cores = available_cores()
    check_outputs(job.outputs())
    card = open_model(job.model, library or default_library())
    with (
        gdal_settings(cores),
        ImageSource(job.input, job.source_options(), lambda: stop_if(progress.cancelled)) as source,
    ):
        plan = _plan(job, card, source)
        for warning in plan.warnings:
            progress.log("warning", warning)
        signature = _signature(plan, source)
        with unfinished_map(
            Path(job.output), plan.region.shape, _layers(plan), signature, progress,
            resume=job.resume, pixels=plan.wanted_pixels(),
        ) as store:  # fmt: skip
            resumed = len(store.finished)
            with gdal_settings(cores, source.cache_for(plan.blocks.read_shape.height)):
                runtime, precision = _compute_blocks(plan, source, store, progress, cores)
            finished = FinishedMap(
                job=job,
                source=source,
                card=card,
                classes=plan.classes,
                grid=plan.grid.crop(plan.region),
                region=plan.region,
                bands=plan.bands,
                runtime=runtime,
                precision=precision,
                blocks=len(plan.blocks),
                resumed_blocks=resumed,
                warnings=plan.warnings,
                started=started,
            )
            with os_errors_told(store.folder):
                result = finish(finished, store, progress, cores)
    return result


def _plan(job: JobSpec, card: ModelCard, source: ImageSource) -> _Plan:
    classes = card.select(job.classes)
    bands = choose_bands(source, card, job.bands)
    region = wanted_region(source, job.extent)
    aoi = wanted_area(job.aoi, source, region)
    warnings = check_resolution(source, card) + check_values(source, card, bands, region)
    halo = card.halo if job.halo is None else job.halo
    shape = source.grid.shape
    in_parts = runs_in_parts(card, job.runtime, shape, halo=job.halo, flips=job.tta)
    try:
        blocks = BlockGrid.cover(
            shape,
            job.block_size or DEFAULT_BLOCK_SIZE,
            0 if in_parts else halo,  # parts read their context themselves
            1 if in_parts else card.divisor,
            region,
            card.fixed_size,
        )
    except ValueError as error:
        raise JobError(
            f"The model {card.name} takes windows of {card.fixed_size} px only, of which a halo of "
            f"{halo} px leaves nothing; choose a smaller halo."
        ) from error
    return _Plan(
        job, card, classes, bands, source.grid, region, blocks, in_parts, aoi, tuple(warnings)
    )


def _layers(plan: _Plan) -> dict[str, Layer]:
    layers = {"OUTPUT": Layer(1, "uint8")}
    if plan.job.probability:
        layers["PROBABILITY"] = Layer(len(plan.classes), plan.job.probability_type)
    if plan.job.confidence:
        layers["CONFIDENCE"] = Layer(1, plan.job.probability_type)
    return layers


def _signature(plan: _Plan, source: ImageSource) -> dict[str, object]:
    """What decides the pixels of a run: the job, what "auto" becomes, and what the run reads.

    Polygons count by what they are: QGIS writes them to a new file for each run.
    """
    return {
        "version": plugin_version(),
        "job": replace(plan.job, aoi=None).fingerprint(),
        "aoi": plan.aoi.fingerprint() if plan.aoi else None,
        "blocks": [len(plan.blocks), *plan.blocks.read_shape],
        "card": hashlib.sha256(repr(plan.card).encode()).hexdigest(),
        "network": Ran(
            plan.card, plan.bands, *resolved(plan.card, plan.job.runtime, plan.job.precision)
        ).signature(),
        "files": source_state(source.files),
    }


def _compute_blocks(
    plan: _Plan, source: ImageSource, store: BlockStore, progress: Progress, cores: int
) -> tuple[str, str]:
    """Compute all blocks that the store lacks; runtime and precision that did it."""

    def read_window(window: PixelWindow) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        return source.read(window, plan.bands, plan.card.input.value_range)

    read = one_at_a_time(read_window)
    if plan.in_parts:
        shape, precision = source.grid.shape, plan.job.precision
        with open_staged(plan.card, precision, shape, plan.region, read) as staged:
            _fill(plan, _segment_block(plan, staged), staged, read, store, progress)
        return staged.runtime, staged.precision
    batch = plan.job.batch or 1
    options = PredictorOptions(plan.job.precision, plan.blocks.read_shape, batch, cores)
    predictor = open_predictor(plan.card, plan.job.runtime, options)
    _fill(plan, _segment_block(plan, predictor.predict), predictor, read, store, progress)
    return predictor.runtime, predictor.precision


def _segment_block(
    plan: _Plan, run: Callable[[FloatArray], FloatArray] | StagedNetwork
) -> SegmentBlock:
    return SegmentBlock(
        run=run,
        model_input=plan.card.input,
        classes=plan.classes,
        threshold=plan.job.threshold,
        flips=plan.job.tta,
        with_probability=plan.job.probability is not None,
        with_confidence=plan.job.confidence is not None,
        probability_type=plan.job.probability_type,
    )


def _fill(
    plan: _Plan,
    segment: SegmentBlock,
    network: Predictor | StagedNetwork,
    read: Reader,
    store: BlockStore,
    progress: Progress,
) -> None:
    staged = network if isinstance(network, StagedNetwork) else None
    # A network in parts runs all windows that a core has room for, and has no batches.
    batch = 1 if staged else plan.job.batch or 1
    columns = staged.columns(plan.blocks) if staged else len(plan.blocks.cols)
    fill(
        store,
        plan.blocks.walk(columns),
        len(plan.blocks),
        lambda block: _read(plan, read, block, staged),
        lambda pixels: [_arrays(result) for result in _segment(segment, pixels, batch)],
        progress,
        region=plan.region,
        concurrency=network.concurrency,
        batch=batch,
        wanted=plan.wants,
        ended=staged.stop if staged else lambda: None,
    )


def _read(plan: _Plan, read: Reader, block: Block, staged: StagedNetwork | None) -> BlockPixels:
    wanted = plan.aoi.mask(block.write) if plan.aoi else np.ones(block.write.shape, bool)
    pixels, valid = read(block.read)
    wanted = wanted & valid[block.crop.slices]
    if staged and wanted.any():
        staged.read_ahead(block.write)
    return BlockPixels(pixels, valid, wanted, block.crop, block.write)


def _segment(segment: SegmentBlock, blocks: list[BlockPixels], batch: int) -> list[BlockResult]:
    """Results of a batch; the network sees only blocks with wanted pixels, always `batch`."""
    full = [block for block in blocks if block.wanted.any()]
    results = iter(segment(full + full[:1] * (batch - len(full))) if full else [])
    return [next(results) if b.wanted.any() else segment.empty(b) for b in blocks]


def _arrays(result: BlockResult) -> dict[str, NDArray[np.generic]]:
    named = {
        "OUTPUT": result.mask,
        "PROBABILITY": result.probability,
        "CONFIDENCE": result.confidence,
    }
    return {name: array for name, array in named.items() if array is not None}
