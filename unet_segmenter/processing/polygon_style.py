# SPDX-License-Identifier: GPL-2.0-or-later
"""Styles polygons of classes when QGIS loads them: one colour and one name a class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFillSymbol,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsRendererCategory,
    QgsVectorLayer,
)

_OUTLINE = {"outline_color": "35,35,35,120", "outline_width": "0.1"}


class PolygonStyle(QgsProcessingLayerPostProcessorInterface):
    """Gives polygons the colour of their class.

    Parameters
    ----------
    classes : iterable of dict
        The value, name and color of each.
    field : str
        The field that holds the value.
    """

    def __init__(self, classes: Iterable[Mapping[str, Any]], field: str) -> None:
        super().__init__()
        self._classes = tuple(classes)
        self._field = field

    def postProcessLayer(
        self,
        layer: QgsVectorLayer,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> None:
        if not isinstance(layer, QgsVectorLayer):
            return
        categories = [
            QgsRendererCategory(
                one["value"],
                QgsFillSymbol.createSimple({"color": one["color"], **_OUTLINE}),
                one["name"],
            )
            for one in self._classes
        ]
        layer.setRenderer(QgsCategorizedSymbolRenderer(self._field, categories))
        layer.triggerRepaint()
