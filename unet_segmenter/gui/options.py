# SPDX-License-Identifier: GPL-2.0-or-later
"""The page in Settings > Options: the engine's interpreter and the user's own models."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.gui import QgsFileWidget, QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from ..processing import settings
from ..processing.base_algorithm import icon
from ..processing.provider import PROVIDER_ICON, PROVIDER_ID


class OptionsFactory(QgsOptionsWidgetFactory):
    """Makes the page when the options are opened."""

    def __init__(self) -> None:
        super().__init__("U-Net Segmenter", icon(PROVIDER_ICON))

    def createWidget(self, parent: QWidget) -> OptionsPage:
        return OptionsPage(parent)


class OptionsPage(QgsOptionsPageWidget):
    """Two paths, and what the first one means at present."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.python = _path(QgsFileWidget.StorageMode.GetFile, "the plugin's own environment")
        self.models = _path(QgsFileWidget.StorageMode.GetDirectory, "none")
        self.state = QLabel()
        self.state.setWordWrap(True)
        self.state.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._lay_out()
        self.python.setFilePath(settings.engine_python())
        self.models.setFilePath(settings.models_folder())
        self.python.fileChanged.connect(self._tell_state)
        self._tell_state()

    def apply(self) -> None:
        """Keep what was entered, and offer the models that are there now."""
        settings.set_engine_python(self.python.filePath().strip())
        settings.set_models_folder(self.models.filePath().strip())
        provider = QgsApplication.processingRegistry().providerById(PROVIDER_ID)
        if provider is not None:
            provider.refreshAlgorithms()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Engine's Python", self.python)
        form.addRow("", self.state)
        form.addRow("Folder of your models", self.models)
        note = QLabel(
            "The calculations run in a Python environment of their own. The algorithm <i>Set up "
            "the environment</i> in the Processing toolbox makes it; name another Python here only "
            "if you keep one yourself. A folder of models holds one folder a model, with its "
            "card.json."
        )
        note.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.addWidget(note)
        layout.addLayout(form)
        layout.addStretch(1)

    def _tell_state(self) -> None:
        named = self.python.filePath().strip()
        self.state.setText(settings.find_environment(named or None).message)


def _path(mode: QgsFileWidget.StorageMode, placeholder: str) -> QgsFileWidget:
    widget = QgsFileWidget()
    widget.setStorageMode(mode)
    widget.lineEdit().setPlaceholderText(placeholder)
    return widget
