# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps land cover by several models: predicted, fused and refined in one pass over the raster."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..version import plugin_version
from .block_flow import stop_if
from .block_job import Arrays, check_outputs, fill, source_state, unfinished_map
from .block_store import BlockStore, Layer, os_errors_told
from .class_changes import changed_pixels, class_changes, count_transitions
from .fuse_block import FuseBlock, layers_of
from .fuse_finish import QUICKLOOK_SIDE, FinishedFusion, QuicklookImage, finish_fusion
from .fuse_job import METHODS, unknown_text
from .geometry import PixelWindow
from .landcover_block import LandcoverBlock, LandcoverPixels, LandcoverReader, Refinement
from .landcover_job import LandcoverJob, LandcoverResult
from .landcover_plan import LandcoverPlan, plan_landcover
from .model_library import ModelLibrary, default_library
from .output_layers import ground_areas
from .predictor import Predictor, PredictorOptions, available_cores, open_predictor
from .progress import Progress
from .provenance import Ran, model_hash, provenance
from .raster import RasterSource, gdal_settings
from .refine_blocks import BEFORE
from .refine_job import switch_warnings
from .segment_block import SegmentBlock

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
        Is told of every block, and asked whether to stop.
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
    with RasterSource(job.input) as source, gdal_settings(cores):
        plan = plan_landcover(job, source, library or default_library())
        if plan.crf and job.crf == "models":
            progress.log("info", _BY_CARD)
        job = replace(job, crf="default" if plan.crf else "no")
        for warning in plan.warnings:
            progress.log("warning", warning)
        layers = layers_of(outputs, plan.fusion, job.probability_type)
        if _refines(job):
            layers[BEFORE] = Layer(1, "uint8")
        predictors = [_predictor(job, plan, place, cores) for place in range(len(plan.networks))]
        ran = _ran(plan, predictors)
        signature = _signature(job, plan, source, ran)
        with unfinished_map(
            Path(job.output), plan.region.shape, layers, signature, progress, resume=job.resume
        ) as store:
            resumed = len(store.finished)
            fuse = FuseBlock(plan.fusion, tuple(layers), job.probability_type)
            _fill(job, plan, predictors, fuse, source, store, progress, cores)
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


def _predictor(job: LandcoverJob, plan: LandcoverPlan, place: int, cores: int) -> Predictor:
    network = plan.networks[place]
    options = PredictorOptions(job.precision, plan.window(network), 1, cores)
    return open_predictor(network.card, job.runtime, options)


def _ran(plan: LandcoverPlan, predictors: list[Predictor]) -> list[Ran]:
    """How each model was run, in the order in which they were named."""
    return [
        Ran(card, plan.networks[k].reading.bands, predictors[k].runtime, predictors[k].precision)
        for card, k in plan.runs
    ]


def _signature(
    job: LandcoverJob, plan: LandcoverPlan, source: RasterSource, ran: list[Ran]
) -> dict[str, Any]:
    """What decides the pixels of a run: the job, what "auto" became, and what the run reads.

    Polygons count by what they are: QGIS writes them to a new file for each run.
    """
    return {
        "version": plugin_version(),
        "job": replace(job, aoi=None).fingerprint(),
        "aoi": plan.aoi.fingerprint() if plan.aoi else None,
        "blocks": [len(plan.blocks), *plan.blocks.read_shape],
        "cards": [hashlib.sha256(repr(card).encode()).hexdigest() for card in plan.cards],
        "networks": [one.signature() for one in ran],
        "files": source_state(source.files),
    }


def _fill(
    job: LandcoverJob,
    plan: LandcoverPlan,
    predictors: list[Predictor],
    fuse: FuseBlock,
    source: RasterSource,
    store: BlockStore,
    progress: Progress,
    cores: int,
) -> None:
    """Compute all blocks that the store lacks."""
    runs = tuple(
        SegmentBlock(predictor.predict, network.card.input, network.classes, flips=job.tta)
        for network, predictor in zip(plan.networks, predictors)
    )
    ended = threading.Event()
    refinement = Refinement(
        job.crf_settings(), job.unknown, job.majority_radius, lambda: stop_if(ended.is_set)
    )
    block_of = LandcoverBlock(plan, runs, fuse, refinement)

    def compute(group: list[LandcoverPixels]) -> list[Arrays]:
        return [block_of(pixels) for pixels in group]

    rows = max(plan.window(network).height for network in plan.networks)
    try:
        with gdal_settings(cores, source.cache_for(rows)):
            fill(
                store,
                plan.blocks,
                len(plan.blocks),
                LandcoverReader(plan, source),
                compute,
                progress,
                region=PixelWindow.of_shape(plan.region.shape),
                concurrency=min(predictor.concurrency for predictor in predictors),
            )
    finally:
        ended.set()  # what a thread refines after a cancellation ends with its next step


def _tags(job: LandcoverJob, ran: list[Ran]) -> dict[str, str]:
    return {
        **provenance(job.input, ran),
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


def _image(plan: LandcoverPlan, source: RasterSource, store: BlockStore) -> QuicklookImage:
    reading = plan.networks[0].reading
    pixels, valid = source.overview(reading.bands, QUICKLOOK_SIDE, reading.value_range, plan.region)
    return QuicklookImage(pixels, valid, reading.value_range, "Left: the image.")
