# SPDX-License-Identifier: GPL-2.0-or-later
"""What is written of a comparison of two rasters: an HTML page, and a table of the classes."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

import numpy as np
from PIL import Image

from ..version import plugin_version
from .compare import Agreement
from .csv_cells import plain_cell
from .evaluate_job import ClassScores, EvaluateJob, EvaluateResult
from .report_page import (
    bar,
    confusion_table,
    page,
    picture,
    score,
    section,
    swatch,
    table,
    tiles,
    warnings,
)

_SMALLEST_PICTURE = 480
_RIGHT, _WRONG, _NOTHING = (222, 226, 222), (190, 20, 30), (255, 255, 255)


def evaluation_page(job: EvaluateJob, result: EvaluateResult, agreement: Agreement) -> str:
    """The page's HTML."""
    names = [cls.name for cls in result.classes]
    cell = f"{agreement.cell} x {agreement.cell} px" if agreement.cell > 1 else "one pixel"
    return page(
        f"{Path(job.input).name} against {Path(job.reference).name}",
        f"{result.pixels:,} pixels compared. U-Net Segmenter {plugin_version()}.",
        [
            warnings(result.warnings),
            tiles(
                {
                    "mean IoU": score(result.mean_iou),
                    "overall accuracy": score(result.overall_accuracy),
                    "frequency-weighted IoU": score(result.frequency_weighted_iou),
                    "Matthews correlation": score(result.mcc),
                    "mean Dice": score(result.mean_dice),
                    "mean boundary F1": score(result.mean_boundary_f1),
                }
            ),
            section(
                "Classes",
                table(_HEAD, [_row(cls) for cls in result.classes], numbers_from=2),
                "Of pixels F1 is the Dice coefficient. Two boundaries meet where they are at most "
                f"{result.tolerance} px apart. Means are over the classes that the reference has.",
            ),
            section(
                "Where the pixels of a class went",
                confusion_table(names, result.confusion),
                "Per cent of the pixels that are of the class; point at a cell for their number.",
            ),
            section(
                "Where the errors are",
                picture(
                    error_map(agreement),
                    f"Red: the share of {cell} that is wrong; grey: right; white: not compared.",
                ),
            ),
            section("What was compared", table(("", ""), _facts(job, result), numbers_from=9)),
        ],
    )


def class_rows(result: EvaluateResult) -> str:
    """A row a class, as CSV; what is undefined is empty, and no name is a formula."""
    text = io.StringIO(newline="")
    keys = [f.name for f in dataclasses.fields(ClassScores)]
    writer = csv.DictWriter(text, keys, lineterminator="\r\n")
    writer.writeheader()
    for cls in result.classes:
        row = dataclasses.asdict(cls)
        writer.writerow(
            {k: round(v, 6) if isinstance(v, float) else plain_cell(v) for k, v in row.items()}
        )
    return text.getvalue()


def error_map(agreement: Agreement) -> bytes:
    """PNG of the share of wrong pixels by cell, cut to what was compared."""
    rows, cols = (np.flatnonzero(agreement.compared.any(axis=axis)) for axis in (1, 0))
    part = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
    wrong, compared = agreement.wrong[part], agreement.compared[part]
    share = np.divide(wrong, compared, out=np.zeros(wrong.shape), where=compared > 0)
    # The root: single wrong pixels of a large cell must show.
    blend = np.sqrt(share)[..., np.newaxis]
    rgb = (1 - blend) * np.array(_RIGHT) + blend * np.array(_WRONG)
    rgb[compared == 0] = _NOTHING
    image = Image.fromarray(rgb.round().astype(np.uint8))
    factor = max(1, _SMALLEST_PICTURE // max(image.size))
    image = image.resize(
        (image.width * factor, image.height * factor), Image.Resampling.NEAREST
    )  # fmt: skip
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


_HEAD = (
    "Class", "IoU", "Dice = F1", "Precision", "Recall", "Boundary F1", "Pixels true",
    "Pixels mapped",
)  # fmt: skip


def _row(cls: ClassScores) -> list[str]:
    return [
        swatch(f"{cls.name} ({cls.value})", cls.color),
        bar(cls.iou, cls.color),
        *(score(value) for value in (cls.dice, cls.precision, cls.recall, cls.boundary_f1)),
        f"{cls.true_pixels:,}",
        f"{cls.claimed_pixels:,}",
    ]


def _facts(job: EvaluateJob, result: EvaluateResult) -> list[list[str]]:
    import html

    facts = {
        "Map": f"{job.input}, band {job.band}",
        "Reference": f"{job.reference}, "
        + (f"field {job.field}" if job.field else f"band {job.reference_band}")
        + (", aligned by nearest neighbour" if job.align else ""),
        "Area of interest": job.aoi or "all",
        "Values that do not count": ", ".join(map(str, job.ignore)) or "nodata only",
        "Pixels compared": f"{result.pixels:,}",
        "Pixels of the reference without a class in the map": f"{result.unmapped_pixels:,}",
    }
    return [[name, html.escape(value)] for name, value in facts.items()]
