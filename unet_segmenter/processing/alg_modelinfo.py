# SPDX-License-Identifier: GPL-2.0-or-later
"""What a model is, takes, tells, and is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputBoolean,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterFileDestination,
)

from ..engine.errors import SegmenterError
from ..engine.model_card import ModelCard
from ..engine.model_info import file_problems
from ..engine.name_lists import join_names
from .base_algorithm import BaseAlgorithm
from .parameters import (
    MODEL_FILE_HELP,
    MODEL_HELP,
    model_card,
    model_enum,
    model_file,
    model_reference,
    without_unused_model,
)
from .report import model_page
from .worker_run import run_in_worker

OUTPUT = "OUTPUT"


class ModelInfoAlgorithm(BaseAlgorithm):
    """Reads a model's card and writes it as a page."""

    NAME = "modelinfo"
    TITLE = "Model information"
    SUMMARY_LINE = "Shows what a model maps, which images it takes, and how well it did."
    HELP = (
        "<p>Classes with their colours and thresholds, bands, ground sampling distance, training "
        "data, accuracy by class, licence and citation. It also checks whether the model's files "
        "are the ones that its card describes. Models made for the Deepness plugin are read by "
        "the engine.</p>"
    )
    TAGS = ("model", "card", "classes", "accuracy", "metrics", "licence", "provenance")

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(model_enum(), MODEL_HELP)
        self.add(model_file(), MODEL_FILE_HELP)
        self.add(
            QgsProcessingParameterFileDestination(
                OUTPUT, "Model card", "HTML files (*.html *.HTML)", None, True, True
            ),
            "The page to write.",
        )
        for name, title in (
            ("NAME", "Name"),
            ("VERSION", "Version"),
            ("TITLE", "Title"),
            ("LICENSE", "Licence"),
            ("CITATION", "Citation"),
            ("CLASSES", "Classes, separated by commas"),
            ("BANDS", "Bands, separated by commas"),
            ("FOLDER", "Folder of the model"),
        ):
            self.addOutput(QgsProcessingOutputString(name, title))
        for name, title in (
            ("CLASS_COUNT", "Number of classes"),
            ("HALO", "Halo in pixels"),
            ("DIVISOR", "Divisor in pixels"),
        ):
            self.addOutput(QgsProcessingOutputNumber(name, title))
        self.addOutput(QgsProcessingOutputBoolean("INTACT", "All files are as the card says"))

    def checkParameterValues(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[bool, str]:
        try:
            model_reference(self, parameters, context)
        except SegmenterError as error:
            return False, str(error)
        return super().checkParameterValues(without_unused_model(parameters), context)

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        reference = model_reference(self, parameters, context)
        card = model_card(reference)
        if card is None:  # only the engine can read a model made for Deepness
            found = run_in_worker("modelinfo", {"model": reference}, feedback)
            card = ModelCard.from_json(found["card"], Path(found["folder"]))
        problems = file_problems(card)
        for problem in problems.values():
            if problem:
                feedback.pushWarning(problem)
        results = {
            "NAME": card.name,
            "VERSION": card.version,
            "TITLE": card.title,
            "LICENSE": card.license,
            "CITATION": card.citation,
            "CLASSES": join_names((c.name for c in card.classes), ","),
            "BANDS": ",".join(card.input.bands),
            "FOLDER": str(card.folder),
            "CLASS_COUNT": len(card.classes),
            "HALO": card.halo,
            "DIVISOR": card.divisor,
            "INTACT": not any(problems.values()),
        }
        feedback.pushInfo(f"{card.title} ({card.name} {card.version}): {results['CLASSES']}")
        page = self.parameterAsFileOutput(parameters, OUTPUT, context)
        if page:
            Path(page).write_text(model_page(card, problems), encoding="utf-8")
            results[OUTPUT] = page
        return results
