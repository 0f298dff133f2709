# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps land cover by several models: predicted, fused and refined in one pass over the raster."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..version import plugin_version
from .block_flow import one_at_a_time, stop_if
from .block_job import Arrays, check_outputs, fill, unfinished_map
from .block_store import BlockStore, Layer, os_errors_told
from .class_changes import changed_pixels, class_changes, count_transitions
from .fuse_block import FuseBlock, layers_of
from .fuse_finish import QUICKLOOK_SIDE, FinishedFusion, QuicklookImage, finish_fusion
from .fuse_job import METHODS, unknown_text
from .geometry import PixelWindow
from .input_state import source_state
from .landcover_block import LandcoverBlock, LandcoverPixels, LandcoverReader, Refinement
from .landcover_job import LandcoverJob, LandcoverResult
from .landcover_plan import LandcoverPlan, Network, Reading, plan_landcover
from .model_library import ModelLibrary, default_library
from .output_layers import ground_areas
from .predictor import (
    Predictor,
    PredictorOptions,
    available_cores,
    open_predictor,
    open_staged,
    resolved,
)
from .progress import Progress
from .provenance import Ran, model_hash, provenance
from .rasters.gdal import gdal_settings
from .rasters.image import ImageSource
from .rasters.options import nodata_tag
from .refine_blocks import BEFORE
from .refine_job import switch_warnings
from .segment_block import SegmentBlock
from .staged_network import StagedNetwork

__all__ = ["LandcoverJob", "LandcoverResult", "run_landcover"]

_BY_CARD = (
    "The map is refined by a dense CRF, as this raised the scores of these models on images they "
    "did not learn from. It takes about half of the time; CRF no (--no-crf) leaves it out."
)


def run_landcover(
    job: LandcoverJob, progress: Progress, library: ModelLibrary | None = None
) -> LandcoverResult:
    """Map land cover.

    Parameters
    ----------
    job : LandcoverJob
        What to do.
    progress : Progress
        Is notified of every block, and asked whether to stop.
    library : ModelLibrary, optional
        Where models are looked up by name; the default library if not given.

    Raises
    ------
    SegmenterError
        With what happened, where, and what to do. No output exists then under its name; blocks
        that were finished wait for the same command, unless `job.resume` is False.
    """
    started, cores = time.monotonic(), available_cores()
    outputs = job.outputs()
    check_outputs(outputs)
    with (
        gdal_settings(cores),
        ImageSource(job.input, job.source_options(), lambda: stop_if(progress.cancelled)) as source,
    ):
        plan = plan_landcover(job, source, library or default_library())
        if plan.crf and job.crf == "models":
            progress.log("info", _BY_CARD)
        job = replace(job, crf="default" if plan.crf else "no")
        for warning in plan.warnings:
            progress.log("warning", warning)
        layers = layers_of(outputs, plan.fusion, job.probability_type)
        if _refines(job):
            layers[BEFORE] = Layer(1, "uint8")
        signature = _signature(job, plan, source)
        with unfinished_map(
            Path(job.output), plan.region.shape, layers, signature, progress,
            resume=job.resume, pixels=plan.wanted_pixels(),
        ) as store:  # fmt: skip
            resumed = len(store.finished)
            fuse = FuseBlock(plan.fusion, tuple(layers), job.probability_type)
            predictors = _fill(job, plan, fuse, source, store, progress, cores)
            ran = [
                Ran(card, plan.networks[k].reading.bands, predictors[k].runtime,
                    predictors[k].precision)
                for card, k in plan.runs
            ]  # fmt: skip
            pairs = count_transitions(store, BEFORE if _refines(job) else "OUTPUT", "OUTPUT",
                                      progress)  # fmt: skip
            grid = plan.grid.crop(plan.region)
            areas = ground_areas(store, "OUTPUT", pairs.sum(axis=0), grid)
            changes = class_changes(plan.fusion.looks(), pairs, areas)
            guards = tuple(switch_warnings(changes, job.switch_share))
            for warning in guards:
                progress.log("warning", warning)
            done = FinishedFusion(
                outputs=outputs,
                fusion=plan.fusion,
                grid=grid,
                tags=_tags(job, ran),
                facts=_facts(job, plan, ran),
                image=partial(_image, plan, source),
                blocks=len(plan.blocks),
                resumed_blocks=resumed,
                warnings=(*plan.warnings, *guards),
                started=started,
                changes=changes if _refines(job) else (),
            )
            with os_errors_told(store.folder):
                result = finish_fusion(done, store, progress, cores)
    changed, mapped = changed_pixels(pairs)
    return LandcoverResult(
        **vars(result),
        models=tuple(f"{card.name} {card.version}".strip() for card in plan.cards),
        model_sha256=tuple(model_hash(one.card, one.runtime) for one in ran),
        runtime=", ".join(dict.fromkeys(p.runtime for p in predictors)),
        precision=", ".join(dict.fromkeys(p.precision for p in predictors)),
        networks=len(plan.networks),
        changed_share=changed / max(mapped, 1),
        changes=done.changes,
    )


def _refines(job: LandcoverJob) -> bool:
    return job.crf == "default" or job.majority_radius > 0


def _opened(
    job: LandcoverJob,
    plan: LandcoverPlan,
    network: Network,
    read: Callable[[tuple[Reading, PixelWindow]], Any],
    cores: int,
) -> Predictor | StagedNetwork:
    if network.in_parts:
        return open_staged(
            network.card,
            job.precision,
            plan.grid.shape,
            plan.region,
            lambda window: read((network.reading, window)),
        )
    options = PredictorOptions(job.precision, plan.window(network), 1, cores)
    return open_predictor(network.card, job.runtime, options)


def _signature(job: LandcoverJob, plan: LandcoverPlan, source: ImageSource) -> dict[str, Any]:
    """What decides the pixels of a run: the job, what "auto" becomes, and what the run reads.

    Polygons count by what they are: QGIS writes them to a new file for each run.
    """
    return {
        "version": plugin_version(),
        "job": replace(job, aoi=None).fingerprint(),
        "aoi": plan.aoi.fingerprint() if plan.aoi else None,
        "blocks": [len(plan.blocks), *plan.blocks.read_shape],
        "cards": [hashlib.sha256(repr(card).encode()).hexdigest() for card in plan.cards],
        "networks": [
            Ran(
                card, plan.networks[k].reading.bands, *resolved(card, job.runtime, job.precision)
            ).signature()
            for card, k in plan.runs
        ],
        "files": source_state(source.files),
    }


def _fill(
    job: LandcoverJob,
    plan: LandcoverPlan,
    fuse: FuseBlock,
    source: ImageSource,
    store: BlockStore,
    progress: Progress,
    cores: int,
) -> list[Predictor | StagedNetwork]:
    """Compute all blocks that the store lacks, by the networks that are returned."""
    rows = max(
        plan.blocks.read_shape.height if network.in_parts else plan.window(network).height
        for network in plan.networks
    )

    def read(what: tuple[Reading, PixelWindow]) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        reading, window = what
        return source.read(window, reading.bands, reading.value_range)

    read_one = one_at_a_time(read)
    with gdal_settings(cores, source.cache_for(rows)), ExitStack() as opened:
        predictors = [_opened(job, plan, n, read_one, cores) for n in plan.networks]
        staged = [opened.enter_context(p) for p in predictors if isinstance(p, StagedNetwork)]
        ended = threading.Event()
        refinement = Refinement(
            job.crf_settings(), job.unknown, job.majority_radius, lambda: stop_if(ended.is_set)
        )
        runs = tuple(
            SegmentBlock(
                p if isinstance(p, StagedNetwork) else p.predict,
                network.card.input,
                network.classes,
                flips=job.tta,
            )
            for network, p in zip(plan.networks, predictors)
        )
        block_of = LandcoverBlock(plan, runs, fuse, refinement)

        def compute(group: list[LandcoverPixels]) -> list[Arrays]:
            return [block_of(pixels) for pixels in group]

        def end() -> None:
            ended.set()  # what a thread refines after a cancellation ends with its next step
            for network in staged:
                network.stop()

        fill(
            store,
            plan.blocks.walk(min((n.columns(plan.blocks) for n in staged), default=_all(plan))),
            len(plan.blocks),
            LandcoverReader(plan, read_one, staged),
            compute,
            progress,
            region=PixelWindow.of_shape(plan.region.shape),
            concurrency=min(predictor.concurrency for predictor in predictors),
            wanted=plan.wants,
            ended=end,
        )
    return predictors


def _all(plan: LandcoverPlan) -> int:
    return len(plan.blocks.cols)


def _tags(job: LandcoverJob, ran: list[Ran]) -> dict[str, str]:
    return {
        **provenance(job.input, ran),
        **nodata_tag(job.nodata),
        "CRF": _crf_text(job),
        "MAJORITY_RADIUS": str(job.majority_radius),
        "TTA": str(job.tta).lower(),
        "AREA_OF_INTEREST": str(job.aoi is not None).lower(),
    }


def _crf_text(job: LandcoverJob) -> str:
    settings = job.crf_settings()
    if settings is None:
        return "none"
    return (
        f"sxy={settings.sxy:g},srgb={settings.srgb:g},compat={settings.compat:g},"
        f"sxy_gaussian={settings.sxy_gaussian:g},compat_gaussian={settings.compat_gaussian:g},"
        f"iterations={settings.iterations}"
    )


def _facts(job: LandcoverJob, plan: LandcoverPlan, ran: list[Ran]) -> dict[str, str]:
    """Lines of the summary."""
    size = plan.grid.pixel_size()
    facts = {
        "Input": job.input,
        "Pixel": "unknown" if size is None else f"{size[0]:.3g} x {size[1]:.3g} m",
    }
    for one in ran:
        card, digest = one.card, model_hash(one.card, one.runtime)
        facts[f"Model {card.name}"] = (
            f"{card.title} ({card.version}), sha256 {digest[:16]}, licence {card.license}"
        )
        if card.citation:
            facts[f"To cite {card.name}"] = card.citation
    if job.method == "priority":
        names = [plan.fusion.classes[k].name for k in plan.fusion.rules.order]
        facts["Priority"] = ", ".join(names)
    return {
        **facts,
        "Method": f"{job.method}: {METHODS[job.method]}",
        "Unknown threshold": unknown_text(job.unknown_threshold),
        "CRF": _crf_text(job),
        "Majority filter": f"radius {job.majority_radius} px" if job.majority_radius else "none",
        "Runtime": ", ".join(dict.fromkeys(f"{one.runtime}, {one.precision}" for one in ran)),
        "Networks run": str(len(plan.networks)),
    }


def _image(plan: LandcoverPlan, source: ImageSource, store: BlockStore) -> QuicklookImage:
    reading = plan.networks[0].reading
    pixels, valid = source.overview(reading.bands, QUICKLOOK_SIDE, reading.value_range, plan.region)
    return QuicklookImage(pixels, valid, reading.value_range, "Left: the image.")
