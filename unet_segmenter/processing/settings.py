# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user set in the options: the engine's interpreter and a folder of models."""

from __future__ import annotations

import os

from qgis.core import QgsSettings

from ..engine.model_library import MODELS_VARIABLE, ModelLibrary, default_library
from ..runners.environment import Environment, find_environment
from ..runners.training_environment import training_problem

PYTHON_KEY = "unet_segmenter/python"
MODELS_KEY = "unet_segmenter/models_folder"


def engine_python() -> str:
    """Path of the engine's interpreter that the user named, or an empty text."""
    return str(QgsSettings().value(PYTHON_KEY, "") or "")


def models_folder() -> str:
    """Folder of the user's own models, or an empty text."""
    return str(QgsSettings().value(MODELS_KEY, "") or "")


def set_engine_python(path: str) -> None:
    """Remember the interpreter; an empty text means the plugin's own environment."""
    _set(PYTHON_KEY, path)


def set_models_folder(path: str) -> None:
    """Remember the folder of models; an empty text means none."""
    _set(MODELS_KEY, path)


def _set(key: str, value: str) -> None:
    if value:
        QgsSettings().setValue(key, value)
    else:
        QgsSettings().remove(key)


def environment() -> Environment:
    """The engine's environment as the user set it up; nothing is started for it."""
    return find_environment(engine_python() or None)


def why_not_train() -> str:
    """Why no training is possible, with the remedy; nothing where it can be tried."""
    return training_problem(environment())


def library() -> ModelLibrary:
    """The user's models, then the bundled ones."""
    folder = models_folder()
    return default_library([folder] if folder else [])


def worker_variables() -> dict[str, str]:
    """Variables with which a worker finds the models that `library` finds."""
    folders = [models_folder(), os.environ.get(MODELS_VARIABLE, "")]
    named = os.pathsep.join(folder for folder in folders if folder)
    return {MODELS_VARIABLE: named} if named else {}
