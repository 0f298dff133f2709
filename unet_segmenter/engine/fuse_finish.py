# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns the finished blocks of a fusion into its files and numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .block_flow import stop_if
from .block_store import BlockStore
from .fuse_block import meanings_of
from .fuse_classes import Fusion
from .fuse_job import FuseResult
from .fuse_report import FusionFacts, fusion_page
from .model_card import NODATA_VALUE, UNKNOWN_VALUE
from .output_layers import (
    class_areas,
    ground_areas,
    histogram,
    publish,
    software_tags,
    write_layers,
)
from .progress import Progress
from .quicklook import draw_quicklook
from .rasters.grid import RasterGrid
from .refine_job import ClassChange
from .side_files import quicklook_path
from .unfinished_folder import QUICKLOOK, SUMMARY

QUICKLOOK_SIDE = 1400


@dataclass(frozen=True)
class QuicklookImage:
    """What is shown beside the map.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, C)
        Values; three bands are red, green and blue.
    valid : ndarray of bool, shape (H, W)
        False at nodata.
    value_range : tuple of float
        Of the raster that they come from.
    caption : str
        What it is.
    """

    pixels: NDArray[np.generic]
    valid: NDArray[np.bool_]
    value_range: tuple[float, float]
    caption: str


@dataclass(frozen=True)
class FinishedFusion:
    """What is known of a fusion when its last block is in.

    Parameters
    ----------
    outputs : dict
        Path of each file asked for, by output name.
    fusion : Fusion
        Classes and rules.
    grid : RasterGrid
        Of the outputs.
    tags : dict
        What the rasters' metadata tell beside the fusion.
    facts : dict
        Lines of the summary on how the map was made.
    image : callable
        From the store to what the quick look shows beside the map.
    blocks, resumed_blocks : int
        Blocks of the run, and those taken over from an interrupted one.
    warnings : tuple of str
        What the reader of the map should know.
    started : float
        `time.monotonic()` at the start.
    changes : tuple of ClassChange
        What a refinement did to each class; empty without one.
    """

    outputs: Mapping[str, str]
    fusion: Fusion
    grid: RasterGrid
    tags: Mapping[str, str]
    facts: Mapping[str, str]
    image: Callable[[BlockStore], QuicklookImage]
    blocks: int
    resumed_blocks: int
    warnings: tuple[str, ...]
    started: float
    changes: tuple[ClassChange, ...] = ()


def finish_fusion(
    done: FinishedFusion, store: BlockStore, progress: Progress, threads: int
) -> FuseResult:
    """Write all outputs of a fusion.

    Parameters
    ----------
    done : FinishedFusion
        The run.
    store : BlockStore
        Its blocks, all of them finished.
    progress : Progress
        Is notified which file is being written.
    threads : int
        Threads for compression.

    Raises
    ------
    OutputError
        If a file cannot be written; the blocks stay for the same command.
    """
    tags = software_tags({**done.tags, **done.fusion.tags()})
    made = write_layers(
        store, done.outputs, meanings_of(done.fusion), done.grid, tags, progress, threads
    )
    result = _result(done, store)
    if "SUMMARY" in done.outputs:
        made |= _report(result, done, store)
    stop_if(progress.cancelled)
    publish(made, store.inputs)
    return result


def _result(done: FinishedFusion, store: BlockStore) -> FuseResult:
    counts, claims = histogram(store, "OUTPUT"), histogram(store, "CONFLICT")
    pixels = done.grid.shape.height * done.grid.shape.width
    nodata = int(counts[NODATA_VALUE])
    mapped = max(pixels - nodata, 1)
    outputs = {name: Path(path).absolute() for name, path in done.outputs.items()}
    if "SUMMARY" in outputs:
        outputs["QUICKLOOK"] = quicklook_path(outputs["SUMMARY"])
    looks = done.fusion.looks()
    named = {c.value for c in done.fusion.classes} | {UNKNOWN_VALUE}
    return FuseResult(
        outputs={name: str(path) for name, path in outputs.items()},
        blocks=done.blocks,
        resumed_blocks=done.resumed_blocks,
        pixels=pixels,
        nodata_pixels=nodata,
        unknown_share=int(counts[UNKNOWN_VALUE]) / mapped,
        conflict_share=int(claims[2:NODATA_VALUE].sum()) / mapped,
        seconds=time.monotonic() - done.started,
        # Sums that are no class are told where there are any.
        areas=class_areas(
            tuple(look for look in looks if look.value in named or counts[look.value]),
            counts,
            ground_areas(store, "OUTPUT", counts, done.grid),
        ),
        method=done.fusion.rules.method,
        warnings=done.warnings,
    )


def _report(result: FuseResult, done: FinishedFusion, store: BlockStore) -> dict[Path, Path]:
    """The HTML summary and the quick look."""
    summary = Path(done.outputs["SUMMARY"]).absolute()
    beside = done.image(store)
    classes = store.read_shrunk("OUTPUT", *beside.valid.shape)
    drawing, page = store.folder / QUICKLOOK, store.folder / SUMMARY
    draw_quicklook(
        beside.pixels, beside.valid, classes, done.fusion.looks(), beside.value_range, drawing
    )
    facts = FusionFacts(done.fusion, done.grid, done.facts, beside.caption, done.changes)
    page.write_text(fusion_page(result, facts, drawing.read_bytes()), "utf-8")
    return {drawing: quicklook_path(summary), page: summary}


def conflict_image(store: BlockStore) -> QuicklookImage:
    """How many classes claim a pixel, from black (none) to white (the most there are)."""
    height, width = store.shape
    scale = min(1.0, QUICKLOOK_SIDE / max(height, width))
    claims: NDArray[Any] = store.read_shrunk(
        "CONFLICT", max(1, round(height * scale)), max(1, round(width * scale))
    )
    valid = claims != NODATA_VALUE
    most = max(int(claims[valid].max()) if valid.any() else 1, 1)
    grey = np.where(valid, claims.astype(np.float32) * (255 / most), 255).astype(np.uint8)
    caption = f"Left: how many classes claim a pixel, from black (none) to white ({most})."
    return QuicklookImage(grey[..., np.newaxis], valid, (0, 255), caption)
