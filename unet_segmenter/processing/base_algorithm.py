# SPDX-License-Identifier: GPL-2.0-or-later
"""What all algorithms of the provider share: names, help, icon, and how errors are told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
    QgsRasterLayer,
)
from qgis.PyQt.QtGui import QIcon

from ..engine.errors import SegmenterError
from ..engine.model_library import resources_folder
from . import settings
from .compat import ADVANCED
from .feedback import interrupt_cancels
from .layer_choices import LayerChoices, layer_choices, refuse_choices
from .parameters import is_given, nodata_values, raster_path
from .temporary_files import in_words


def icon(name: str) -> QIcon:
    """The icon of an algorithm, or the provider's."""
    return QIcon(icon_path(name))


def icon_path(name: str) -> str:
    """Path of an icon in the plugin's resources."""
    return str(resources_folder() / "icons" / f"{name}.svg")


class BaseAlgorithm(QgsProcessingAlgorithm):
    """One algorithm; a subclass fills the class attributes and says what it does."""

    NAME = ""
    TITLE = ""
    SUMMARY_LINE = ""
    HELP = ""
    GROUP = "Segmentation"
    TAGS: tuple[str, ...] = ()

    def createInstance(self) -> BaseAlgorithm:
        return type(self)()

    def name(self) -> str:
        return self.NAME

    def displayName(self) -> str:
        return self.TITLE

    def group(self) -> str:
        return self.GROUP

    def groupId(self) -> str:
        return self.GROUP.lower()

    def shortDescription(self) -> str:
        return self.SUMMARY_LINE

    def shortHelpString(self) -> str:
        # QGIS shows a line break in the text as one more paragraph.
        return f"<p>{self.SUMMARY_LINE}</p>{' '.join(self.HELP.split())}"

    def tags(self) -> list[str]:
        return list(self.TAGS)

    def icon(self) -> QIcon:
        return icon(self.NAME)

    def svgIconPath(self) -> str:
        return icon_path(self.NAME)

    def add(
        self,
        parameter: QgsProcessingParameterDefinition,
        help_text: str,
        *,
        advanced: bool = False,
    ) -> None:
        """Declare a parameter with its help."""
        parameter.setHelp(help_text)
        if advanced:
            parameter.setFlags(parameter.flags() | ADVANCED)
        self.addParameter(parameter)

    def checkParameterValues(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[bool, str]:
        try:
            self.check(parameters, context)
        except SegmenterError as error:
            return False, str(error)
        return super().checkParameterValues(parameters, context)

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        """Refuse, by a `SegmenterError`, values that no run could honour."""

    def prepareAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> bool:
        with processing_errors():
            self.prepare(parameters, context)
        return True

    def prepare(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        """Take what the run needs from layers: QGIS calls it in the thread that they live in."""

    def processAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback | None,
    ) -> dict[str, Any]:
        feedback = feedback or QgsProcessingFeedback()
        with processing_errors(), interrupt_cancels(feedback):
            return self.work(parameters, context, feedback)

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """Do it; a `SegmenterError` is told to the user in its own words."""
        raise NotImplementedError


class EngineAlgorithm(BaseAlgorithm):
    """An algorithm that calculates in the engine's environment, and says so where it is absent.

    ``RASTERS`` names the parameters whose layers the engine reads as files. The first must be
    given; its CRS is that of the run. Where ``HONOURS_CHOICES`` is true, what the user set for
    the first layer in QGIS is in ``choices``; for other layers such settings are refused.
    """

    RASTERS: tuple[str, ...] = ()
    HONOURS_CHOICES = False

    def __init__(self) -> None:
        super().__init__()
        self.paths: dict[str, str] = {}
        self.crs = QgsCoordinateReferenceSystem()
        self.choices = LayerChoices()

    def canExecute(self) -> tuple[bool, str]:
        environment = settings.environment()
        return environment.usable, "" if environment.usable else environment.message

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        for name in self.RASTERS:
            if not is_given(parameters, name):
                continue
            layer = self.parameterAsRasterLayer(parameters, name, context)
            if layer is not None:  # QGIS itself refuses what is no raster
                self._take(layer, name)

    def prepare(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        for number, name in enumerate(self.RASTERS):
            if number and not is_given(parameters, name):
                continue
            layer = self.parameterAsRasterLayer(parameters, name, context)
            if layer is None:
                raise QgsProcessingException(self.invalidRasterError(parameters, name))
            self.paths[name] = self._take(layer, name)
            if not number:
                self.crs = layer.crs()
        settings.environment().require()

    def _take(self, layer: QgsRasterLayer, name: str) -> str:
        """Path of a layer's file; what was set in QGIS is kept, or refused."""
        path = raster_path(layer, name)
        if self.HONOURS_CHOICES and name == self.RASTERS[0]:
            self.choices = layer_choices(layer, name, path)
        else:
            refuse_choices(layer, name, path)
        return path

    def source_values(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> dict[str, Any]:
        """Fields of a job on how its image is read: NODATA, and what was set in QGIS."""
        given = nodata_values(self, parameters, context)
        return {
            "nodata": sorted({*given, *self.choices.nodata}),
            "crs": self.choices.crs,
        }


@contextlib.contextmanager
def processing_errors() -> Iterator[None]:
    """Turn the engine's errors into the one that Processing stops at."""
    try:
        yield
    except SegmenterError as error:
        raise QgsProcessingException(in_words(str(error))) from error
