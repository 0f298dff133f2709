# SPDX-License-Identifier: GPL-2.0-or-later
"""A class raster against a reference."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from ..engine.spec_texts import numbers
from .area_of_interest import write_polygons
from .base_algorithm import EngineAlgorithm
from .compat import INTEGER, VECTOR_POLYGON
from .label_layer import LabelLayer, field_parameter, label_parameter
from .parameters import class_entries, is_given, nodata_parameter, nodata_values
from .worker_run import run_in_worker

INPUT = "INPUT"
BAND = "BAND"
REFERENCE = "REFERENCE"
FIELD = "FIELD"
CLASS_NAMES = "CLASS_NAMES"
AOI = "AOI"
ALIGN = "ALIGN"
IGNORE = "IGNORE"
TOLERANCE = "TOLERANCE"
HTML = "HTML"
CSV = "CSV"
JSON = "JSON"

# Outputs that are numbers -> key in the result, and their title.
SCORES: dict[str, tuple[str, str]] = {
    "MEAN_IOU": ("mean_iou", "Mean IoU over the classes, 0 to 1"),
    "OVERALL_ACCURACY": ("overall_accuracy", "Share of pixels with the right class, 0 to 1"),
    "FW_IOU": ("frequency_weighted_iou", "IoU weighted by the classes' areas, 0 to 1"),
    "MCC": ("mcc", "Matthews correlation coefficient, -1 to 1"),
    "PIXELS": ("pixels", "Pixels that were compared"),
}

_HELP = """
<p>Compares pixel by pixel and writes, for each class, IoU, Dice, precision, recall and F1, how well
the boundaries fit, and the matrix of confusions; as a page with plots, a table and numbers.</p>
<p>The reference is a raster of the same class numbers on the same grid, or polygons with a field
that holds a class number or a class name. What no polygon covers does not count, and neither does
what has no data in one of both. A raster on another grid is refused unless you ask to align it.</p>
<p>A model is worth what it scores on places that it was not trained on.</p>
"""


class EvaluateAlgorithm(EngineAlgorithm):
    """Turns its parameters into an evaluation that a worker process does."""

    NAME = "evaluate"
    TITLE = "Evaluate a map"
    SUMMARY_LINE = "Measures how well a class raster agrees with a reference raster or polygons."
    HELP = _HELP
    RASTERS = (INPUT,)
    TAGS = (
        *("accuracy", "assessment", "iou", "dice", "precision", "recall", "f1", "validation"),
        *("confusion matrix", "land cover", "segmentation", "classification", "mcc"),
    )

    def __init__(self) -> None:
        super().__init__()
        self._reference = LabelLayer(self, REFERENCE, FIELD)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(
            QgsProcessingParameterRasterLayer(INPUT, "Map to evaluate"),
            "A raster of class numbers 0 to 255, such as 'Segment an image' makes.",
        )
        self.add(
            label_parameter(REFERENCE, "Reference raster or polygons", optional=False),
            "What is true: a raster of the same class numbers, or polygons in any CRS.",
        )
        self.add(
            field_parameter(FIELD, "Field of the polygons with their class", REFERENCE),
            "Holds the number of the class, or its name as the map or CLASS_NAMES has it. For "
            "polygons only.",
        )
        self.add(
            QgsProcessingParameterString(
                CLASS_NAMES, "Names of the classes (empty: the map's)", None, False, True
            ),
            "As value=name, separated by commas, such as 1=vegetation, 2=road. Empty takes the "
            "names that the rasters bring.",
        )
        self.add(
            QgsProcessingParameterFeatureSource(
                AOI, "Area of interest", [VECTOR_POLYGON], None, True
            ),
            "Polygons: only pixels whose centre lies inside them count.",
        )
        self.add(
            QgsProcessingParameterBoolean(ALIGN, "Align a reference on another grid", False),
            "Warps the reference raster to the map's grid by nearest neighbour. Without it another "
            "grid is an error, as shifted pixels cost accuracy that the map does not lack.",
        )
        self._add_advanced()
        self._add_outputs()

    def _add_advanced(self) -> None:
        self.add(
            QgsProcessingParameterBand(BAND, "Band of the map", 1, INPUT, True),
            "The band that holds the class numbers.",
            advanced=True,
        )
        self.add(
            nodata_parameter(),
            "Values of the map that are no class, beside the file's own nodata.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(
                IGNORE, "Values of the reference that do not count", None, False, True
            ),
            "Class numbers separated by commas, beside the nodata value.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                TOLERANCE, "Tolerance of boundaries in pixels", INTEGER, 2, True, 0, 50
            ),
            "Two boundaries that are no farther apart than this still meet: for the boundary "
            "score alone.",
            advanced=True,
        )

    def _add_outputs(self) -> None:
        for name, title, filters, by_default, help_text in (
            (HTML, "Report", "HTML files (*.html *.HTML)", True, "A page with tables and plots."),
            (CSV, "Scores of the classes", "CSV files (*.csv *.CSV)", False, "A row a class."),
            (
                JSON,
                "All numbers",
                "JSON files (*.json *.JSON)",
                False,
                "Every number, for scripts.",
            ),
        ):
            self.add(
                QgsProcessingParameterFileDestination(name, title, filters, None, True, by_default),
                help_text,
            )
        for name, (_, title) in SCORES.items():
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        if is_given(parameters, REFERENCE):
            self._reference.check(parameters, context)
        self._ignored(parameters, context)
        super().check(parameters, context)

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        reference, field = self._reference.as_file(parameters, self.crs, context, feedback)
        files = {
            name: self.parameterAsFileOutput(parameters, name, context)
            for name in (HTML, CSV, JSON)
            if is_given(parameters, name)
        }
        values = {
            "input": self.paths[INPUT],
            "band": self.parameterAsInt(parameters, BAND, context) or 1,
            "reference": reference,
            "field": field,
            "align": self.parameterAsBool(parameters, ALIGN, context),
            "aoi": self._area(parameters, context, feedback),
            "class_names": class_entries(self, parameters, CLASS_NAMES, context),
            "nodata": nodata_values(self, parameters, context),
            "ignore": self._ignored(parameters, context),
            "tolerance": self.parameterAsInt(parameters, TOLERANCE, context),
            **{name.lower(): path for name, path in files.items() if path},
        }
        result = run_in_worker("evaluate", values, feedback)
        scores = {name: result.get(key) for name, (key, _) in SCORES.items()}
        return {**files, **scores}

    def _ignored(self, parameters: dict[str, Any], context: QgsProcessingContext) -> list[int]:
        text = self.parameterAsString(parameters, IGNORE, context)
        return [int(value) for value in numbers(text, IGNORE)]

    def _area(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> str | None:
        if not is_given(parameters, AOI):
            return None
        source = self.parameterAsSource(parameters, AOI, context)
        if source is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, AOI))
        return write_polygons(source, self.crs, context, feedback)
