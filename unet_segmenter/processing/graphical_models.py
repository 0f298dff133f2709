# SPDX-License-Identifier: GPL-2.0-or-later
"""The graphical models that the provider offers: chains of its algorithms, to use or to copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
)
from qgis.PyQt.QtGui import QIcon

from ..engine.model_library import resources_folder
from .base_algorithm import icon, icon_path

_ICON = "unet_segmenter"
_HELP = """
<p>A chain of the algorithms of this plugin: <i>Segment an image</i> gives the probability of each
class, <i>Fuse probabilities</i> decides for one class a pixel, <i>Refine a map by its image</i>
moves the borders to those in the image, and <i>Vectorize a map</i> draws polygons.</p>
<p>Right-click it in the toolbox to export it and to change the chain in the model designer.</p>
"""


def model_files() -> list[Path]:
    """The graphical models that come with the plugin."""
    return sorted((resources_folder() / "graphical_models").glob("*.model3"))


class GraphicalModel(QgsProcessingModelAlgorithm):
    """A model of the plugin's own, with an id like those of the other algorithms."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.fromFile(str(path))

    def createInstance(self) -> GraphicalModel:
        return GraphicalModel(self._path)

    def name(self) -> str:
        return self._path.stem

    def displayName(self) -> str:
        return str(super().displayName())

    def groupId(self) -> str:
        return str(self.group()).lower()

    def shortHelpString(self) -> str:
        return " ".join(_HELP.split())

    def processAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback | None,
    ) -> dict[str, Any]:
        # `qgis_process` leaves out what is not given, and a step would get nothing for it.
        for definition in self.parameterDefinitions():
            if not definition.isDestination():
                parameters.setdefault(definition.name(), definition.defaultValue())
        return dict(super().processAlgorithm(parameters, context, feedback))

    def icon(self) -> QIcon:
        return icon(_ICON)

    def svgIconPath(self) -> str:
        return icon_path(_ICON)
