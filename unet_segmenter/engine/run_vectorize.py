# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns a class raster of any size into polygons with their class, size and confidence."""

from __future__ import annotations

import math
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .block_flow import read_compute_in_order, stop_if
from .block_job import check_outputs
from .block_store import os_errors_told
from .class_looks import RasterLegend
from .components import Strip, strips_of
from .errors import Cancelled, InputError, JobError, OutputError
from .geometry import PixelWindow
from .ground import measure, on_grid
from .input_state import source_state
from .legend import ClassLook
from .model_card import NODATA_VALUE
from .name_lists import quoted
from .output_layers import publish
from .polygon_qml import polygon_qml
from .polygonize import ClassPolygons, Joining, StripClasses, trace
from .predictor import available_cores
from .progress import Progress
from .rasters.gdal import gdal_settings
from .rasters.source import RasterSource
from .reference import check_band, check_class_band, read_classes
from .vector import STYLES, PolygonFile, table_names
from .vectorize_job import SPECK_PIXELS, ClassTotal, VectorizeJob, VectorizeResult

__all__ = ["VectorizeJob", "VectorizeResult", "run_vectorize"]

_NO_VALUES = (math.inf, -math.inf)
_WRITTEN_AT_ONCE = 20_000


def run_vectorize(job: VectorizeJob, progress: Progress) -> VectorizeResult:
    """Write the polygons of a class raster.

    Parameters
    ----------
    job : VectorizeJob
        What to do.
    progress : Progress
        Is notified of every strip of the raster, and asked whether to stop.

    Raises
    ------
    SegmenterError
        With what happened, where, and what to do. No output exists then.
    """
    started = time.monotonic()
    cores = available_cores()
    check_outputs(job.outputs(), ("OUTPUT",))
    output = Path(job.output).absolute()
    if others := [name for name in table_names(output) if name not in (output.stem, STYLES)]:
        raise OutputError(
            f"{output} holds other tables too ({', '.join(others)}), which would be lost; name "
            "another file."
        )
    with gdal_settings(cores), ExitStack() as stack:
        sources = _Sources.opened(job, stack)
        inputs = source_state(sources.files())
        warnings = _warnings(sources)
        for warning in warnings:
            progress.log("warning", warning)
        rows = strips_of(*sources.classes.grid.shape)[0].stop
        stack.enter_context(gdal_settings(cores, sources.cache_for(rows)))
        with (
            os_errors_told(output),
            tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder,
        ):
            whole = Path(folder) / output.name
            file = PolygonFile(whole, output.stem, sources.classes.grid.crs)
            table = _Table(job, sources, file, progress)
            try:
                _trace_all(job, sources, table, progress, cores)
                table.finish()
            except Cancelled as error:
                raise Cancelled("The run was cancelled; nothing was written.") from error
            file.set_style(polygon_qml(table.looks(), "class"))
            stop_if(progress.cancelled)
            publish({whole: output}, inputs)
    if not table.written and not table.left_out:
        warnings += (f"{job.input} has no pixel of the classes wanted: the layer is empty.",)
        progress.log("warning", warnings[-1])
    area_unit = "px" if sources.classes.grid.crs is None else "m2"
    if table.specks:
        warnings += (
            f"{table.specks:,} specks of fewer than {SPECK_PIXELS} px are left out, "
            f"{table.speck_pixels:,} px together. MIN_AREA 0 keeps them; majorityfilter "
            "merges them into their neighbours.",
        )
        progress.log("warning", warnings[-1])
    return VectorizeResult(
        outputs={"OUTPUT": str(output)},
        polygons=table.written,
        left_out=table.left_out,
        classes=table.totals(),
        area_unit=area_unit,
        seconds=time.monotonic() - started,
        warnings=warnings,
    )


@dataclass(frozen=True)
class _Sources:
    """The rasters that are read."""

    job: VectorizeJob
    classes: RasterSource
    confidence: RasterSource | None

    @classmethod
    def opened(cls, job: VectorizeJob, stack: ExitStack) -> _Sources:
        """Open the rasters; the stack closes them.

        Raises
        ------
        SegmenterError
            If one cannot be used, or they lie on different grids.
        """
        classes = stack.enter_context(RasterSource(job.input))
        check_class_band(classes, job.band)
        if job.confidence is None:
            return cls(job, classes, None)
        confidence = stack.enter_context(RasterSource(job.confidence))
        check_band(confidence, job.confidence_band)
        differences = classes.grid.differences(confidence.grid)
        if differences:
            raise InputError(
                f"{job.confidence} lies on another grid than {job.input}: they differ in "
                f"{' and '.join(differences)}. Give the confidence that was written with the map."
            )
        return cls(job, classes, confidence)

    def cache_for(self, rows: int) -> int:
        """Bytes of cache for reading strips of that many rows."""
        return sum(s.cache_for(rows) for s in (self.classes, self.confidence) if s)

    def files(self) -> list[Path]:
        """All files that are read."""
        return [file for s in (self.classes, self.confidence) if s for file in s.files]

    def read(self, strip: Strip) -> StripClasses:
        """What a strip holds."""
        height, width = self.classes.grid.shape
        above, below = min(strip.start, 1), min(height - strip.stop, 1)
        rows = strip.stop - strip.start
        window = PixelWindow(strip.start - above, 0, rows + above + below, width)
        labels, known = read_classes(self.classes, self.job.band, window)
        labels = np.where(known, labels, np.uint8(NODATA_VALUE))
        numbers = None
        if self.confidence is not None:
            numbers = self._numbers(self.confidence, PixelWindow(strip.start, 0, rows, width))
        return StripClasses(strip, labels, above, below, numbers)

    def _numbers(self, source: RasterSource, window: PixelWindow) -> NDArray[np.float32]:
        band = self.job.confidence_band
        pixels, valid = source.read(window, (band,), _NO_VALUES)
        scale, offset = source.scales[band - 1]
        values = pixels[..., 0].astype(np.float32) * np.float32(scale) + np.float32(offset)
        return np.where(valid, values, np.float32(np.nan))


@dataclass
class _Table:
    """Takes polygons in, and writes them with their attributes, many at a time."""

    job: VectorizeJob
    sources: _Sources
    file: PolygonFile
    progress: Progress
    written: int = 0
    left_out: int = 0
    specks: int = 0
    speck_pixels: int = 0
    _waiting: list[ClassPolygons] = field(default_factory=list)
    _counts: dict[int, int] = field(default_factory=dict)
    _areas: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find out what the classes are called, and which are wanted."""
        self._legend = RasterLegend.of(self.sources.classes, self.job.band)
        self._wanted = _values_of(self.job, self._legend)

    def add(self, polygons: ClassPolygons) -> None:
        """Take polygons that are whole."""
        if self._wanted is not None:
            polygons = polygons.chosen(np.isin(polygons.values, list(self._wanted)))
        self._waiting.append(polygons)
        if sum(len(some.values) for some in self._waiting) >= _WRITTEN_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        polygons = ClassPolygons.joined(self._waiting)
        self._waiting = []
        for start in range(0, max(len(polygons.values), 1), _WRITTEN_AT_ONCE):
            stop_if(self.progress.cancelled)
            self._write(polygons.chosen(slice(start, start + _WRITTEN_AT_ONCE)))

    def _write(self, polygons: ClassPolygons) -> None:
        grid = self.sources.classes.grid
        areas, perimeters = measure(polygons.polygons, grid)
        if self.job.min_area is None:
            large = polygons.pixels >= SPECK_PIXELS
            self.specks += int(np.count_nonzero(~large))
            self.speck_pixels += int(polygons.pixels[~large].sum())
        else:
            large = areas >= self.job.min_area
        self.left_out += int(np.count_nonzero(~large))
        polygons, areas, perimeters = polygons.chosen(large), areas[large], perimeters[large]
        values = polygons.values
        fields = {"class": values.astype(np.int32), "name": self._names(values)}
        fields |= {"area": areas, "perimeter": perimeters}
        if self.job.confidence is not None:
            fields["confidence"] = polygons.confidence
        self.file.append(on_grid(polygons.polygons, grid), fields)
        self.written += len(values)
        for value in np.unique(values).tolist():
            chosen = values == value
            self._counts[value] = self._counts.get(value, 0) + int(np.count_nonzero(chosen))
            self._areas[value] = self._areas.get(value, 0.0) + float(areas[chosen].sum())

    def finish(self) -> None:
        """Write the rest: an empty layer if there was nothing at all."""
        if self._waiting or not self.written:
            self.flush()

    def looks(self) -> tuple[ClassLook, ...]:
        """Looks of the classes that were written, by value."""
        return tuple(self._legend.look(value) for value in sorted(self._counts))

    def totals(self) -> tuple[ClassTotal, ...]:
        """What was written of each class."""
        return tuple(
            ClassTotal(
                look.value, look.name, look.color, self._counts[look.value], self._areas[look.value]
            )
            for look in self.looks()
        )

    def _names(self, values: NDArray[np.int64]) -> NDArray[np.object_]:
        named = {value: self._legend.look(value).name for value in np.unique(values).tolist()}
        names = np.empty(len(values), object)
        names[:] = [named[value] for value in values.tolist()]
        return names


def _trace_all(
    job: VectorizeJob, sources: _Sources, table: _Table, progress: Progress, cores: int
) -> None:
    strips = strips_of(*sources.classes.grid.shape)
    joining = Joining(len(strips), straighten=job.simplify == 0)
    flow = read_compute_in_order(
        strips,
        sources.read,
        lambda classes: trace(classes, job.simplify),
        concurrency=cores,
        cancelled=progress.cancelled,
    )
    with closing(flow):  # its thread reads from rasters that are closed next
        for done, (_, traced) in enumerate(flow, 1):
            table.add(joining.add(traced))
            progress.advance(done, len(strips), "Tracing")


def _values_of(job: VectorizeJob, legend: RasterLegend) -> set[int] | None:
    """Values of the classes wanted; None for all."""
    if not job.classes:
        return None
    named = legend.names
    by_name = {name.casefold(): value for value, name in named.items()}
    found = set()
    for text in job.classes:
        value = by_name.get(text.casefold(), int(text) if text.isdecimal() else None)
        if value is None or not 0 <= value < NODATA_VALUE:
            raise JobError(
                f"{job.input} has no class {text!r}; it names "
                f"{', '.join(f'{v}={quoted(n)}' for v, n in sorted(named.items())) or 'none'}. "
                "Give names or values."
            )
        found.add(value)
    return found


def _warnings(sources: _Sources) -> tuple[str, ...]:
    grid = sources.classes.grid
    if grid.crs is None:
        return (
            f"{sources.job.input} has no coordinate reference system: areas and perimeters are in "
            "pixels.",
        )
    return ()
