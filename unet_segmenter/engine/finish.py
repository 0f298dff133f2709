# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns the finished blocks of a segmentation into the files that the user asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .block_flow import stop_if
from .block_store import BlockStore
from .geometry import PixelWindow
from .job import JobResult, JobSpec
from .legend import ClassLook, legend_of
from .model_card import NODATA_VALUE, ModelCard, ModelClass
from .output_layers import (
    LayerMeaning,
    class_areas,
    ground_areas,
    histogram,
    publish,
    software_tags,
    write_layers,
)
from .progress import Progress
from .provenance import Ran, model_hash, provenance
from .quicklook import draw_quicklook
from .raster_items import pairs_text
from .rasters.grid import RasterGrid
from .rasters.image import ImageSource
from .rasters.options import nodata_tag
from .side_files import quicklook_path
from .summary import summary_page
from .unfinished_folder import QUICKLOOK, SUMMARY

_QUICKLOOK_SIDE = 1400


@dataclass(frozen=True)
class FinishedMap:
    """What is known of a run when its last block is in."""

    job: JobSpec
    source: ImageSource
    card: ModelCard
    classes: tuple[ModelClass, ...]
    grid: RasterGrid
    region: PixelWindow
    bands: tuple[int, ...]
    runtime: str
    precision: str
    blocks: int
    resumed_blocks: int
    warnings: tuple[str, ...]
    started: float


def finish(done: FinishedMap, store: BlockStore, progress: Progress, threads: int) -> JobResult:
    """Write all outputs of a run.

    Parameters
    ----------
    done : FinishedMap
        The run.
    store : BlockStore
        Its blocks, all of them finished.
    progress : Progress
        Is notified which file is being written.
    threads : int
        Threads for compression.

    Returns
    -------
    JobResult

    Raises
    ------
    OutputError
        If a file cannot be written; the blocks stay for the same command.
    """
    look = legend_of(done.classes)
    counts = histogram(store, "OUTPUT")
    made = write_layers(
        store, done.job.outputs(), _meanings(done, look), done.grid, _tags(done), progress, threads
    )
    result = _result(done, look, counts, store)
    if done.job.summary:
        made |= _report(result, done, store, look)
    stop_if(progress.cancelled)
    publish(made, store.inputs)
    return result


def _meanings(done: FinishedMap, look: tuple[ClassLook, ...]) -> dict[str, LayerMeaning]:
    names = tuple(c.name for c in done.classes)
    return {
        "OUTPUT": LayerMeaning(("class",), looks=look),
        "PROBABILITY": LayerMeaning(names, is_share=True),
        "CONFIDENCE": LayerMeaning(("confidence",), is_share=True),
    }


def _tags(done: FinishedMap) -> dict[str, str]:
    """How the map was made, for the TIFF's metadata."""
    job = done.job
    thresholds = [
        (c.name, repr(c.threshold if job.threshold is None else job.threshold))
        for c in done.classes
    ]
    parameters = {
        **provenance(job.input, [Ran(done.card, done.bands, done.runtime, done.precision)]),
        **nodata_tag(job.nodata),
        "CLASSES": pairs_text((c.value, c.name) for c in done.classes),
        "COLORS": pairs_text((c.name, c.color) for c in done.classes),
        "THRESHOLDS": pairs_text(thresholds),
        "TTA": str(job.tta).lower(),
        "AREA_OF_INTEREST": str(job.aoi is not None).lower(),
    }
    wholes = [(c.name, c.part_of) for c in done.classes if c.part_of is not None]
    if wholes:
        parameters["PART_OF"] = pairs_text(wholes)
    return software_tags(parameters)


def _result(
    done: FinishedMap, look: tuple[ClassLook, ...], counts: NDArray[np.int64], store: BlockStore
) -> JobResult:
    outputs = {name: Path(path).absolute() for name, path in done.job.outputs().items()}
    if "SUMMARY" in outputs:
        outputs["QUICKLOOK"] = quicklook_path(outputs["SUMMARY"])
    return JobResult(
        outputs={name: str(path) for name, path in outputs.items()},
        blocks=done.blocks,
        resumed_blocks=done.resumed_blocks,
        pixels=done.grid.shape.height * done.grid.shape.width,
        nodata_pixels=int(counts[NODATA_VALUE]),
        seconds=time.monotonic() - done.started,
        areas=class_areas(look, counts, ground_areas(store, "OUTPUT", counts, done.grid)),
        runtime=done.runtime,
        precision=done.precision,
        model=done.card.name,
        model_version=done.card.version,
        model_sha256=model_hash(done.card, done.runtime),
        warnings=done.warnings,
    )


def _report(
    result: JobResult, done: FinishedMap, store: BlockStore, look: tuple[ClassLook, ...]
) -> dict[Path, Path]:
    """The HTML summary and the quick look of image beside mask."""
    summary = Path(str(done.job.summary)).absolute()
    picture = quicklook_path(summary)
    image, valid = done.source.overview(
        done.bands, _QUICKLOOK_SIDE, done.card.input.value_range, done.region
    )
    mask = store.read_shrunk("OUTPUT", *valid.shape)
    drawing = store.folder / QUICKLOOK
    draw_quicklook(image, valid, mask, look, done.card.input.value_range, drawing)
    page = store.folder / SUMMARY
    page.write_text(summary_page(result, done.job, done.card, done.grid, drawing), "utf-8")
    return {drawing: picture, page: summary}
