# SPDX-License-Identifier: GPL-2.0-or-later
"""A map by the image that it was made from, with a dense CRF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRange,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingUtils,
)

from ..engine.crf_settings import SOLVERS, CrfSettings
from ..engine.errors import JobError
from ..engine.job import ClassArea
from ..engine.refine_job import UNKNOWN as UNKNOWN_CHOICES
from ..engine.spec_texts import numbers
from .base_algorithm import EngineAlgorithm
from .compat import DOUBLE, INTEGER
from .parameters import NODATA_HELP, is_given, nodata_parameter, static_enum
from .style import MaskStyle, style_on_load
from .worker_run import run_in_worker

INPUT = "INPUT"
PROBABILITY = "PROBABILITY"
LABELS = "LABELS"
LABEL_BAND = "LABEL_BAND"
BANDS = "BANDS"
VALUE_RANGE = "VALUE_RANGE"
UNKNOWN = "UNKNOWN"
UNKNOWN_THRESHOLD = "UNKNOWN_THRESHOLD"
SWITCH_SHARE = "SWITCH_SHARE"
ALIGN = "ALIGN"
SOLVER = "SOLVER"
BLOCK_SIZE = "BLOCK_SIZE"
OUTPUT = "OUTPUT"

# Parameters of the CRF, here and in `landcover`, fields of `CrfSettings` in capitals -> type,
# title, help, advanced.
CRF_NUMBERS = {
    "SXY": (DOUBLE, "Reach in pixels", "How far pixels of like colour pull each other.", False),
    "SRGB": (
        DOUBLE,
        "Difference of colour",
        "How like in colour they must be, in units of 255 for the image's whole range.",
        False,
    ),
    "COMPAT": (DOUBLE, "Strength", "How strongly they pull: more changes more.", False),
    "ITERATIONS": (INTEGER, "Most steps", "It ends before where no class changes.", False),
    "SXY_GAUSSIAN": (
        DOUBLE,
        "Reach of the smoothing in pixels",
        "Of the second pull, which ignores colour and removes single pixels.",
        True,
    ),
    "COMPAT_GAUSSIAN": (DOUBLE, "Strength of the smoothing", "Of the same pull.", True),
    "GT_PROB": (
        DOUBLE,
        "Trust in the classes",
        "Probability that a class is right, where the CRF starts from classes, not probabilities.",
        True,
    ),
}

# Outputs that are numbers -> key in the result, and their title.
NUMBERS: dict[str, tuple[str, str]] = {
    "CHANGED_SHARE": ("changed_share", "Share of the pixels with data that changed, 0 to 1"),
    "CHANGED_PIXELS": ("changed_pixels", "Pixels of another class than before"),
    "PIXELS": ("pixels", "Pixels of the map"),
    "NODATA_PIXELS": ("nodata_pixels", "Pixels without data"),
}

_HELP = """
<p>A dense conditional random field (CRF) pulls each pixel towards the class of pixels that are near
and of like colour. Boundaries move to where the image has them, and specks vanish. It starts from
probabilities, or from a class raster. Where a whole neighbourhood has one class nothing is
computed.</p>
<p>Thin or small things of a colour like their surroundings can vanish, too: the log warns of
classes that lost or gained much. Both maps stay, so compare them, by <i>Evaluate a map</i> where
you have a reference. Image and map must lie on one grid, unless you ask to align the map.</p>
"""


class RefineAlgorithm(EngineAlgorithm):
    """Turns its parameters into a refinement that a worker process does."""

    NAME = "refine"
    TITLE = "Refine a map by its image"
    SUMMARY_LINE = "Fits the classes of a map to the image that it was made from, by a dense CRF."
    HELP = _HELP
    RASTERS = (INPUT, PROBABILITY, LABELS)
    HONOURS_CHOICES = True
    TAGS = (
        *("crf", "conditional random field", "dense crf", "pydensecrf", "post-processing"),
        *("boundaries", "smooth", "land cover", "segmentation", "classification"),
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(
            QgsProcessingParameterRasterLayer(INPUT, "Image"),
            "The image that the map was made from, with any number of bands.",
        )
        self.add(
            QgsProcessingParameterRasterLayer(PROBABILITY, "Probabilities", None, True),
            "A band a class, such as 'Segment an image' and 'Fuse probabilities' write. Give "
            "either these or a class raster.",
        )
        self.add(
            QgsProcessingParameterRasterLayer(LABELS, "Class raster", None, True),
            "Class numbers 0 to 254. Probabilities hold more information: prefer them.",
        )
        self._add_crf(advanced=False)
        self._add_unknown()
        self.add(
            QgsProcessingParameterBoolean(ALIGN, "Align a map on another grid", False),
            "Warps it to the image's grid: probabilities by bilinear interpolation, classes by "
            "nearest neighbour. Without it another grid is an error.",
        )
        self.add(nodata_parameter(), NODATA_HELP)
        self._add_crf(advanced=True)
        self._add_advanced()
        self.add(
            QgsProcessingParameterRasterDestination(OUTPUT, "Refined map"),
            "The class raster with the names and colours of the map: 0 unknown, 255 no data.",
        )
        for name, (_, title) in NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def _add_crf(self, *, advanced: bool) -> None:
        for name, (kind, title, help_text, is_advanced) in CRF_NUMBERS.items():
            if is_advanced == advanced:
                default = getattr(CrfSettings, name.lower())
                self.add(
                    QgsProcessingParameterNumber(name, title, kind, default, True, 0),
                    help_text,
                    advanced=advanced,
                )

    def _add_unknown(self) -> None:
        told = "; ".join(f"{name}: {text}" for name, text in UNKNOWN_CHOICES.items())
        self.add(
            static_enum(UNKNOWN, "The unknown of a class raster", list(UNKNOWN_CHOICES), "fill"),
            f"What becomes of its value 0. {told}.",
        )
        self.add(
            QgsProcessingParameterNumber(
                *(UNKNOWN_THRESHOLD, "Unknown threshold of probabilities", DOUBLE),
                *(None, True, 0, 1),
            ),
            "Probability below which a pixel is unknown. Empty gives every pixel a class. Of a "
            "single class it is the threshold between the class and the rest.",
        )

    def _add_advanced(self) -> None:
        self.add(
            QgsProcessingParameterBand(
                BANDS, "Bands of the image (empty: all)", None, INPUT, True, True
            ),
            "The bands by which colours are compared.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterRange(
                VALUE_RANGE, "Range of the image's values (empty: by type)", DOUBLE, None, True
            ),
            "Values that stand for black and white. Empty takes 0 to 255 for bytes, and else what "
            "samples of the image hold.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBand(LABEL_BAND, "Band of the class raster", 1, LABELS, True),
            "The band that holds the class numbers.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                SWITCH_SHARE, "Change of a class to warn of", DOUBLE, 0.5, True, 0.001
            ),
            "Share of its pixels that a class may lose or gain before a warning is given.",
            advanced=True,
        )
        self.add(
            static_enum(SOLVER, "Solver", list(SOLVERS), "lattice"),
            "The solver lattice comes with the plugin and uses all cores. The solver pydensecrf is "
            "the reference that it was tested with: one core, and to be installed by you.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                BLOCK_SIZE, "Block size in pixels (empty: automatic)", INTEGER, None, True, 1
            ),
            "Side of the squares that are refined one by one. Smaller ones need less memory.",
            advanced=True,
        )

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        if is_given(parameters, PROBABILITY) == is_given(parameters, LABELS):
            raise JobError("Give either PROBABILITY or LABELS: the map to refine.")
        CrfSettings(**self._crf(parameters, context))
        self._value_range(parameters, context)
        super().check(parameters, context)

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        output = self.parameterAsOutputLayer(parameters, OUTPUT, context)
        bands = self.parameterAsInts(parameters, BANDS, context)
        block_size = is_given(parameters, BLOCK_SIZE)
        values = {
            **{name.lower(): path for name, path in self.paths.items()},
            "output": output,
            "bands": list(bands) if is_given(parameters, BANDS) else [],
            **self.source_values(parameters, context),
            "value_range": self._value_range(parameters, context),
            "label_band": self.parameterAsInt(parameters, LABEL_BAND, context) or 1,
            **self._crf(parameters, context),
            "unknown": self.parameterAsEnumString(parameters, UNKNOWN, context),
            "switch_share": self.parameterAsDouble(parameters, SWITCH_SHARE, context),
            "align": self.parameterAsBool(parameters, ALIGN, context),
            "block_size": self.parameterAsInt(parameters, BLOCK_SIZE, context)
            if block_size
            else None,
            # Processing chose a temporary path: no later run can have the same.
            "resume": Path(QgsProcessingUtils.tempFolder()) not in Path(output).parents,
        }
        result = run_in_worker("refine", values, feedback)
        areas = [
            ClassArea(*(area[key] for key in ("value", "name", "color", "pixels", "area")))
            for area in result["areas"]
        ]
        style_on_load(context, result["outputs"][OUTPUT], MaskStyle(areas))
        told = {name: result[key] for name, (key, _) in NUMBERS.items()}
        return {**result["outputs"], **told}

    def _crf(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, Any]:
        """Fields of `CrfSettings`."""
        found: dict[str, Any] = {
            name.lower(): self.parameterAsInt(parameters, name, context)
            if kind == INTEGER
            else self.parameterAsDouble(parameters, name, context)
            for name, (kind, *_) in CRF_NUMBERS.items()
        }
        found["solver"] = self.parameterAsEnumString(parameters, SOLVER, context)
        if is_given(parameters, UNKNOWN_THRESHOLD):
            threshold = self.parameterAsDouble(parameters, UNKNOWN_THRESHOLD, context)
            found["unknown_threshold"] = threshold
        return found

    def _value_range(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> list[float]:
        if not is_given(parameters, VALUE_RANGE):
            return []
        given = parameters[VALUE_RANGE]
        return list(numbers(given, VALUE_RANGE)) if isinstance(given, str) else list(given)
