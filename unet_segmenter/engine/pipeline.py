# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a job: one thread reads ahead, the predictor's threads compute, one thread writes.

Only a bounded number of blocks is in flight, so memory does not grow with the raster.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..version import plugin_version
from .block_job import check_outputs, fill, source_state, unfinished_map
from .block_store import BlockStore, Layer, os_errors_told
from .checks import check_resolution, check_values, choose_bands
from .errors import JobError
from .finish import FinishedMap, finish
from .geometry import PixelWindow
from .job import JobResult, JobSpec
from .model_card import ModelCard, ModelClass
from .model_library import ModelLibrary, default_library
from .open_model import open_model
from .predictor import Predictor, PredictorOptions, available_cores, open_predictor
from .progress import Progress
from .provenance import Ran
from .raster import AreaOfInterest, RasterGrid, RasterSource, gdal_settings
from .region import wanted_area, wanted_region
from .segment_block import BlockPixels, BlockResult, SegmentBlock
from .tiling import Block, BlockGrid

# Side in px of what a block writes. Larger blocks pay less for their halo and more memory:
# `make bench` tells both.
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
    aoi: AreaOfInterest | None
    warnings: tuple[str, ...]


def run_job(job: JobSpec, progress: Progress, library: ModelLibrary | None = None) -> JobResult:
    """Segment a raster.

    Parameters
    ----------
    job : JobSpec
        What to do.
    progress : Progress
        Is told of every block, and asked whether to stop.
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
    with RasterSource(job.input) as source, gdal_settings(cores):
        plan = _plan(job, card, source)
        for warning in plan.warnings:
            progress.log("warning", warning)
        predictor = _predictor(plan, cores)
        signature = _signature(plan, source, predictor)
        with unfinished_map(
            Path(job.output), plan.region.shape, _layers(plan), signature, progress,
            resume=job.resume,
        ) as store:  # fmt: skip
            resumed = len(store.finished)
            with gdal_settings(cores, source.cache_for(plan.blocks.read_shape.height)):
                _compute_blocks(plan, source, store, progress, predictor)
            finished = FinishedMap(
                job=job,
                card=card,
                classes=plan.classes,
                grid=plan.grid.crop(plan.region),
                region=plan.region,
                bands=plan.bands,
                runtime=predictor.runtime,
                precision=predictor.precision,
                blocks=len(plan.blocks),
                resumed_blocks=resumed,
                warnings=plan.warnings,
                started=started,
            )
            with os_errors_told(store.folder):
                result = finish(finished, store, progress, cores)
    return result


def _plan(job: JobSpec, card: ModelCard, source: RasterSource) -> _Plan:
    classes = card.select(job.classes)
    bands = choose_bands(source, card, job.bands)
    region = wanted_region(source, job.extent)
    aoi = wanted_area(job.aoi, source, region)
    warnings = check_resolution(source, card) + check_values(source, card, bands, region)
    halo = card.halo if job.halo is None else job.halo
    try:
        blocks = BlockGrid.cover(
            source.grid.shape,
            job.block_size or DEFAULT_BLOCK_SIZE,
            halo,
            card.divisor,
            region,
            card.fixed_size,
        )
    except ValueError as error:
        raise JobError(
            f"The model {card.name} takes windows of {card.fixed_size} px only, of which a halo of "
            f"{halo} px leaves nothing; choose a smaller halo."
        ) from error
    return _Plan(job, card, classes, bands, source.grid, region, blocks, aoi, tuple(warnings))


def _layers(plan: _Plan) -> dict[str, Layer]:
    layers = {"OUTPUT": Layer(1, "uint8")}
    if plan.job.probability:
        layers["PROBABILITY"] = Layer(len(plan.classes), plan.job.probability_type)
    if plan.job.confidence:
        layers["CONFIDENCE"] = Layer(1, plan.job.probability_type)
    return layers


def _predictor(plan: _Plan, cores: int) -> Predictor:
    window, batch = plan.blocks.read_shape, plan.job.batch or 1
    options = PredictorOptions(plan.job.precision, window, batch, cores)
    return open_predictor(plan.card, plan.job.runtime, options)


def _signature(plan: _Plan, source: RasterSource, predictor: Predictor) -> dict[str, object]:
    """What decides the pixels of a run: the job, what "auto" became, and what the run reads.

    Polygons count by what they are: QGIS writes them to a new file for each run.
    """
    return {
        "version": plugin_version(),
        "job": replace(plan.job, aoi=None).fingerprint(),
        "aoi": plan.aoi.fingerprint() if plan.aoi else None,
        "blocks": [len(plan.blocks), *plan.blocks.read_shape],
        "card": hashlib.sha256(repr(plan.card).encode()).hexdigest(),
        "network": Ran(plan.card, plan.bands, predictor.runtime, predictor.precision).signature(),
        "files": source_state(source.files),
    }


def _compute_blocks(
    plan: _Plan,
    source: RasterSource,
    store: BlockStore,
    progress: Progress,
    predictor: Predictor,
) -> None:
    """Compute all blocks that the store lacks."""
    batch = plan.job.batch or 1
    segment = SegmentBlock(
        run=predictor.predict,
        model_input=plan.card.input,
        classes=plan.classes,
        threshold=plan.job.threshold,
        flips=plan.job.tta,
        with_probability=plan.job.probability is not None,
        with_confidence=plan.job.confidence is not None,
        probability_type=plan.job.probability_type,
    )
    fill(
        store,
        plan.blocks,
        len(plan.blocks),
        lambda block: _read(plan, source, block),
        lambda pixels: [_arrays(result) for result in _segment(segment, pixels, batch)],
        progress,
        region=plan.region,
        concurrency=predictor.concurrency,
        batch=batch,
    )


def _read(plan: _Plan, source: RasterSource, block: Block) -> BlockPixels:
    wanted = plan.aoi.mask(block.write) if plan.aoi else np.ones(block.write.shape, bool)
    if not wanted.any():  # outside the area of interest: not even read
        return BlockPixels(np.zeros((0, 0, 0)), wanted, wanted, block.crop)
    pixels, valid = source.read(block.read, plan.bands, plan.card.input.value_range)
    return BlockPixels(pixels, valid, wanted & valid[block.crop.slices], block.crop)


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
