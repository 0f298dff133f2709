# SPDX-License-Identifier: GPL-2.0-or-later
"""The HTML page on what a run made, from what, and how reliable it is."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from string import Template
from typing import Any

from ..version import plugin_version
from .job import JobResult, JobSpec
from .model_card import ModelCard
from .rasters.grid import RasterGrid

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1000px; margin: 2em auto;
       padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; } td, th { padding: .3em 1em .3em 0; text-align: left;
        border-bottom: 1px solid #ddd; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; width: 1em; height: 1em; border: 1px solid #888;
          vertical-align: -2px; margin-right: .5em; }
.bar { display: inline-block; height: .8em; }
.warning { background: #fff4d6; border-left: 4px solid #e0a100; padding: .5em 1em; margin: .5em 0; }
img { width: 100%; border: 1px solid #ddd; }
</style>
</head>
<body>
<h1>$title</h1>
$warnings
<img alt="The image, and the mask laid over it" src="data:image/png;base64,$picture">
<h2>Cover</h2>
<table>
<tr><th>Class</th><th class="number">Pixels</th><th class="number">Area</th>
<th class="number">Share</th><th></th></tr>
$cover
</table>
<p>$nodata</p>
<h2>How it was made</h2>
<table>
$facts
</table>
<h2>Reliability</h2>
<p>$trust</p>
$metrics
</body>
</html>
""")


def summary_page(
    result: JobResult, job: JobSpec, card: ModelCard, grid: RasterGrid, picture: Path
) -> str:
    """The page's HTML.

    Parameters
    ----------
    result : JobResult
        What the run made.
    job : JobSpec
        What was asked for.
    card : ModelCard
        The model.
    grid : RasterGrid
        Grid of the output.
    picture : Path
        The quick look; it is put into the page.
    """
    encoded = base64.b64encode(picture.read_bytes()).decode()
    share = result.nodata_pixels / result.pixels
    return _PAGE.substitute(
        title=html.escape(f"{Path(job.output).name}: {card.title}"),
        warnings="\n".join(f'<p class="warning">{html.escape(w)}</p>' for w in result.warnings),
        picture=encoded,
        cover="\n".join(_cover_rows(result)),
        nodata=f"{result.nodata_pixels:,} of {result.pixels:,} pixels ({share:.1%}) are nodata.",
        facts="\n".join(_row(name, value) for name, value in _facts(result, job, card, grid)),
        trust=html.escape(_trust(card)),
        metrics=_metrics(card.details.get("metrics", {}).get("per_class", {})),
    )


def _cover_rows(result: JobResult) -> list[str]:
    covered = max(result.pixels - result.nodata_pixels, 1)
    rows = []
    for area in result.areas:
        share = area.pixels / covered
        rows.append(
            f'<tr><td><span class="swatch" style="background:{area.color}"></span>'
            f'{html.escape(area.name)} ({area.value})</td><td class="number">{area.pixels:,}</td>'
            f'<td class="number">{area.area_text}</td><td class="number">{share:.1%}</td>'
            f'<td><span class="bar" style="background:{area.color};width:{200 * share:.0f}px">'
            "</span></td></tr>"
        )
    return rows


def _facts(
    result: JobResult, job: JobSpec, card: ModelCard, grid: RasterGrid
) -> list[tuple[str, str]]:
    size = grid.pixel_size()
    pixel = "unknown" if size is None else f"{size[0]:.3g} x {size[1]:.3g} m"
    speed = result.pixels / max(result.seconds, 1e-9) / 1e6
    resumed = f", {result.resumed_blocks} of them from before" if result.resumed_blocks else ""
    return [
        ("Input", job.input),
        ("Output", result.outputs["OUTPUT"]),
        ("Size", f"{grid.shape.width:,} x {grid.shape.height:,} px of {pixel}"),
        ("Model", f"{card.title} ({card.name} {card.version}), sha256 {result.model_sha256[:16]}"),
        ("Licence of the model", card.license),
        ("To cite", card.citation or "-"),
        ("Runtime", f"{result.runtime}, {result.precision}"),
        (
            "Time",
            f"{result.seconds:.1f} s, {speed:.2f} million px/s, {result.blocks} blocks{resumed}",
        ),
        ("Software", f"U-Net Segmenter {plugin_version()}"),
    ]


def _trust(card: ModelCard) -> str:
    split = card.details.get("metrics", {}).get("split", "")
    gsd = card.input.gsd_range
    resolution = f" and for pixels of {gsd[0]:g} to {gsd[1]:g} m" if gsd else ""
    measured = f" The scores below were measured on: {split}." if split else ""
    return (
        f"The model was made for images like those it was trained on{resolution}.{measured} On "
        "other landscapes, seasons and cameras it may do worse: compare the map with places that "
        "you know."
    )


def _metrics(per_class: dict[str, dict[str, Any]]) -> str:
    if not per_class:
        return "<p>The model's card gives no scores.</p>"
    keys = [
        k for k in ("iou", "dice", "precision", "recall") if k in next(iter(per_class.values()))
    ]
    head = "".join(f'<th class="number">{_METRIC_NAMES[key]}</th>' for key in keys)
    body = "\n".join(
        f"<tr><td>{html.escape(name)}</td>"
        + "".join(f'<td class="number">{_score(scores.get(key))}</td>' for key in keys)
        + "</tr>"
        for name, scores in per_class.items()
    )
    return f"<table><tr><th>Class</th>{head}</tr>\n{body}</table>"


_METRIC_NAMES = {"iou": "IoU", "dice": "Dice", "precision": "Precision", "recall": "Recall"}


def _score(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, (int, float)) else "-"


def _row(name: str, value: str) -> str:
    return f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
