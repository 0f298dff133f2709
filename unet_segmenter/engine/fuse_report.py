# SPDX-License-Identifier: GPL-2.0-or-later
"""The summary of a fused map as one HTML page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..version import plugin_version
from . import report_page as report
from .fuse_classes import Fusion
from .fuse_job import METHODS, FuseResult
from .rasters.grid import RasterGrid
from .refine_job import ClassChange


@dataclass(frozen=True)
class FusionFacts:
    """What the page tells beside the result.

    Parameters
    ----------
    fusion : Fusion
        Classes and rules.
    grid : RasterGrid
        Of the map.
    made : dict
        Lines on how it was made.
    caption : str
        What stands beside the map in the quick look.
    changes : tuple of ClassChange
        What a refinement did to each class; empty without one.
    """

    fusion: Fusion
    grid: RasterGrid
    made: Mapping[str, str]
    caption: str
    changes: tuple[ClassChange, ...] = ()


def fusion_page(result: FuseResult, facts: FusionFacts, picture: bytes) -> str:
    """The page's HTML.

    Parameters
    ----------
    result : FuseResult
        What the run made.
    facts : FusionFacts
        How.
    picture : bytes
        The quick look as PNG; it is put into the page.
    """
    mapped = result.pixels - result.nodata_pixels
    shape = facts.grid.shape
    numbers = {
        "of the pixels with data unknown": f"{result.unknown_share:.1%}",
        "claimed by several classes": f"{result.conflict_share:.1%}",
        "pixels with data": f"{mapped:,}",
        "nodata": f"{result.nodata_pixels / result.pixels:.1%}",
    }
    right = "Right: the map; unknown is shown too, nodata is white."
    return report.page(
        f"{Path(result.outputs['OUTPUT']).name}: land cover",
        f"{shape.width:,} x {shape.height:,} px, fused by {METHODS[result.method]}",
        [
            report.warnings(result.warnings),
            report.tiles(numbers),
            report.picture(picture, f"{facts.caption} {right}"),
            report.section("Cover", _cover(result, facts.grid)),
            report.section(
                "Classes and thresholds",
                _rules(facts.fusion),
                "A class claims a pixel where its probability reaches its threshold and the "
                "unknown threshold. Where several do, the method decides.",
            ),
            _changes(facts.changes),
            report.section("How it was made", _made(result, facts.made)),
        ],
    )


def _cover(result: FuseResult, grid: RasterGrid) -> str:
    mapped = max(result.pixels - result.nodata_pixels, 1)
    unit = grid.unit()
    head = ["Class", "Value", "Pixels", *([f"Area ({unit[0]}²)"] if unit else []), "Area (ha)"]
    rows = []
    for area in result.areas:
        row = [report.swatch(area.name, area.color), str(area.value), f"{area.pixels:,}"]
        if unit and area.area is not None:
            row.append(f"{area.area / unit[1] ** 2:,.1f}")
        row.append("-" if area.area is None else f"{area.area / 10_000:,.4f}")
        rows.append([*row, report.bar(area.pixels / mapped, area.color)])
    return report.table([*head, "Share of the pixels with data"], rows)


def _rules(fusion: Fusion) -> str:
    rows = [
        [report.swatch(c.name, c.color), str(c.value), f"{c.threshold:g}"]
        for c in sorted(fusion.classes, key=lambda c: c.value)
    ]
    return report.table(["Class", "Value", "Threshold"], rows)


def _changes(changes: tuple[ClassChange, ...]) -> str:
    if not changes:
        return ""
    rows = [
        [
            report.swatch(c.name, c.color),
            *(f"{n:,}" for n in (c.before, c.lost, c.gained, c.pixels)),
        ]
        for c in changes
        if c.before or c.pixels
    ]
    return report.section(
        "What the refinement changed",
        report.table(["Class", "Pixels before", "Lost", "Gained", "Pixels after"], rows),
        "Shares of conflicts, and the rasters of probability, confidence and entropy, are those of "
        "the fusion, before it was refined.",
    )


def _made(result: FuseResult, made: Mapping[str, str]) -> str:
    resumed = f", {result.resumed_blocks} of them from before" if result.resumed_blocks else ""
    lines = {
        **made,
        "Time": f"{result.seconds:.1f} s, {result.blocks} blocks{resumed}",
        "Software": f"U-Net Segmenter {plugin_version()}",
    }
    rows = [[html.escape(name), html.escape(value)] for name, value in lines.items()]
    return report.table(["", ""], rows, numbers_from=2)
