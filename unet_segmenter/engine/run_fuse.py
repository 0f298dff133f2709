# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuses rasters of probabilities into one class raster, block by block."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..version import plugin_version
from .block_job import Arrays, check_outputs, fill, unfinished_map
from .block_store import BlockStore, os_errors_told
from .fuse_block import FuseBlock, layers_of
from .fuse_classes import Fusion, plan_fusion
from .fuse_finish import FinishedFusion, conflict_image, finish_fusion
from .fuse_job import METHODS, FuseJob, FuseResult, unknown_text
from .geometry import PixelWindow
from .input_state import source_state
from .predictor import available_cores
from .probability_source import ProbabilityStack, open_probabilities
from .progress import Progress
from .rasters.gdal import gdal_settings
from .rasters.options import nodata_tag
from .shares import FloatArray
from .tiling import BlockGrid

__all__ = ["FuseJob", "FuseResult", "run_fuse"]

DEFAULT_BLOCK_SIZE = 512


def run_fuse(job: FuseJob, progress: Progress) -> FuseResult:
    """Fuse probabilities into classes.

    Parameters
    ----------
    job : FuseJob
        What to do.
    progress : Progress
        Is notified of every block, and asked whether to stop.

    Raises
    ------
    SegmenterError
        If a file cannot be used, the grids differ, or nothing can be written. No output exists
        then under its name; finished blocks wait for the same command, unless `job.resume` is
        False.
    """
    started, cores = time.monotonic(), available_cores()
    outputs = job.outputs()
    check_outputs(outputs)
    with gdal_settings(cores), ExitStack() as stack:
        inputs = open_probabilities(
            job.inputs, job.class_names, stack, align=job.align, nodata=job.nodata
        )
        fusion = plan_fusion(inputs.classes, job)
        for warning in fusion.warnings:
            progress.log("warning", warning)
        blocks = BlockGrid.cover(inputs.grid.shape, job.block_size or DEFAULT_BLOCK_SIZE, 0, 1)
        layers = layers_of(outputs, fusion, job.probability_type)
        signature = _signature(job, inputs, blocks)
        with unfinished_map(
            Path(job.output), inputs.grid.shape, layers, signature, progress, resume=job.resume
        ) as store:
            resumed = len(store.finished)
            with gdal_settings(cores, inputs.cache_for(blocks.read_shape.height)):
                _fill(FuseBlock(fusion, tuple(layers), job.probability_type), inputs, blocks, store,
                      progress, cores)  # fmt: skip
            done = FinishedFusion(
                outputs=outputs,
                fusion=fusion,
                grid=inputs.grid,
                tags={
                    "INPUT": ",".join(Path(path).name for path in job.inputs),
                    **nodata_tag(job.nodata),
                },
                facts=_facts(job, fusion),
                image=conflict_image,
                blocks=len(blocks),
                resumed_blocks=resumed,
                warnings=fusion.warnings,
                started=started,
            )
            with os_errors_told(store.folder):
                return finish_fusion(done, store, progress, cores)


def _signature(job: FuseJob, inputs: ProbabilityStack, blocks: BlockGrid) -> dict[str, Any]:
    """What decides the pixels of a run: the job, and the state of what it reads."""
    return {
        "version": plugin_version(),
        "job": job.fingerprint(),
        "blocks": [len(blocks), *blocks.read_shape],
        "files": source_state(inputs.files()),
    }


def _fill(
    fuse: FuseBlock,
    inputs: ProbabilityStack,
    blocks: BlockGrid,
    store: BlockStore,
    progress: Progress,
    cores: int,
) -> None:
    def compute(group: list[tuple[FloatArray, NDArray[np.bool_]]]) -> list[Arrays]:
        return [fuse(probabilities, valid) for probabilities, valid in group]

    fill(
        store,
        blocks,
        len(blocks),
        lambda block: inputs.read(block.write),
        compute,
        progress,
        region=PixelWindow.of_shape(inputs.grid.shape),
        concurrency=cores,
    )


def _facts(job: FuseJob, fusion: Fusion) -> dict[str, str]:
    facts = {
        "Inputs": ", ".join(job.inputs),
        "Method": f"{job.method}: {METHODS[job.method]}",
        "Unknown threshold": unknown_text(job.unknown_threshold),
    }
    if job.method == "priority":
        facts["Priority"] = ", ".join(fusion.classes[k].name for k in fusion.rules.order)
    return facts
