# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds models by name: the bundled ones and the user's own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import ModelError
from .model_card import CARD_NAME, ModelCard

MODELS_VARIABLE = "UNET_SEGMENTER_MODELS"
DEFAULT_MODEL = "aerial"
"""The model that maps where none is named."""
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class ModelLibrary:
    """Folders whose subfolders are models; a name in an earlier folder hides a later one."""

    folders: tuple[Path, ...]

    def names(self) -> list[str]:
        """Names of all models, in alphabetical order."""
        return sorted({path.name for path in self._model_folders()})

    def load(self, name_or_path: str) -> ModelCard:
        """Card of the model of that name, or at that path.

        Raises
        ------
        ModelError
            If there is none, or its card is broken.
        """
        for folder in self._model_folders():
            if folder.name == name_or_path:
                return ModelCard.load(folder)
        if Path(name_or_path).exists():
            return ModelCard.load(name_or_path)
        names = ", ".join(self.names()) or "none"
        raise ModelError(
            f"There is no model {name_or_path!r}; the library has: {names}. "
            "Name one of them, or give the path of a model's folder."
        )

    def _model_folders(self) -> Iterable[Path]:
        for folder in self.folders:
            if folder.is_dir():
                yield from sorted(p for p in folder.iterdir() if (p / CARD_NAME).is_file())


def resources_folder() -> Path:
    """Folder of the icons and models: inside the installed plugin, or beside it in a checkout."""
    installed = _PACKAGE / "resources"
    return installed if installed.is_dir() else _PACKAGE.parent / "resources"


def default_library(extra: Iterable[str | Path] = ()) -> ModelLibrary:
    """The user's folders (`extra`, then UNET_SEGMENTER_MODELS), then the bundled models."""
    named = [p for p in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if p]
    folders = [*map(Path, extra), *map(Path, named), resources_folder() / "models"]
    return ModelLibrary(tuple(folders))
