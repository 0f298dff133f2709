# SPDX-License-Identifier: GPL-2.0-or-later
"""Rasters of probabilities into one class raster."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterString,
)

from .compat import RASTER
from .fusion_parameters import FusionAlgorithm
from .layer_choices import refuse_choices
from .parameters import class_entries, is_given, nodata_parameter, nodata_values, raster_path
from .worker_run import run_in_worker

INPUTS = "INPUTS"
CLASS_NAMES = "CLASS_NAMES"
ALIGN = "ALIGN"

_HELP = """
<p>Takes the probabilities that <i>Segment an image</i> writes, of several models that each map one
class against the rest or of one model with several classes, and decides for one class a pixel.
Where no class is probable enough the pixel is unknown, 0; where an input has no data the map
has none, 255.</p>
<p>Bands of one name are one class: the highest of their probabilities counts. All inputs must lie
on one grid, unless you ask to align them.</p>
<p>The method course_sum adds the numbers of all classes that claim a pixel, so overlaps read as
other classes: it is there only to reproduce the maps of the course.</p>
"""


class FuseAlgorithm(FusionAlgorithm):
    """Turns its parameters into a fusion that a worker process does."""

    NAME = "fuse"
    TITLE = "Fuse probabilities"
    SUMMARY_LINE = "Makes one land-cover map of rasters of probabilities."
    HELP = _HELP
    TAGS = (
        *("land cover", "classification", "argmax", "one-vs-rest", "merge", "ensemble"),
        *("probability", "confidence", "entropy", "conflict", "multiclass", "segmentation"),
    )

    def __init__(self) -> None:
        super().__init__()
        self._inputs: list[str] = []

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(
            QgsProcessingParameterMultipleLayers(INPUTS, "Rasters of probabilities", RASTER),
            "One or several, a band a class, 0 to 1 or with a scale that says so.",
        )
        self.add(
            QgsProcessingParameterString(
                CLASS_NAMES, "Names of the classes (empty: the bands')", None, False, True
            ),
            "A name for each band of all inputs, separated by commas, as name or value=name.",
        )
        self.add_rules()
        self.add(
            QgsProcessingParameterBoolean(ALIGN, "Align inputs on other grids", False),
            "Warps them to the grid of the first input by bilinear interpolation. Without it "
            "another grid is an error.",
        )
        self.add(
            nodata_parameter(),
            "Values, as they are stored in the inputs, that are no data, beside the files' own.",
            advanced=True,
        )
        self.add_advanced()
        self.add_outputs()

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        self.check_rules(parameters, context)
        if is_given(parameters, INPUTS):
            self._files(parameters, context)
        super().check(parameters, context)

    def prepare(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        self._inputs = self._files(parameters, context)
        super().prepare(parameters, context)

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        values = {
            "inputs": self._inputs,
            "class_names": list(class_entries(self, parameters, CLASS_NAMES, context)),
            "align": self.parameterAsBool(parameters, ALIGN, context),
            "nodata": nodata_values(self, parameters, context),
            **self.fusion_values(parameters, context),
        }
        return self.fusion_results(run_in_worker("fuse", values, feedback), context)

    def _files(self, parameters: dict[str, Any], context: QgsProcessingContext) -> list[str]:
        layers = self.parameterAsLayerList(parameters, INPUTS, context)
        paths = [raster_path(layer, INPUTS) for layer in layers]
        for layer, path in zip(layers, paths):
            refuse_choices(layer, INPUTS, path)
        return paths
