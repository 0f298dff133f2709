# SPDX-License-Identifier: GPL-2.0-or-later
"""Smooths a class raster of any size: a vote in blocks, then a sieve in strips."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..version import plugin_version
from .block_flow import stop_if
from .block_job import Arrays, check_outputs, fill, unfinished_map
from .block_store import BlockStore, Layer, os_errors_told
from .class_looks import RasterLegend
from .components import strips_of
from .errors import JobError
from .geometry import PixelWindow
from .input_state import source_state
from .majority import majority_filter
from .majority_job import AREA_UNITS, MajorityFilterJob, MajorityFilterResult
from .model_card import NODATA_VALUE
from .output_layers import (
    LayerMeaning,
    class_areas,
    ground_areas,
    histogram,
    publish,
    software_tags,
    write_layers,
)
from .pixel_metric import PixelMetric
from .predictor import available_cores
from .progress import Progress
from .rasters.gdal import gdal_settings
from .rasters.grid import RasterGrid
from .rasters.source import RasterSource
from .reference import check_class_band, read_classes
from .sieve import SieveCount, sieve_rows
from .tiling import Block, BlockGrid

__all__ = ["MajorityFilterJob", "MajorityFilterResult", "run_majority_filter"]

DEFAULT_BLOCK_SIZE = 1024
_FILTERED = "FILTERED"
_MEDIAN_WARNING = (
    "The median of class numbers may name a class that hardly occurs around a pixel: class "
    "numbers are names, not amounts. METHOD majority cannot do that."
)

_BlockData = tuple[NDArray[np.uint8], NDArray[np.bool_], PixelWindow]


def run_majority_filter(job: MajorityFilterJob, progress: Progress) -> MajorityFilterResult:
    """Smooth a class raster.

    Parameters
    ----------
    job : MajorityFilterJob
        What to do.
    progress : Progress
        Is notified of every block, and asked whether to stop.

    Raises
    ------
    SegmenterError
        With what happened, where, and what to do. No output exists then under its name; blocks
        that were finished wait for the same command, unless `job.resume` is False.
    """
    started = time.monotonic()
    cores = available_cores()
    check_outputs(job.outputs())
    with gdal_settings(cores), RasterSource(job.input) as source:
        check_class_band(source, job.band)
        metric = _metric(job, source.grid)
        blocks = BlockGrid.cover(
            source.grid.shape, job.block_size or DEFAULT_BLOCK_SIZE, job.radius, 1
        )
        warnings: tuple[str, ...] = (
            (_MEDIAN_WARNING,) if job.method == "median" and job.radius else ()
        )
        for warning in warnings:
            progress.log("warning", warning)
        with unfinished_map(
            Path(job.output),
            source.grid.shape,
            _layers(job),
            _signature(job, source, blocks),
            progress,
            resume=job.resume,
        ) as store:
            resumed = len(store.finished)
            with gdal_settings(cores, source.cache_for(blocks.read_shape.height)):
                _filter(job, source, blocks, store, progress, cores)
            sieved = _sieve(job, store, metric, progress)
            if sieved.kept:
                warnings += (
                    f"{sieved.kept:,} pixels stay in areas smaller than MIN_AREA: none of these "
                    "has a larger area beside it to be merged into.",
                )
                progress.log("warning", warnings[-1])
            changed = _changed(job, source, store, progress)
            counts = histogram(store, "OUTPUT")
            legend = RasterLegend.of(source, job.band)
            looks = legend.looks(np.flatnonzero(counts[:NODATA_VALUE]).tolist())
            meanings = {"OUTPUT": LayerMeaning(("class",), looks)}
            with os_errors_told(store.folder):
                made = write_layers(
                    store, job.outputs(), meanings, source.grid, _tags(job), progress, cores
                )
                publish(made, store.inputs)
            areas = class_areas(looks, counts, ground_areas(store, "OUTPUT", counts, source.grid))
    pixels, nodata = int(counts.sum()), int(counts[NODATA_VALUE])
    return MajorityFilterResult(
        outputs={name: str(Path(path).absolute()) for name, path in job.outputs().items()},
        blocks=len(blocks),
        resumed_blocks=resumed,
        pixels=pixels,
        nodata_pixels=nodata,
        changed_pixels=changed,
        changed_share=changed / max(pixels - nodata, 1),
        too_small_pixels=sieved.kept,
        seconds=time.monotonic() - started,
        areas=areas,
        warnings=warnings,
    )


def _signature(
    job: MajorityFilterJob, source: RasterSource, blocks: BlockGrid
) -> dict[str, object]:
    return {
        "version": plugin_version(),
        "job": job.fingerprint(),
        "blocks": [len(blocks), *blocks.read_shape],
        "files": source_state(source.files),
    }


def _metric(job: MajorityFilterJob, grid: RasterGrid) -> PixelMetric | None:
    """Sizes of pixels on the ground, where the smallest area is one of the ground."""
    if job.area_unit == "px":
        return None
    metric = grid.metric()
    if metric is None:
        raise JobError(
            f"{job.input} has no CRS, so its pixels have no area in {AREA_UNITS[job.area_unit]}; "
            "give MIN_AREA in px."
        )
    return metric


def _layers(job: MajorityFilterJob) -> dict[str, Layer]:
    layers = {"OUTPUT": Layer(1, "uint8")}
    if job.min_area > 0:
        layers[_FILTERED] = Layer(1, "uint8")
    return layers


def _filter(
    job: MajorityFilterJob,
    source: RasterSource,
    blocks: BlockGrid,
    store: BlockStore,
    progress: Progress,
    cores: int,
) -> None:
    layer = _FILTERED if _FILTERED in store.layers else "OUTPUT"

    def read(block: Block) -> _BlockData:
        return *read_classes(source, job.band, block.read), block.crop

    def compute(data: list[_BlockData]) -> list[Arrays]:
        return [{layer: _filtered(job, *block)} for block in data]

    fill(
        store,
        blocks,
        len(blocks),
        read,
        compute,
        progress,
        region=PixelWindow.of_shape(source.grid.shape),
        concurrency=cores,
    )


def _filtered(
    job: MajorityFilterJob, values: NDArray[np.uint8], valid: NDArray[np.bool_], crop: PixelWindow
) -> NDArray[Any]:
    """One band of the written pixels of a block."""
    found = majority_filter(values, job.radius, valid, method=job.method)
    kept = np.where(valid, found, np.uint8(NODATA_VALUE))
    return kept[crop.slices][np.newaxis]


def _sieve(
    job: MajorityFilterJob, store: BlockStore, metric: PixelMetric | None, progress: Progress
) -> SieveCount:
    if _FILTERED not in store.layers:
        return SieveCount(0, 0)
    blocks = len(store.finished)

    def step() -> None:
        stop_if(progress.cancelled)
        progress.advance(blocks, blocks, "Merging small areas")

    sizes = None if metric is None else metric.areas
    return sieve_rows(store, _FILTERED, "OUTPUT", store.shape, job.min_area, step, sizes=sizes)


def _changed(
    job: MajorityFilterJob, source: RasterSource, store: BlockStore, progress: Progress
) -> int:
    """How many pixels have another class than in the input."""
    height, width = store.shape
    changed = 0
    for strip in strips_of(height, width):
        stop_if(progress.cancelled)
        window = PixelWindow(strip.start, 0, strip.stop - strip.start, width)
        values, valid = read_classes(source, job.band, window)
        found = store.read_rows("OUTPUT", 0, strip.start, strip.stop)
        changed += int(np.count_nonzero((found != values) & valid))
    return changed


def _tags(job: MajorityFilterJob) -> dict[str, str]:
    return software_tags(
        {
            "INPUT": Path(job.input).name,
            "METHOD": job.method,
            "RADIUS": str(job.radius),
            "MIN_AREA": f"{job.min_area:g} {job.area_unit}",
        }
    )
