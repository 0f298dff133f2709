# SPDX-License-Identifier: GPL-2.0-or-later
"""What the algorithms share that fuse probabilities into classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
    QgsProcessingUtils,
)

from ..engine.fuse_job import DEFAULT_METHOD, METHODS, named_thresholds
from ..engine.job import PROBABILITY_TYPES, ClassArea
from .base_algorithm import EngineAlgorithm
from .compat import DOUBLE, INTEGER
from .parameters import class_entries, class_names, is_given, static_enum
from .style import MaskStyle, ShareStyle, style_on_load

METHOD = "METHOD"
PRIORITY = "PRIORITY"
THRESHOLDS = "THRESHOLDS"
UNKNOWN_THRESHOLD = "UNKNOWN_THRESHOLD"
BLOCK_SIZE = "BLOCK_SIZE"
PROBABILITY_TYPE = "PROBABILITY_TYPE"
OUTPUT = "OUTPUT"
SUMMARY = "SUMMARY"

# Optional rasters -> title and help.
RASTERS = {
    "PROBABILITY": (
        "Probabilities",
        "The probabilities of the classes, made to sum to 1, in a band a class; with an unknown "
        "threshold, a last band holds that of the unknown.",
    ),
    "CONFIDENCE": (
        "Confidence",
        "How far the best class is ahead of the second, 0 to 1.",
    ),
    "CONFLICT": (
        "Conflicts",
        "How many classes claim each pixel: 0 none, 2 or more a conflict.",
    ),
    "ENTROPY": (
        "Entropy",
        "How undecided each pixel is: 0 where one class has everything, 1 where all have the same.",
    ),
}

# Outputs that are numbers -> key in the result, and their title.
NUMBERS: dict[str, tuple[str, str]] = {
    "UNKNOWN_SHARE": ("unknown_share", "Share of the pixels with data that are unknown, 0 to 1"),
    "CONFLICT_SHARE": ("conflict_share", "Share of them that several classes claim, 0 to 1"),
    "PIXELS": ("pixels", "Pixels of the map"),
    "NODATA_PIXELS": ("nodata_pixels", "Pixels without data"),
    "BLOCKS": ("blocks", "Blocks"),
    "SECONDS": ("seconds", "Duration in seconds"),
}


class FusionAlgorithm(EngineAlgorithm):
    """An algorithm whose result is a fused map of classes."""

    def add_rules(self) -> None:
        """Declare how it is decided."""
        methods = "; ".join(f"{name}: {text}" for name, text in METHODS.items())
        self.add(
            static_enum(METHOD, "Method", list(METHODS), DEFAULT_METHOD),
            f"How one class is chosen where several are probable. {methods}.",
        )
        self.add(
            QgsProcessingParameterString(
                PRIORITY, "Priority, class names separated by commas", None, False, True
            ),
            "For the method priority: the class that wins first of all stands first. Those left "
            "out follow.",
        )
        self.add(
            QgsProcessingParameterString(
                THRESHOLDS, "Thresholds (empty: those of the classes)", None, False, True
            ),
            "Probability from which a class claims a pixel: one number for all, or name=number, "
            "separated by commas, such as vegetation=0.4, road=0.6.",
        )
        self.add(
            QgsProcessingParameterNumber(
                *(UNKNOWN_THRESHOLD, "Unknown threshold (empty: those of the classes)", DOUBLE),
                *(None, True, 0.0, 1.0),
            ),
            "Where no class is as probable as this the pixel is unknown, which is a class of its "
            "own with the value 0. Empty takes each class's own threshold. With 0 the method "
            "argmax names every pixel.",
        )

    def add_advanced(self) -> None:
        """Declare what is seldom changed."""
        self.add(
            QgsProcessingParameterNumber(
                BLOCK_SIZE, "Block size in pixels", INTEGER, None, True, 16
            ),
            "The side of the squares that the raster is cut into. Smaller needs less memory. The "
            "map is the same.",
            advanced=True,
        )
        self.add(
            static_enum(
                PROBABILITY_TYPE, "Type of the probabilities", list(PROBABILITY_TYPES), "uint8"
            ),
            "uint8 stores probabilities, confidence and entropy in steps of 1/254 in one byte, "
            "float32 as they are in four.",
            advanced=True,
        )

    def add_outputs(self) -> None:
        """Declare the results."""
        self.add(
            QgsProcessingParameterRasterDestination(OUTPUT, "Land cover"),
            "The map: a GeoTIFF of class numbers with colours and class names; 0 is unknown, 255 "
            "is nodata.",
        )
        for name, (title, help_text) in RASTERS.items():
            self.add(
                QgsProcessingParameterRasterDestination(name, title, None, True, False), help_text
            )
        self.add(
            QgsProcessingParameterFileDestination(
                SUMMARY, "Summary", "HTML files (*.html *.HTML)", None, True, True
            ),
            "A page with the area of each class, the shares unknown and in conflict, a quick look "
            "and the parameters.",
        )
        for name, (_, title) in NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def check_rules(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        """Refuse thresholds that are none, with a `SegmenterError`."""
        named_thresholds(class_entries(self, parameters, THRESHOLDS, context))

    def fusion_values(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> dict[str, Any]:
        """Fields that all jobs which fuse have."""
        output = self.parameterAsOutputLayer(parameters, OUTPUT, context)
        rasters = {
            name.lower(): self.parameterAsOutputLayer(parameters, name, context) or None
            for name in RASTERS
            if is_given(parameters, name)
        }
        block_size = is_given(parameters, BLOCK_SIZE)
        return {
            "output": output,
            "method": self.parameterAsEnumString(parameters, METHOD, context),
            "priority": list(class_names(self, parameters, PRIORITY, context)),
            "thresholds": list(class_entries(self, parameters, THRESHOLDS, context)),
            "unknown_threshold": (
                self.parameterAsDouble(parameters, UNKNOWN_THRESHOLD, context)
                if is_given(parameters, UNKNOWN_THRESHOLD)
                else None
            ),
            **rasters,
            "probability_type": self.parameterAsEnumString(parameters, PROBABILITY_TYPE, context),
            "block_size": self.parameterAsInt(parameters, BLOCK_SIZE, context)
            if block_size
            else None,
            "summary": self.parameterAsFileOutput(parameters, SUMMARY, context) or None,
            # Processing chose a temporary path: no later run can have the same.
            "resume": Path(QgsProcessingUtils.tempFolder()) not in Path(output).parents,
        }

    def fusion_results(
        self, result: dict[str, Any], context: QgsProcessingContext
    ) -> dict[str, Any]:
        """Results for Processing, styled as they are loaded."""
        outputs = {name: path for name, path in result["outputs"].items() if name != "QUICKLOOK"}
        areas = [ClassArea(**area) for area in result["areas"]]
        style_on_load(context, outputs[OUTPUT], MaskStyle(areas))
        for name in ("PROBABILITY", "CONFIDENCE", "ENTROPY"):
            if name in outputs:
                style_on_load(context, outputs[name], ShareStyle())
        return {**outputs, **{name: result[key] for name, (key, _) in NUMBERS.items()}}
