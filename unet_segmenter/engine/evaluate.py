# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares a class raster with a reference, in one streaming pass over rasters of any size."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .block_flow import read_compute_in_order
from .compare import VALUES, Agreement, BlockPair, count_block
from .errors import Cancelled, InputError
from .evaluate_job import ClassScores, EvaluateJob, EvaluateResult
from .evaluation_report import class_rows, evaluation_page
from .geometry import PixelWindow
from .input_state import check_unchanged, source_state
from .metrics import (
    counts_of_confusion,
    frequency_weighted_iou,
    matthews,
    overall_accuracy,
)
from .predictor import available_cores
from .progress import Progress
from .rasters.gdal import gdal_settings
from .rasters.options import SourceOptions
from .rasters.polygons import AreaOfInterest
from .rasters.source import RasterSource
from .reference import ClassLooks, Reference, check_class_band, open_reference, read_classes
from .text_files import check_folders, write_whole
from .vector import read_polygons

__all__ = ["EvaluateJob", "EvaluateResult", "run_evaluate"]

BLOCK_SIZE = 1024
_UNMAPPED_TOLD = 0.01


def run_evaluate(job: EvaluateJob, progress: Progress) -> EvaluateResult:
    """Compare, and write the files asked for.

    Parameters
    ----------
    job : EvaluateJob
        What to compare.
    progress : Progress
        Is notified of every block, and asked whether to stop.

    Raises
    ------
    SegmenterError
        If a file cannot be used, the grids differ, a class is unknown, or nothing overlaps. No
        output exists then.
    """
    check_folders(job.outputs())
    with gdal_settings(available_cores()), ExitStack() as stack:
        source = stack.enter_context(RasterSource(job.input, SourceOptions(job.nodata)))
        check_class_band(source, job.band)
        reference = open_reference(job, source, stack)
        aoi = None
        if job.aoi is not None:
            aoi = AreaOfInterest(*read_polygons(job.aoi), source.grid)
        look = ClassLooks.of(job, source, reference)
        rows = BLOCK_SIZE + 2 * (job.tolerance + 1)
        stack.enter_context(gdal_settings(available_cores(), source.cache_for(rows)))
        inputs = source_state((*source.files, *reference.files()))
        agreement = _compare(job, source, reference, aoi, progress)
        check_unchanged(inputs)
        result = _result(job, agreement, look)
    for warning in result.warnings:
        progress.log("warning", warning)
    _write(job, result, agreement)
    return result


def _compare(
    job: EvaluateJob,
    source: RasterSource,
    reference: Reference,
    aoi: AreaOfInterest | None,
    progress: Progress,
) -> Agreement:
    whole = PixelWindow.of_shape(source.grid.shape)
    region = whole if aoi is None else aoi.window()
    if region is None:
        raise InputError(f"The area of interest {job.aoi} lies outside of {job.input}.")
    margin = job.tolerance + 1
    ignored = np.isin(np.arange(VALUES), job.ignore)

    def read(window: PixelWindow) -> BlockPair:
        outer = window.pad(margin).intersect(whole)
        assert outer is not None
        true, known = reference.read(outer)
        known = known & ~ignored[true]
        if aoi is not None:
            known &= aoi.mask(outer)
        if known.any():
            claimed, mapped = read_classes(source, job.band, outer)
        else:
            claimed, mapped = np.zeros_like(true), np.zeros(true.shape, bool)
        crop = window.relative_to(outer).slices
        return BlockPair(claimed, true, mapped, known, window, crop)

    windows = [_block(row, col, region) for row, col in _corners(region)]
    agreement = Agreement(source.grid.shape)
    flow = read_compute_in_order(
        windows,
        read,
        lambda pair: count_block(pair, job.tolerance),
        concurrency=available_cores(),
        cancelled=progress.cancelled,
    )
    try:
        with closing(flow):  # its thread reads from rasters that are closed next
            for done, (_, counts) in enumerate(flow, 1):
                agreement.add(counts)
                progress.advance(done, len(windows), "Comparing")
    except Cancelled as error:
        raise Cancelled("The evaluation was cancelled; nothing was written.") from error
    if not agreement.pairs.any():
        raise InputError(
            f"No pixel could be compared: nowhere do both {job.input} and {job.reference} say "
            "something. Look whether they lie in one place, and at nodata, AOI and IGNORE."
        )
    return agreement


def _corners(region: PixelWindow) -> list[tuple[int, int]]:
    rows = range(region.row, region.row_stop, BLOCK_SIZE)
    return [(r, c) for r in rows for c in range(region.col, region.col_stop, BLOCK_SIZE)]


def _block(row: int, col: int, region: PixelWindow) -> PixelWindow:
    height, width = min(BLOCK_SIZE, region.row_stop - row), min(BLOCK_SIZE, region.col_stop - col)
    return PixelWindow(row, col, height, width)


def _result(job: EvaluateJob, agreement: Agreement, look: ClassLooks) -> EvaluateResult:
    values = agreement.values()
    matrix = agreement.pairs[np.ix_(values, values)]
    counts = counts_of_confusion(matrix, first=0)
    scores = counts.scores()
    boundary = [
        agreement.boundary[value].f1()[0] if value in agreement.boundary else math.nan
        for value in values
    ]
    there = matrix.sum(axis=1) > 0

    def mean(numbers: NDArray[np.float64]) -> float | None:
        known = numbers[there & np.isfinite(numbers)]
        return _number(known.mean()) if known.size else None

    classes = tuple(
        ClassScores(
            value,
            look.name(value),
            look.color(value),
            **{key: _number(scores[key][k]) for key in scores},
            boundary_f1=_number(boundary[k]),
            true_pixels=int(matrix[k].sum()),
            claimed_pixels=int(matrix[:, k].sum()),
            unmapped_pixels=int(agreement.unmapped[value]),
        )
        for k, value in enumerate(values)
    )
    pixels, unmapped = int(matrix.sum()), int(agreement.unmapped.sum())
    return EvaluateResult(
        pixels=pixels,
        unmapped_pixels=unmapped,
        mean_iou=mean(scores["iou"]),
        mean_dice=mean(scores["dice"]),
        mean_boundary_f1=mean(np.array(boundary)),
        overall_accuracy=_number(overall_accuracy(matrix)),
        frequency_weighted_iou=_number(frequency_weighted_iou(matrix)),
        mcc=_number(matthews(matrix)),
        classes=classes,
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        tolerance=job.tolerance,
        outputs=job.outputs(),
        warnings=(*look.warnings, *_warnings(classes, pixels, unmapped)),
    )


def _warnings(classes: tuple[ClassScores, ...], pixels: int, unmapped: int) -> list[str]:
    found = []
    if unmapped > _UNMAPPED_TOLD * (pixels + unmapped):
        share = unmapped / (pixels + unmapped)
        found.append(
            f"{unmapped:,} pixels of the reference ({share:.1%}) have no class in the input; they "
            "do not count."
        )
    only_claimed = [c.name for c in classes if not c.true_pixels]
    if len(only_claimed) == sum(c.claimed_pixels > 0 for c in classes):
        found.append(
            "No class of the input occurs in the reference: look whether both number their classes "
            "alike."
        )
    elif only_claimed:
        found.append(
            f"The reference has no {', '.join(only_claimed)}; all pixels claimed for it are wrong, "
            "and the means leave it out."
        )
    return found


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _write(job: EvaluateJob, result: EvaluateResult, agreement: Agreement) -> None:
    made = {
        "HTML": lambda: evaluation_page(job, result, agreement),
        "CSV": lambda: class_rows(result),
        "JSON": lambda: json.dumps({"job": job.to_json(), **result.to_json()}, indent=1) + "\n",
    }
    for name, path in job.outputs().items():
        write_whole(Path(path), made[name]())
