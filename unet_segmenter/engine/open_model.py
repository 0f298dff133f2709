# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens a model by name or path: one of ours, or an ONNX file made for the Deepness plugin."""

from __future__ import annotations

from pathlib import Path

from .deepness import deepness_card
from .model_card import CARD_NAME, ModelCard
from .model_library import ModelLibrary


def open_model(name_or_path: str, library: ModelLibrary) -> ModelCard:
    """Card of the model of that name in the library, or at that path.

    Raises
    ------
    ModelError
        If there is none, or it is broken.
    """
    path = Path(name_or_path)
    if path.suffix.lower() == ".onnx" and path.is_file():
        card = path.parent / CARD_NAME
        if not (card.is_file() and path.name in _files_of(card)):
            return deepness_card(path)
    return library.load(name_or_path)


def _files_of(card: Path) -> list[str]:
    return [file.name for file in ModelCard.load(card).files]
