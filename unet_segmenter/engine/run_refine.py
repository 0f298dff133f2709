# SPDX-License-Identifier: GPL-2.0-or-later
"""Refines a map of any size by the image that it was made from, block by block."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..version import plugin_version
from .block_flow import stop_if
from .block_job import Arrays, check_outputs, fill, unfinished_map
from .block_store import BlockStore, Layer, os_errors_told
from .class_changes import changed_pixels, class_changes, count_transitions
from .crf_settings import CrfSettings
from .geometry import PixelWindow
from .input_state import source_state
from .model_card import NODATA_VALUE
from .output_layers import LayerMeaning, ground_areas, publish, software_tags, write_layers
from .predictor import available_cores
from .progress import Progress
from .rasters.gdal import gdal_settings
from .rasters.image import ImageSource
from .rasters.options import nodata_tag
from .rasters.source import RasterSource
from .refine_blocks import (
    BEFORE,
    BlockImage,
    MapSource,
    RefineBlock,
    choose_image_bands,
    choose_value_range,
    open_map,
    read_block,
)
from .refine_job import RefineJob, RefineResult, switch_warnings
from .tiling import Block, BlockGrid

__all__ = ["RefineJob", "RefineResult", "run_refine"]

# Side in px of what a block writes. With the halo of the course's reach, 120 px, half as many px
# again are inferred; a thread needs about 250 bytes for each.
DEFAULT_BLOCK_SIZE = 1024
_MOST_THREADS = 8


def run_refine(job: RefineJob, progress: Progress) -> RefineResult:
    """Refine a map.

    Parameters
    ----------
    job : RefineJob
        What to do.
    progress : Progress
        Is notified of every block, and asked whether to stop.

    Raises
    ------
    SegmenterError
        With what happened, where, and what to do. No output exists then under its name; blocks
        that were finished wait for the same command, unless `job.resume` is False.
    """
    started, cores = time.monotonic(), available_cores()
    check_outputs(job.outputs())
    with gdal_settings(cores), ExitStack() as stack:
        image = stack.enter_context(
            ImageSource(job.input, job.source_options(), lambda: stop_if(progress.cancelled))
        )
        bands = choose_image_bands(job, image)
        map_source = open_map(job, image, stack)
        value_range = choose_value_range(job, image, bands)
        about_image = image.warnings(value_range)
        for warning in about_image:
            progress.log("warning", warning)
        blocks = BlockGrid.cover(
            image.grid.shape, job.block_size or DEFAULT_BLOCK_SIZE, job.settings().halo, 1
        )
        layers = {"OUTPUT": Layer(1, "uint8"), BEFORE: Layer(1, "uint8")}
        signature = _signature(job, image, map_source, blocks, value_range)
        with unfinished_map(
            Path(job.output), image.grid.shape, layers, signature, progress, resume=job.resume
        ) as store:
            resumed = len(store.finished)
            rows = blocks.read_shape.height
            cache = image.cache_for(rows) + map_source.source.cache_for(rows)
            with gdal_settings(cores, cache):
                _fill(job, image, bands, value_range, map_source, blocks, store, progress)
            pairs = count_transitions(store, BEFORE, "OUTPUT", progress)
            areas = ground_areas(store, "OUTPUT", pairs.sum(axis=0), image.grid)
            changes = class_changes(map_source.looks, pairs, areas)
            told = [c for c in changes if c.value in map_source.values]  # not what was unsure
            switches = switch_warnings(tuple(told), job.switch_share)
            for warning in switches:
                progress.log("warning", warning)
            warnings = (*about_image, *switches)
            meanings = {"OUTPUT": LayerMeaning(("class",), map_source.looks)}
            tags = _tags(job, bands, value_range)
            with os_errors_told(store.folder):
                made = write_layers(
                    store, job.outputs(), meanings, image.grid, tags, progress, cores
                )
                publish(made, store.inputs)
    changed, mapped = changed_pixels(pairs)
    return RefineResult(
        outputs={name: str(Path(path).absolute()) for name, path in job.outputs().items()},
        blocks=len(blocks),
        resumed_blocks=resumed,
        pixels=int(pairs.sum()),
        nodata_pixels=int(pairs[:, NODATA_VALUE].sum()),
        changed_pixels=changed,
        changed_share=changed / max(mapped, 1),
        seconds=time.monotonic() - started,
        areas=changes,
        warnings=warnings,
    )


def _signature(
    job: RefineJob,
    image: RasterSource,
    map_source: MapSource,
    blocks: BlockGrid,
    value_range: tuple[float, float],
) -> dict[str, Any]:
    return {
        "version": plugin_version(),
        "job": job.fingerprint(),
        "blocks": [len(blocks), *blocks.read_shape],
        "value_range": list(value_range),
        "files": source_state((*image.files, *map_source.source.files)),
    }


def _fill(
    job: RefineJob,
    image: RasterSource,
    bands: tuple[int, ...],
    value_range: tuple[float, float],
    map_source: MapSource,
    blocks: BlockGrid,
    store: BlockStore,
    progress: Progress,
) -> None:
    ended = threading.Event()

    def read(block: Block) -> BlockImage:
        return read_block(image, bands, value_range, map_source, block)

    compute = RefineBlock(map_source, job.settings(), value_range, lambda: stop_if(ended.is_set))

    def compute_all(group: list[BlockImage]) -> list[Arrays]:
        return [compute(block) for block in group]

    try:
        fill(
            *(store, blocks, len(blocks), read, compute_all, progress),
            region=PixelWindow.of_shape(image.grid.shape),
            concurrency=_threads(job.settings()),
        )
    finally:
        ended.set()  # what a thread is inferring after a cancellation ends with its next step


def _threads(settings: CrfSettings) -> int:
    """Threads that infer; pydensecrf holds Python's lock, so more of them gain nothing."""
    return 1 if settings.solver == "pydensecrf" else min(available_cores(), _MOST_THREADS)


def _tags(
    job: RefineJob, bands: tuple[int, ...], value_range: tuple[float, float]
) -> dict[str, str]:
    settings = job.settings()
    return software_tags(
        {
            "INPUT": Path(job.input).name,
            "REFINED": Path(job.map).name,
            "BANDS": ",".join(map(str, bands)),
            **nodata_tag(job.nodata),
            "VALUE_RANGE": "{!r},{!r}".format(*value_range),
            "CRF": f"sxy={settings.sxy!r},srgb={settings.srgb!r},compat={settings.compat!r},"
            f"sxy_gaussian={settings.sxy_gaussian!r},"
            f"compat_gaussian={settings.compat_gaussian!r},iterations={settings.iterations}",
            "SOLVER": settings.solver,
        }
    )
