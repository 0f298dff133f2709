# SPDX-License-Identifier: GPL-2.0-or-later
"""`modelinfo`: what models there are, or what one is."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..engine.errors import ModelError
from ..engine.model_card import ModelCard
from ..engine.model_info import facts, file_problems
from ..engine.model_library import ModelLibrary, default_library
from .terminal import print_json

HELP = "what models there are, or what one is"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "model", nargs="?", help="a model's name, folder or file; all models without it"
    )


def run(options: argparse.Namespace) -> int:
    """Tell about the models."""
    library = default_library()
    if options.model is None:
        cards = _readable_cards(library)
        if options.json:
            print_json([_described(card) for card in cards])
        for card in cards if not options.json else ():
            print(f"{card.name}: {card.title} ({', '.join(c.name for c in card.classes)})")
        return 0
    from ..engine.open_model import open_model  # NumPy and the runtimes, for this command alone

    card = open_model(options.model, library)
    problems = file_problems(card)
    for problem in filter(None, problems.values()):
        print(f"warning: {problem}", file=sys.stderr)
    if options.json:
        print_json({**_described(card), "intact": not any(problems.values())})
        return 0
    print(f"{card.title}. {card.description}")
    for heading, fact in facts(card).items():
        print(f"  {heading}: {fact}")
    for one in card.classes:
        print(f"  Class {one.value}: {one.name} ({one.color}), threshold {one.threshold:g}")
    print(f"  Licence: {card.license}. {card.citation}".rstrip())
    return 0


def _readable_cards(library: ModelLibrary) -> list[ModelCard]:
    """All cards; a broken one is told and does not hide the others."""
    cards = []
    for name in library.names():
        try:
            cards.append(library.load(name))
        except ModelError as error:  # noqa: PERF203 - a handful of models
            print(f"warning: {error}", file=sys.stderr)
    return cards


def _described(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "version": card.version,
        "title": card.title,
        "description": card.description,
        "license": card.license,
        "citation": card.citation,
        "folder": str(card.folder),
        "bands": list(card.input.bands),
        "data_type": list(card.input.data_type),
        "value_range": list(card.input.value_range),
        "gsd_range": card.input.gsd_range and list(card.input.gsd_range),
        "classes": [
            {"value": c.value, "name": c.name, "color": c.color}
            | ({} if c.part_of is None else {"part_of": c.part_of})
            for c in card.classes
        ],
        "halo": card.halo,
        "divisor": card.divisor,
        **{key: card.details[key] for key in ("training", "metrics") if key in card.details},
    }
