# SPDX-License-Identifier: GPL-2.0-or-later
"""A layer that says what is what: a class raster, or polygons with a field of classes."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterField,
    QgsProcessingParameterMapLayer,
    QgsRasterLayer,
    QgsVectorLayer,
)

from ..engine.errors import InputError
from .area_of_interest import write_polygons
from .compat import RASTER, VECTOR_POLYGON
from .layer_choices import refuse_choices
from .parameters import is_given, raster_path


def label_parameter(name: str, title: str, *, optional: bool) -> QgsProcessingParameterMapLayer:
    """The choice of a class raster or of a polygon layer."""
    return QgsProcessingParameterMapLayer(name, title, None, optional, [RASTER, VECTOR_POLYGON])


def field_parameter(name: str, title: str, layer: str) -> QgsProcessingParameterField:
    """The choice of a field of the polygon layer in the parameter `layer`."""
    return QgsProcessingParameterField(name, title, None, layer, optional=True)


class LabelLayer:
    """The layer in the parameter `name`, whose polygons hold their class in `field`.

    Where polygons may do without a field, all are of one class.
    """

    def __init__(
        self,
        algorithm: QgsProcessingAlgorithm,
        name: str,
        field: str,
        *,
        field_needed: bool = True,
    ) -> None:
        self._algorithm = algorithm
        self._name = name
        self._field = field
        self._field_needed = field_needed

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        """Refuse a layer that cannot be read, or polygons without their field.

        Raises
        ------
        InputError
            In one sentence that names the parameter.
        """
        layer = self._layer(parameters, context)
        if isinstance(layer, QgsRasterLayer):
            refuse_choices(layer, self._name, raster_path(layer, self._name))
            return
        field = self._field_of(parameters, context)
        known = ", ".join(layer.fields().names())
        if not field and not self._field_needed:
            return
        if not field:
            raise InputError(
                f"{self._name} is a layer of polygons: name the field of their classes in "
                f"{self._field}; it has {known or 'none'}."
            )
        if layer.fields().lookupField(field) < 0:
            raise InputError(f"{self._name} has no field {field!r}; it has {known or 'none'}.")

    def is_raster(self, parameters: dict[str, Any], context: QgsProcessingContext) -> bool:
        """Whether the layer is a class raster."""
        return isinstance(self._layer(parameters, context), QgsRasterLayer)

    def as_file(
        self,
        parameters: dict[str, Any],
        crs: QgsCoordinateReferenceSystem,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> tuple[str, str | None]:
        """Path of a file that the engine reads, and the polygons' field if there are any.

        Polygons are written to a temporary file in their own CRS, or in `crs`, the raster's, where
        the layer has none; a raster is read where it is.
        """
        layer = self._layer(parameters, context)
        if isinstance(layer, QgsRasterLayer):
            return raster_path(layer, self._name), None
        field = self._field_of(parameters, context)
        source = self._algorithm.parameterAsSource(parameters, self._name, context)
        if source is None:
            raise QgsProcessingException(self._algorithm.invalidSourceError(parameters, self._name))
        path = write_polygons(source, crs, context, feedback, name=self._name, field=field)
        return path, field or None

    def _field_of(self, parameters: dict[str, Any], context: QgsProcessingContext) -> str:
        if not is_given(parameters, self._field):
            return ""
        value = parameters[self._field]
        if isinstance(value, (list, tuple)):
            return str(value[0])
        return str(self._algorithm.parameterAsString(parameters, self._field, context))

    def _layer(self, parameters: dict[str, Any], context: QgsProcessingContext) -> QgsMapLayer:
        layer = self._algorithm.parameterAsLayer(parameters, self._name, context)
        if not isinstance(layer, (QgsRasterLayer, QgsVectorLayer)) or not layer.isValid():
            raise InputError(
                f"{self._name} ({parameters.get(self._name)}) is no raster and no polygon layer "
                "that can be opened."
            )
        return layer
