# SPDX-License-Identifier: GPL-2.0-or-later
"""What is installed for the engine, and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputBoolean,
    QgsProcessingOutputString,
    QgsProcessingParameterFileDestination,
)

from ..runners.environment import State, verify_environment
from ..runners.reference_solver import reference_message
from ..runners.training_environment import verify_training
from ..version import plugin_version
from . import settings
from .base_algorithm import BaseAlgorithm
from .report import environment_page

OUTPUT = "OUTPUT"


class CheckEnvironmentAlgorithm(BaseAlgorithm):
    """Starts the engine's Python and asks it; changes nothing."""

    NAME = "checkenvironment"
    TITLE = "Check the environment"
    SUMMARY_LINE = "Checks the engine's Python environment, and says how to repair it."
    HELP = (
        "<p>The calculations run in a Python environment of their own, outside QGIS. This starts "
        "it, imports each package and compares its version with the one that the plugin was "
        "tested with. Nothing is installed or changed. It takes some seconds.</p>"
        "<p>Training needs more packages than mapping: TRAINING says whether they are there.</p>"
    )
    GROUP = "Environment"
    TAGS = ("environment", "dependencies", "python", "packages", "install", "diagnose", "openvino")

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(
            QgsProcessingParameterFileDestination(
                OUTPUT, "Report", "HTML files (*.html *.HTML)", None, True, True
            ),
            "The page to write.",
        )
        self.addOutput(QgsProcessingOutputBoolean("READY", "The environment is ready"))
        for name, title in (
            ("PYTHON", "Path of the engine's Python"),
            ("PYTHON_VERSION", "Version of the engine's Python"),
            ("STATE", "State"),
            ("MESSAGE", "What is wrong, and how to mend it"),
            ("TRAINING_MESSAGE", "What training lacks, and how to mend it"),
        ):
            self.addOutput(QgsProcessingOutputString(name, title))
        self.addOutput(QgsProcessingOutputBoolean("TRAINING", "The environment can train"))

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        environment = settings.environment()
        feedback.pushInfo(f"Starting {environment.python}, named by {environment.origin}.")
        report = verify_environment(environment.python)
        training = verify_training(environment.python)
        if report.python_version:
            feedback.pushInfo(training.message)
            feedback.pushInfo(reference_message(environment.python))
        ready = report.state is State.READY
        if ready:
            feedback.pushInfo(report.message)
        else:
            feedback.pushWarning(report.message)
        results = {
            "READY": ready,
            "PYTHON": str(report.python),
            "PYTHON_VERSION": report.python_version or "",
            "STATE": report.state.value,
            "MESSAGE": report.message,
            "TRAINING": ready and training.ready,
            "TRAINING_MESSAGE": training.message,
        }
        page = self.parameterAsFileOutput(parameters, OUTPUT, context)
        if page:
            text = environment_page(report, training, environment.origin, plugin_version())
            Path(page).write_text(text, encoding="utf-8")
            results[OUTPUT] = page
        return results
