# SPDX-License-Identifier: GPL-2.0-or-later
"""A class raster as polygons."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBand,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from ..engine.errors import JobError
from ..engine.vectorize_job import SPECK_PIXELS
from .base_algorithm import EngineAlgorithm
from .compat import DOUBLE, VECTOR_POLYGON
from .parameters import class_names, is_given
from .polygon_style import PolygonStyle
from .style import style_on_load
from .worker_run import run_in_worker

INPUT = "INPUT"
CONFIDENCE = "CONFIDENCE"
SIMPLIFY = "SIMPLIFY"
MIN_AREA = "MIN_AREA"
CLASSES = "CLASSES"
BAND = "BAND"
CONFIDENCE_BAND = "CONFIDENCE_BAND"
OUTPUT = "OUTPUT"

# Outputs that are numbers -> key in the result, and their title.
NUMBERS: dict[str, tuple[str, str]] = {
    "POLYGONS": ("polygons", "Polygons written"),
    "LEFT_OUT": ("left_out", "Polygons that were too small"),
}

_HELP = """
<p>Pixels of one class that are connected over their edges become a polygon with the fields class,
name, area (square metres), perimeter (metres, of holes too) and, if a raster of confidences is
given, confidence, the mean of its pixels. Pixels without data become none.</p>
<p>The raster is read in strips, and polygons are whole across them. Simplifying treats a border
once for both of its sides, so that neighbours neither overlap nor leave gaps.</p>
<p>In a map in degrees, sizes are those on a sphere at the polygon's place; without a coordinate
reference system they are in pixels.</p>
"""


class VectorizeAlgorithm(EngineAlgorithm):
    """Turns its parameters into a tracing that a worker process does."""

    NAME = "vectorize"
    TITLE = "Vectorize a map"
    SUMMARY_LINE = "Makes polygons of a class raster, with class, area, perimeter and confidence."
    HELP = _HELP
    RASTERS = (INPUT, CONFIDENCE)
    TAGS = (
        *("polygonize", "vectorise", "raster to vector", "polygons", "area", "perimeter"),
        *("simplify", "topology", "land cover", "classification", "segmentation"),
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(
            QgsProcessingParameterRasterLayer(INPUT, "Map"),
            "A raster of class numbers 0 to 254, and 255 for no data, such as 'Segment an image' "
            "makes.",
        )
        self.add(
            QgsProcessingParameterRasterLayer(CONFIDENCE, "Confidence", None, True),
            "A raster on the grid of the map, such as the confidence that was written with it. "
            "Each polygon gets the mean of its pixels.",
        )
        self.add(
            QgsProcessingParameterNumber(
                SIMPLIFY, "Simplify (pixels, 0: not at all)", DOUBLE, 0.0, True, 0.0
            ),
            "About the square root of the area, in pixels, that leaving out a point may move from "
            "one polygon to its neighbour. 1 makes lines of stairs; more makes rougher lines.",
        )
        self.add(
            QgsProcessingParameterNumber(
                *(MIN_AREA, f"Smallest area (square metres; empty: {SPECK_PIXELS} pixels)"),
                *(DOUBLE, None, True, 0.0),
            ),
            "Smaller polygons are left out; 0 keeps all. To merge them into their neighbours, run "
            "'Majority filter and sieve' first. Without a coordinate reference system these are "
            "pixels.",
        )
        self.add(
            QgsProcessingParameterString(
                CLASSES, "Classes, separated by commas (empty: all)", None, False, True
            ),
            "Names or numbers of the classes wanted.",
        )
        self.add(
            QgsProcessingParameterBand(BAND, "Band of the map", 1, INPUT, True),
            "The band that holds the class numbers.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBand(
                CONFIDENCE_BAND, "Band of the confidence", 1, CONFIDENCE, True
            ),
            "The band whose mean is taken.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterVectorDestination(OUTPUT, "Polygons", VECTOR_POLYGON),
            "A GeoPackage with a layer of polygons in the map's coordinate reference system.",
        )
        for name, (_, title) in NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        super().check(parameters, context)
        target = parameters.get(OUTPUT)
        if target is None or self.provider() is None:
            return
        definition = self.parameterDefinition(OUTPUT)
        fits, problem = self.provider().isSupportedOutputValue(target, definition, context)
        if not fits:
            problem = problem.rstrip(".")
            raise JobError(f"{problem}. Polygons are written as GeoPackage: name a .gpkg file.")

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
            "confidence": self.paths.get(CONFIDENCE),
            "simplify": self.parameterAsDouble(parameters, SIMPLIFY, context),
            "min_area": (
                self.parameterAsDouble(parameters, MIN_AREA, context)
                if is_given(parameters, MIN_AREA)
                else None
            ),
            "classes": class_names(self, parameters, CLASSES, context),
            "band": self.parameterAsInt(parameters, BAND, context) or 1,
            "confidence_band": self.parameterAsInt(parameters, CONFIDENCE_BAND, context) or 1,
        }
        result = run_in_worker("vectorize", values, feedback)
        style_on_load(context, output, PolygonStyle(result["classes"], "class"))
        numbers = {name: result.get(key) for name, (key, _) in NUMBERS.items()}
        return {OUTPUT: result["outputs"][OUTPUT], **numbers}
