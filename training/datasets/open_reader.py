# SPDX-License-Identifier: GPL-2.0-or-later
"""From the name of a format to its reader: the table that spec, command line and help go by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from unet_segmenter.engine.progress import Progress

from ..answers import read_label_table
from ..classes import SourceClass
from ..errors import DatasetError
from ..palette import color_of
from ..prepare_spec import PrepareSpec
from . import Reader
from .aeroscapes import AeroScapes
from .folder import FolderSet, PairedFiles
from .semantic_drone import SemanticDrone


def open_reader(spec: PrepareSpec, progress: Progress) -> Reader:
    """Return the reader that the spec names.

    Raises
    ------
    DatasetError
        If the source is absent, or does not look as its format says.
    """
    if not spec.source.startswith("/vsi") and not Path(spec.source).exists():
        raise DatasetError(f"{spec.source}: no such file or folder")
    return OPENERS[spec.reader](spec, progress)


def _aeroscapes(spec: PrepareSpec, _progress: Progress) -> Reader:
    return AeroScapes(Path(spec.source))


def _semantic_drone(spec: PrepareSpec, progress: Progress) -> Reader:
    reader = SemanticDrone(Path(spec.source), Path(spec.palette) if spec.palette else None)
    progress.log("info", f"layout: {reader.layout.name} ({reader.layout.labels})")
    _warn_of_masks_without_image(reader, spec, progress)
    return reader


def _folder(spec: PrepareSpec, progress: Progress) -> Reader:
    masks, palette = (Path(text) if text else None for text in (spec.labels, spec.palette))
    listed = ()
    if spec.label_table:
        listed = tuple(
            SourceClass(value, str(value), color_of(number), has_color=False)
            for number, value in enumerate(read_label_table(spec.label_table))
        )
    reader = FolderSet(Path(spec.source), masks, palette, listed)
    _warn_of_masks_without_image(reader, spec, progress)
    return reader


def _warn_of_masks_without_image(
    reader: PairedFiles, spec: PrepareSpec, progress: Progress
) -> None:
    if alone := reader.masks_without_image():
        first = ", ".join(alone[:3]) + (", ..." if len(alone) > 3 else "")
        progress.log(
            "warning",
            f"{spec.source}: {len(alone)} masks have no image of the same name and are left out "
            f"({first}); images in sub-folders are not found",
        )


def _geo(spec: PrepareSpec, progress: Progress) -> Reader:
    from .geo import ChipSource, GeoChips  # brings rasterio, which the others do without

    progress.advance(0, 1, "reading the labels")
    reader = GeoChips(
        ChipSource(
            spec.source,
            spec.labels,
            spec.field,
            spec.areas,
            spec.palette,
            spec.bands,
            spec.chip,
            spec.overlap,
            spec.samples,
            spec.nodata,
            spec.crs,
        )
    )
    for warning in reader.warnings():
        progress.log("warning", warning)
    if not spec.chip:
        reader.plan(spec.fractions, spec.seed, spec.gap)
    return reader


OPENERS: dict[str, Callable[[PrepareSpec, Progress], Reader]] = {
    "aeroscapes": _aeroscapes,
    "semantic-drone": _semantic_drone,
    "folder": _folder,
    "geo": _geo,
}
"""Readers by name; the names are `training.prepare_spec.READERS`."""
