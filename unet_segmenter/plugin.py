# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin object that QGIS holds: it registers the provider and the options page."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsApplication

from .processing.provider import UnetSegmenterProvider


class UnetSegmenterPlugin:
    """Adds the Processing provider and, where there is a window, the options page.

    Parameters
    ----------
    iface : QgisInterface, optional
        QGIS's window; None in `qgis_process`.
    """

    def __init__(self, iface: Any = None) -> None:
        self._iface = iface
        self._provider: UnetSegmenterProvider | None = None
        self._options: Any = None

    def initProcessing(self) -> None:
        """Register the provider; `qgis_process` calls this alone."""
        if self._provider is None:
            self._provider = UnetSegmenterProvider()
            QgsApplication.processingRegistry().addProvider(self._provider)
            # Graphical models find their steps only among providers that are registered.
            self._provider.refreshAlgorithms()

    def initGui(self) -> None:
        """Register the provider and the options page."""
        self.initProcessing()
        if self._iface is not None:
            from .gui.options import OptionsFactory

            self._options = OptionsFactory()
            self._iface.registerOptionsWidgetFactory(self._options)

    def unload(self) -> None:
        """Take away all that was added."""
        if self._options is not None:
            self._iface.unregisterOptionsWidgetFactory(self._options)
            self._options = None
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
