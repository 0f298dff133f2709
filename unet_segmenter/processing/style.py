# SPDX-License-Identifier: GPL-2.0-or-later
"""Styles results when QGIS loads them: masks in the model's colours, probabilities 0 to 1."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from qgis.core import (
    QgsColorRampShader,
    QgsPalettedRasterRenderer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsRasterLayer,
    QgsRasterShader,
    QgsSingleBandPseudoColorRenderer,
)
from qgis.PyQt.QtGui import QColor

from ..engine.job import ClassArea
from ..engine.model_card import UNKNOWN_VALUE
from .compat import INTERPOLATED

# QGIS holds no reference to a post-processor, and an algorithm inside a model is gone before
# its layers are loaded: so the last ones live here.
_alive: deque[QgsProcessingLayerPostProcessorInterface] = deque(maxlen=256)

# From little to much; white is transparent so that the image below can be seen.
_CONFIDENCE = ((0.0, "#7b3294"), (0.5, "#f7f7f7"), (1.0, "#008837"))


def style_on_load(
    context: QgsProcessingContext,
    path: str,
    processor: QgsProcessingLayerPostProcessorInterface,
) -> None:
    """Let `processor` style the layer of `path`, if QGIS is going to load it."""
    if context.willLoadLayerOnCompletion(path):
        context.layerToLoadOnCompletionDetails(path).setPostProcessor(processor)
        _alive.append(processor)


class MaskStyle(QgsProcessingLayerPostProcessorInterface):
    """Gives a mask one colour and one name a class; through 0, no class, one sees the image."""

    def __init__(self, classes: Sequence[ClassArea]) -> None:
        super().__init__()
        self._classes = tuple(classes)

    def postProcessLayer(
        self,
        layer: QgsRasterLayer,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> None:
        if not isinstance(layer, QgsRasterLayer):
            return
        entries = [
            QgsPalettedRasterRenderer.Class(c.value, _color(c), c.name) for c in self._classes
        ]
        layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, entries))
        layer.triggerRepaint()


class ShareStyle(QgsProcessingLayerPostProcessorInterface):
    """Shows the first band of a raster of probabilities or confidences, from 0 to 1.

    Parameters
    ----------
    color : str, optional
        Colour of 1, as "#rrggbb", on a ramp that begins transparent; without one, the ramp
        goes over white.
    """

    def __init__(self, color: str | None = None) -> None:
        super().__init__()
        self._color = color

    def postProcessLayer(
        self,
        layer: QgsRasterLayer,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> None:
        if not isinstance(layer, QgsRasterLayer):
            return
        ramp = QgsColorRampShader(0.0, 1.0)
        ramp.setColorRampType(INTERPOLATED)
        ramp.setColorRampItemList(
            [QgsColorRampShader.ColorRampItem(v, c, f"{v:g}") for v, c in self._stops()]
        )
        shader = QgsRasterShader()
        shader.setRasterShaderFunction(ramp)
        renderer = QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1, shader)
        renderer.setClassificationMin(0.0)
        renderer.setClassificationMax(1.0)
        layer.setRenderer(renderer)
        layer.triggerRepaint()

    def _stops(self) -> list[tuple[float, QColor]]:
        if self._color is None:
            return [(value, QColor(color)) for value, color in _CONFIDENCE]
        full = QColor(self._color)
        nothing = QColor(full)
        nothing.setAlpha(0)
        return [(0.0, nothing), (1.0, full)]


def _color(area: ClassArea) -> QColor:
    color = QColor(area.color)
    if area.value == UNKNOWN_VALUE:
        color.setAlpha(0)
    return color
