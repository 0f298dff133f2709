# SPDX-License-Identifier: GPL-2.0-or-later
"""A class raster without specks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBand,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingUtils,
)

from ..engine.job import ClassArea
from ..engine.majority_job import AREA_UNITS, DEFAULT_RADIUS, MAX_RADIUS, METHODS
from .base_algorithm import EngineAlgorithm
from .compat import DOUBLE, INTEGER
from .parameters import is_given, static_enum
from .style import MaskStyle, style_on_load
from .worker_run import run_in_worker

INPUT = "INPUT"
RADIUS = "RADIUS"
MIN_AREA = "MIN_AREA"
AREA_UNIT = "AREA_UNIT"
METHOD = "METHOD"
BAND = "BAND"
BLOCK_SIZE = "BLOCK_SIZE"
OUTPUT = "OUTPUT"

# Outputs that are numbers -> key in the result, and their title.
NUMBERS: dict[str, tuple[str, str]] = {
    "CHANGED_SHARE": ("changed_share", "Share of the pixels whose class changed, 0 to 1"),
    "CHANGED_PIXELS": ("changed_pixels", "Pixels whose class changed"),
    "TOO_SMALL_PIXELS": ("too_small_pixels", "Pixels that stay in areas smaller than asked for"),
    "PIXELS": ("pixels", "Pixels of the map"),
    "NODATA_PIXELS": ("nodata_pixels", "Pixels without data"),
}

_HELP = """
<p>Each pixel gets the class that is most frequent in the disk around it; of equally frequent
classes its own, if it is among them. Then areas of a class that are smaller than the smallest area
take the class with which they share the longest border. Pixels without data stay, and do not
vote.</p>
<p>Names and colours of the classes are kept. The raster is worked on in blocks and in strips, and
the map is the same as if it were worked on as a whole.</p>
<p>The method median takes the median of the class numbers instead, as the course did it: between
classes 1 and 6 it may name 4, which hardly is there. It is there only to reproduce such maps.</p>
"""


class MajorityFilterAlgorithm(EngineAlgorithm):
    """Turns its parameters into a smoothing that a worker process does."""

    NAME = "majorityfilter"
    TITLE = "Majority filter and sieve"
    SUMMARY_LINE = "Smooths a class raster by the vote of neighbours, and merges small areas."
    HELP = _HELP
    RASTERS = (INPUT,)
    TAGS = (
        *("majority", "mode", "filter", "smooth", "sieve", "noise", "speckle", "salt and pepper"),
        *("generalize", "minimum mapping unit", "median", "land cover", "classification"),
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(
            QgsProcessingParameterRasterLayer(INPUT, "Map"),
            "A raster of class numbers 0 to 254, and 255 for no data, such as 'Segment an image' "
            "makes.",
        )
        self.add(
            QgsProcessingParameterNumber(
                RADIUS, "Radius in pixels", INTEGER, DEFAULT_RADIUS, False, 0, MAX_RADIUS
            ),
            "The radius of the disk of pixels that vote. 0 leaves every pixel as it is, and merges "
            "small areas alone.",
        )
        self.add(
            QgsProcessingParameterNumber(MIN_AREA, "Smallest area", DOUBLE, 0.0, True, 0.0),
            "Smaller areas of a class, connected over edges of pixels, take the class with which "
            "they share the longest border. 0 merges none.",
        )
        self.add(
            static_enum(AREA_UNIT, "Unit of the smallest area", list(AREA_UNITS), "px"),
            "px are pixels, m2 square metres.",
            advanced=True,
        )
        self.add(
            static_enum(METHOD, "Method", list(METHODS), "majority"),
            "majority takes the most frequent class. median takes the median of the class numbers, "
            "which may name a class that hardly occurs there.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBand(BAND, "Band of the map", 1, INPUT, True),
            "The band that holds the class numbers.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                BLOCK_SIZE, "Block size in pixels", INTEGER, None, True, 16
            ),
            "The side of the squares that the map is cut into. Smaller needs less memory. The "
            "result is the same.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterRasterDestination(OUTPUT, "Smoothed map"),
            "The map with the grid, the class numbers, names and colours of the input.",
        )
        for name, (_, title) in NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        output = self.parameterAsOutputLayer(parameters, OUTPUT, context)
        values = {
            "input": self.paths[INPUT],
            "output": output,
            "radius": self.parameterAsInt(parameters, RADIUS, context),
            "min_area": self.parameterAsDouble(parameters, MIN_AREA, context),
            "area_unit": self.parameterAsEnumString(parameters, AREA_UNIT, context),
            "method": self.parameterAsEnumString(parameters, METHOD, context),
            "band": self.parameterAsInt(parameters, BAND, context) or 1,
            # Processing gives a temporary output a new name each time: nothing to go on from.
            "resume": Path(QgsProcessingUtils.tempFolder()) not in Path(output).parents,
        }
        if is_given(parameters, BLOCK_SIZE):
            values["block_size"] = self.parameterAsInt(parameters, BLOCK_SIZE, context)
        result = run_in_worker("majorityfilter", values, feedback)
        areas = [ClassArea(**area) for area in result["areas"]]
        style_on_load(context, output, MaskStyle(areas))
        numbers = {name: result.get(key) for name, (key, _) in NUMBERS.items()}
        return {OUTPUT: result["outputs"][OUTPUT], **numbers}
